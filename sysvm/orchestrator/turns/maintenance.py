"""A host's maintenance: everything leaves, one look after the other; then the host is in maintenance. Rows and wishes only.

It decides from what placements last said, and so needs no link; a host that cannot be spoken to ends it with the reason.
Cancelling it ends the turn; what has left stays where it is.
"""

import sqlalchemy as sa

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import placing
from sysvm.orchestrator.turns.ending import about, actor, words_of
from sysvm.store import tables
from sysvm.store.queries import alerts, events, jobs, live_moves, machines
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import maintenance as plans
from sysvm.systemvms.maintenance import Evacuation, Resident

KIND = "maintenance"
LOOK_S = 1.0
FAILED_LOOK_S = 30.0
OFF = ("absent", "stopped")


async def work(context: Context, turn: Turn) -> Outcome:
    """One look."""
    host = await context.store.read(lambda tx: tx.get(tables.host, turn.id))
    if host is None or host.removed is not None:
        return Gone(lambda tx: jobs.fail(tx, KIND, turn.id, "the host was removed"))
    if host.resource_state not in plans.STATES:
        return Gone(lambda tx: jobs.settle(tx, KIND, turn.id, turn.wish, "cancelled"))
    step = await context.store.read(lambda tx: decide(tx, host))
    if step.state == plans.DONE:
        return Gone(lambda tx: _done(tx, turn, host))
    after = FAILED_LOOK_S if step.state == plans.FAILED else LOOK_S
    return Result(after, lambda tx: _take(tx, context, host, step))


def decide(tx: Tx, host: Row) -> Evacuation:
    """The next step towards an empty host."""
    table = tables.placement
    here = tx.all(sa.select(table).where(table.c.host_id == host.id, table.c.removed.is_(None)).order_by(table.c.id))
    linked = host.state == "Up" and host.link_session is not None
    residents = (_resident(tx, host, row) for row in here if row.wanted != "incoming")
    return plans.plan_evacuation(host.name, linked, tuple(residents))


def _resident(tx: Tx, host: Row, placement: Row) -> Resident:
    machine = tx.get(tables.machine, placement.machine_id)
    assert machine is not None
    bound = _is_bound(tx, machine.id, host.id)
    gone = placement.incarnation != machine.incarnation or placement.wanted == "gone"
    leaving = gone or live_moves.is_busy(tx, machine)
    asks = machine.wanted == "running" and not leaving and not bound
    return Resident(
        id=machine.id,
        name=machine.name,
        wanted=machine.wanted,
        off=placement.power in OFF,
        leaving=leaving,
        bound=bound,
        stuck=placing.nowhere_else(tx, machine, host) if asks else "",
        live=bound and not leaving and machine.wanted == "running" and live_moves.can(tx, machine),
        stayed=(machine.details or {}).get("stayed", ""),
    )


def _is_bound(tx: Tx, machine_id: int, host_id: int) -> bool:
    table = tables.volume
    here = sa.and_(table.c.machine_id == machine_id, table.c.host_id == host_id, table.c.removed.is_(None))
    return tx.one(sa.select(table.c.id).where(here).limit(1)) is not None


# ---------------------------------------------------------------- writes
def _take(tx: Tx, context: Context, host: Row, step: Evacuation) -> None:
    now = tx.get(tables.host, host.id)
    if now is None or now.resource_state not in plans.STATES:
        return  # it was cancelled meanwhile
    table = tables.machine
    tx.change(sa.update(table).where(table.c.wanted_host_id == host.id).values(wanted_host_id=None))
    for id_ in step.move:
        _move(tx, host, id_)
    for id_ in step.live:
        _move_live(tx, context, host, id_)
    for id_ in step.stop:
        _stop(tx, host, id_)
    tx.update(tables.host, host.id, resource_state=step.state, why=step.why)
    if step.state == plans.FAILED:
        _failed(tx, host, step.why)


def _move(tx: Tx, host: Row, machine_id: int) -> None:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    machines.begin_next(tx, machine)
    machines.want(tx, machine, machine.wanted)
    words = words_of(machine)
    text = f"{words.title} {machine.name} leaves host {host.name}, which goes into maintenance"
    events.record(tx, f"{words.event}.MIGRATE", text, actor=actor(machine), about=about(machine))


def _move_live(tx: Tx, context: Context, host: Row, machine_id: int) -> None:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    there = live_moves.best(tx, machine)
    if isinstance(there, str):  # taken by another one of this step: it is looked at again
        return
    live_moves.begin(tx, context.ids.uuid(), machine, there)
    text = f"Virtual machine {machine.name} leaves host {host.name}, which goes into maintenance, for host {there.name}"
    events.record(tx, "VM.MIGRATE", text, actor=actor(machine), about=about(machine))


def _stop(tx: Tx, host: Row, machine_id: int) -> None:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    machines.want(tx, machine, "stopped")
    words = words_of(machine)
    text = (
        f"{words.title} {machine.name} is being stopped: host {host.name} goes into maintenance, the volumes of "
        f"{machine.name} are on its local storage, and it cannot move while it runs: {live_moves.why_not_any(tx, machine)}. "
        "Start it when the maintenance is over"
    )
    events.record(tx, f"{words.event}.STOP", text, actor=actor(machine), about=about(machine), level="WARN")


def _failed(tx: Tx, host: Row, why: str) -> None:
    jobs.fail(tx, KIND, host.id, why)
    if host.resource_state == plans.FAILED and host.why == why:
        return
    text = f"Host {host.name} cannot go into maintenance: {why}"
    alerts.raise_alert(tx, AlertType.HOST, text, zone=host.zone_id, pod=host.pod_id)


def _done(tx: Tx, turn: Turn, host: Row) -> None:
    now = tx.get(tables.host, host.id)
    if now is None or now.resource_state not in plans.STATES:
        return
    tx.update(tables.host, host.id, resource_state=plans.DONE, why="")
    text = f"Host {host.name} is in maintenance: nothing runs on it"
    events.record(tx, "MAINT.PREPARE", text, about=About("Host", host.id, host.uuid, host.name))
    jobs.settle(tx, KIND, host.id, turn.wish, "maintenance")


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the host's row."""
    tx.update(tables.host, id_, why=why)
