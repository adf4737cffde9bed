"""A zone's turn: as many console proxies and secondary storage VMs as it needs, one step at a time."""

from collections.abc import Callable

import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making
from sysvm.store import tables
from sysvm.store.queries import addresses, alerts, commands, fleets, jobs, machines, settings, zones
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.fleets import FLEETS
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import fleet, secstorage
from sysvm.wire.machines import Kind

AT_ONCE_S = 1.0
SWITCH = {Kind.CONSOLE_PROXY: "enable.consoleproxy.vm", Kind.SECONDARY_STORAGE: "enable.secstorage.vm"}


async def work(context: Context, turn: Turn) -> Outcome:
    """One scan."""
    zone = await context.store.read(lambda tx: tx.get(tables.zone, turn.id))
    if zone is None:
        return Gone()
    for kind in FLEETS:
        await _scan(context, turn, kind)
    scan_s = await context.store.read(_interval_s)
    if zone.removed is not None and not await context.store.read(lambda tx: _anything_left(tx, turn.id)):
        return Gone(lambda tx: jobs.settle(tx, "zone", turn.id, turn.wish, "gone"))
    return Result(scan_s, lambda tx: jobs.settle(tx, "zone", turn.id, turn.wish, "settled"))


def _interval_s(tx: Tx) -> float:
    """The shorter one of the two fleets'."""
    return min(int(settings.value(tx, f"{name}.capacityscan.interval")) for name in ("consoleproxy", "secstorage")) / 1000


async def _scan(context: Context, turn: Turn, kind: Kind) -> None:
    """Each fleet in a transaction of its own, which a full public range rolls back whole."""
    try:
        await context.store.run(lambda tx: step(tx, context, turn.id, kind))
    except Refused as refused:
        if refused.why is not Why.CAPACITY:
            raise
        await context.store.run(lambda tx: addresses.no_public_ip_alert(tx, turn.id))
        raise NotYet(30, refused.text) from refused


def _anything_left(tx: Tx, zone_id: int) -> bool:
    return any(fleets.living(tx, zone_id, kind) for kind in FLEETS)


def step(tx: Tx, context: Context, zone_id: int, kind: Kind) -> None:
    """One step towards the fleet that the zone needs."""
    zone = tx.get(tables.zone, zone_id)
    assert zone is not None
    machines_now = fleets.living(tx, zone_id, kind)
    if not _wanted(tx, zone, kind):
        for machine in machines_now:
            if machine.wanted != "gone":
                machines.want(tx, machine, "gone")
        return
    if _waits_for(tx, zone, kind):
        return
    alive = [machine for machine in machines_now if machine.wanted != "gone"]
    _take_step(tx, context, zone, kind, alive)


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
    traffic = "Guest" if zone.network_type == zones.BASIC else "Public"
    public = sa.select(ranges.c.id).where(ranges.c.zone_id == zone.id, ranges.c.traffic == traffic, ranges.c.removed.is_(None))
    if tx.one(public) is None:
        return f"there is no {traffic.lower()} address range"
    if kind is Kind.SECONDARY_STORAGE:
        writable = sa.select(store.c.id).where(
            store.c.zone_id == zone.id, store.c.removed.is_(None), store.c.read_only.is_(False)
        )
        if tx.one(writable) is None:
            return "there is no image store"
    return ""


def _take_step(tx: Tx, context: Context, zone: Row, kind: Kind, alive: list[Row]) -> None:
    seen = fleets.members(tx, alive)
    fleets.note_idle(tx, alive, seen)
    queued = commands.queued(tx, zone.id) if kind is Kind.SECONDARY_STORAGE else 0
    match fleet.plan(seen, RULES[kind](tx, zone.id), queued):
        case fleet.Grow():
            role = secstorage.role_of_next(len(alive)) if kind is Kind.SECONDARY_STORAGE else ""
            making.make_with_public_address(tx, context, kind, zone, role)
        case fleet.Restart(id_):
            machines.want(tx, _machine(tx, id_), "running")
        case fleet.Retire(id_):
            machines.want(tx, _machine(tx, id_), "gone")


def _machine(tx: Tx, id_: int) -> Row:
    machine = tx.get(tables.machine, id_)
    assert machine is not None
    return machine


def _proxy_rules(tx: Tx, zone_id: int) -> fleet.Rules:
    def setting(name: str) -> int:
        return int(settings.value(tx, name, zone_id=zone_id))

    return fleet.Rules(
        load_max=setting("consoleproxy.session.max"),
        spare=setting("consoleproxy.capacity.standby") + 1,  # room has to exceed the stand-by, as in CloudStack
        least=setting("consoleproxy.min"),
        most=setting("consoleproxy.launch.max"),
        restart=bool(settings.value(tx, "consoleproxy.restart", zone_id=zone_id)),
        retire_after_s=setting("consoleproxy.retire.after"),
    )


def _worker_rules(tx: Tx, zone_id: int) -> fleet.Rules:
    def setting(name: str) -> int:
        return int(settings.value(tx, name, zone_id=zone_id))

    reserve = bool(settings.value(tx, "system.vm.auto.reserve.capacity"))
    at_once = bool(settings.value(tx, "secstorage.vm.auto.scale.down"))
    return fleet.Rules(
        load_max=setting("secstorage.session.max"),
        spare=setting("secstorage.capacity.standby") if reserve else 0,
        most=setting("max.ssvm.count") if reserve else 1,
        retire_after_s=AT_ONCE_S if at_once else setting("secstorage.retire.after"),
    )


RULES: dict[Kind, Callable[[Tx, int], fleet.Rules]] = {
    Kind.CONSOLE_PROXY: _proxy_rules,
    Kind.SECONDARY_STORAGE: _worker_rules,
}


def complain(tx: Tx, id_: int, why: str) -> None:
    """A zone that cannot have its system VMs is an alert."""
    alerts.raise_alert(tx, AlertType.SSVM, f"System VMs of a zone cannot be made: {why}", zone=id_)
