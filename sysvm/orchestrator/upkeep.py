"""What nobody's turn is: sessions that died, jobs that are overdue, clocks that were set, guests past recovery, alerts
that wait to be mailed."""

import contextlib
import itertools

from sysvm.basics.errors import DatabaseAway
from sysvm.orchestrator import expiry, stuck
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import alert_mail, alerts, guests, jobs, links, sessions, turns, volumes
from sysvm.store.queries.alerts import AlertType
from sysvm.store.store import Row, Tx

EVERY_S = 5.0
SLOW_EVERY = 12  # rounds


async def run(context: Context) -> None:
    """Looks after the tables for ever. A round without a database is left out."""
    for number in itertools.count():
        with contextlib.suppress(DatabaseAway):
            await context.store.run(sweep)
            if number % SLOW_EVERY == 0:
                await context.store.run(expiry.sweep)
        await context.clock.sleep(EVERY_S)


def sweep(tx: Tx) -> None:
    """One round."""
    sessions.bury(tx)
    sessions.bring_back(tx)
    turns.mend_clock_step(tx)
    links.alert_unreachable(tx)
    alert_mail.sweep(tx)
    for job in jobs.overdue(tx):
        _give_up(tx, job)
    stuck.sweep(tx)
    for guest in guests.due_for_expunge(tx):
        guests.expunge(tx, guest)
    jobs.forget_old(tx)


# Whose rows say why they are not what they should be.
NOTED = {
    "internal_lb": tables.network,
    "machine": tables.machine,
    "network": tables.network,
    "private_gateway": tables.private_gateway,
    "snapshot": tables.snapshot,
    "vmsnapshot": tables.vm_snapshot,
    "volume": tables.volume,
    "vpc": tables.vpc,
}


def _give_up(tx: Tx, job: Row) -> None:
    """A wish that is not served in time fails its job with the reason, and is withdrawn, so that a retry makes no second."""
    for part in jobs.open_parts_of(tx, job.id):
        why = _reason(tx, part)
        jobs.fail(tx, part.kind, part.thing_id, f"gave up after its deadline: {why}")
        alerts.raise_alert(
            tx, AlertType.MANAGEMENT_SERVER, f"{job.command} did not come to its end in time: {why}", f"job {job.uuid}"
        )
        if part.kind == "machine" and part.outcome == "running":
            _withdraw(tx, part.thing_id, why)
        if part.kind == "volume":
            volumes.withdraw(tx, part.thing_id)


def _reason(tx: Tx, part: Row) -> str:
    table = NOTED.get(part.kind)
    if table is None:
        return f"{part.kind} {part.thing_id} has not become {part.outcome}"
    row = tx.get(table, part.thing_id)
    return row.note if row is not None and row.note else f"it has not become {part.outcome}"


def _withdraw(tx: Tx, machine_id: int, why: str) -> None:
    machine = tx.get(tables.machine, machine_id)
    if machine is None or machine.kind != "guest":
        return
    tx.update(tables.machine, machine_id, wanted="stopped", error=why)
    turns.wish(tx, "machine", machine_id)
