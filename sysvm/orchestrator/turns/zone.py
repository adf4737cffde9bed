"""A zone's turn: as many console proxies and secondary storage VMs as it needs, one step at a time."""

from collections.abc import Callable

import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making
from sysvm.store import tables
from sysvm.store.queries import addresses, alerts, jobs, machines, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.image_stores import usable
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import consoleproxy, secstorage
from sysvm.wire.machines import Kind

FLEETS = (Kind.CONSOLE_PROXY, Kind.SECONDARY_STORAGE)
SWITCH = {Kind.CONSOLE_PROXY: "enable.consoleproxy.vm", Kind.SECONDARY_STORAGE: "enable.secstorage.vm"}


async def work(context: Context, turn: Turn) -> Outcome:
    """One scan."""
    zone = await context.store.read(lambda tx: tx.get(tables.zone, turn.id))
    if zone is None:
        return Gone()
    for kind in FLEETS:
        await _scan(context, turn, kind)
    scan_s = await context.store.read(lambda tx: int(settings.value(tx, "consoleproxy.capacityscan.interval")) / 1000)
    if zone.removed is not None and not await context.store.read(lambda tx: living(tx, turn.id, None)):
        return Gone(lambda tx: jobs.settle(tx, "zone", turn.id, turn.wish, "gone"))
    return Result(scan_s, lambda tx: jobs.settle(tx, "zone", turn.id, turn.wish, "settled"))


async def _scan(context: Context, turn: Turn, kind: Kind) -> None:
    """Each fleet in a transaction of its own, which a full public range rolls back whole."""
    try:
        await context.store.run(lambda tx: step(tx, context, turn.id, kind))
    except Refused as refused:
        if refused.why is not Why.CAPACITY:
            raise
        await context.store.run(lambda tx: addresses.no_public_ip_alert(tx, turn.id))
        raise NotYet(30, refused.text) from refused


def living(tx: Tx, zone_id: int, kind: Kind | None) -> list[Row]:
    """The zone's system VMs that are not gone."""
    table = tables.machine
    query = sa.select(table).where(table.c.zone_id == zone_id, table.c.removed.is_(None), table.c.kind.in_(FLEETS))
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return list(tx.all(query.order_by(table.c.id)))


def step(tx: Tx, context: Context, zone_id: int, kind: Kind) -> None:
    """One step towards the fleet that the zone needs."""
    zone = tx.get(tables.zone, zone_id)
    assert zone is not None
    fleet = living(tx, zone_id, kind)
    if not _wanted(tx, zone, kind):
        for machine in fleet:
            if machine.wanted != "gone":
                machines.want(tx, machine, "gone")
        return
    if _waits_for(tx, zone, kind):
        return
    alive = [machine for machine in fleet if machine.wanted != "gone"]
    PLANNERS[kind](tx, context, zone, alive)


def _wanted(tx: Tx, zone: Row, kind: Kind) -> bool:
    """Removed and disabled zones want none, and switched-off fleets neither."""
    switch = str((zone.details or {}).get(SWITCH[kind], "true")).lower() != "false"
    return zone.removed is None and zone.allocation_state == "Enabled" and switch


def _waits_for(tx: Tx, zone: Row, kind: Kind) -> str:
    """What the zone still lacks before system VMs make sense; empty when nothing."""
    host, store, ranges = tables.host, tables.image_store, tables.ip_range
    up = sa.select(host.c.id).where(host.c.zone_id == zone.id, host.c.removed.is_(None), host.c.state == "Up")
    if tx.one(up) is None:
        return "no host is up"
    public = sa.select(ranges.c.id).where(
        ranges.c.zone_id == zone.id, ranges.c.traffic == "Public", ranges.c.removed.is_(None)
    )
    if tx.one(public) is None:
        return "there is no public address range"
    if kind is Kind.SECONDARY_STORAGE:
        writable = sa.select(store.c.id).where(
            store.c.zone_id == zone.id, store.c.removed.is_(None), store.c.read_only.is_(False), usable()
        )
        if tx.one(writable) is None:
            return "there is no image store"
    return ""


def _serves(machine: Row) -> bool:
    return bool(
        machine.power == "running"
        and machine.agent_up
        and machine.document_live
        and machine.document_live == machine.document_wanted
    )


def _proxies(tx: Tx, context: Context, zone: Row, fleet: list[Row]) -> None:
    def setting(name: str) -> int:
        return int(settings.value(tx, name, zone_id=zone.id))

    rules = consoleproxy.Rules(
        session_max=setting("consoleproxy.session.max"),
        standby=setting("consoleproxy.capacity.standby"),
        launch_max=setting("consoleproxy.launch.max"),
        restart=bool(settings.value(tx, "consoleproxy.restart", zone_id=zone.id)),
    )
    seen = tuple(
        consoleproxy.Proxy(machine.id, machine.wanted, _serves(machine), machine.sessions, machine.draining)
        for machine in fleet
    )
    match consoleproxy.plan_fleet(seen, rules):
        case consoleproxy.Grow():
            making.make_with_public_address(tx, context, Kind.CONSOLE_PROXY, zone)
        case consoleproxy.Restart(id_):
            _restart(tx, id_)


def _workers(tx: Tx, context: Context, zone: Row, fleet: list[Row]) -> None:
    def setting(name: str) -> int:
        return int(settings.value(tx, name, zone_id=zone.id))

    rules = secstorage.Rules(
        session_max=setting("secstorage.session.max"),
        standby=setting("secstorage.capacity.standby"),
        count_max=setting("max.ssvm.count"),
        reserve=bool(settings.value(tx, "system.vm.auto.reserve.capacity")),
    )
    seen = tuple(
        secstorage.Worker(machine.id, machine.wanted, _serves(machine), load_of(tx, machine.id), machine.draining)
        for machine in fleet
    )
    match secstorage.plan_fleet(seen, rules):
        case secstorage.Grow(role):
            making.make_with_public_address(tx, context, Kind.SECONDARY_STORAGE, zone, role)
        case secstorage.Restart(id_):
            _restart(tx, id_)


def load_of(tx: Tx, machine_id: int) -> int:
    """Work under way in a secondary storage VM."""
    table = tables.template_copy
    busy = sa.select(sa.func.count()).where(
        table.c.machine_id == machine_id, table.c.removed.is_(None),
        sa.or_(table.c.state == "DOWNLOAD_IN_PROGRESS", table.c.wanted_store_id.is_not(None)),
    )
    return int(tx.value(busy))


def _restart(tx: Tx, id_: int) -> None:
    machine = tx.get(tables.machine, id_)
    assert machine is not None
    machines.want(tx, machine, "running")


PLANNERS: dict[Kind, Callable[[Tx, Context, Row, list[Row]], None]] = {
    Kind.CONSOLE_PROXY: _proxies,
    Kind.SECONDARY_STORAGE: _workers,
}


def complain(tx: Tx, id_: int, why: str) -> None:
    """A zone that cannot have its system VMs is an alert."""
    alerts.raise_alert(tx, AlertType.SSVM, f"System VMs of a zone cannot be made: {why}", zone=id_)
