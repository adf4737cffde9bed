"""Fleets of system VMs as the planner sees them: the zone's console proxies, and its secondary storage VMs."""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import commands
from sysvm.store.store import Row, Tx
from sysvm.systemvms.consoleproxy import Emptying
from sysvm.systemvms.fleet import Member
from sysvm.wire.machines import Kind

NOTHING = commands.Load()
FLEETS = (Kind.CONSOLE_PROXY, Kind.SECONDARY_STORAGE)


def living(tx: Tx, zone_id: int, kind: Kind) -> Sequence[Row]:
    """The zone's system VMs of this kind that are not gone, oldest first."""
    where = "kind = :kind and zone_id = :zone and removed is null order by id"
    return tx.rows(tables.machine, where, kind=kind.value, zone=zone_id)


def members(tx: Tx, rows: Sequence[Row]) -> tuple[Member, ...]:
    """What the planner has to know of them."""
    zones = {row.zone_id for row in rows if row.kind == Kind.SECONDARY_STORAGE}
    loads = {id_: load for zone in zones for id_, load in commands.loads(tx, zone).items()}
    return tuple(
        Member(
            id=row.id,
            wanted=row.wanted,
            running=_serves(row),
            load=_sessions(tx, row) if row.kind == Kind.CONSOLE_PROXY else loads.get(row.id, NOTHING).counted,
            commands=loads.get(row.id, NOTHING).commands,
            draining=row.draining,
            idle_s=tx.now - row.idle_since if row.idle_since is not None else 0.0,
        )
        for row in rows
    )


def _serves(machine: Row) -> bool:
    return bool(machine.power == "running" and machine.agent_up and machine.document_live)


def _sessions(tx: Tx, proxy: Row) -> int:
    return max(int(proxy.sessions), open_sessions(tx, proxy.id))


def open_sessions(tx: Tx, proxy_id: int) -> int:
    """Tickets that were redeemed and not ended: a proxy's report may be seconds old."""
    table = tables.console_session
    here = (table.c.proxy_id == proxy_id, table.c.acquired.is_not(None), table.c.ended.is_(None))
    return int(tx.value(sa.select(sa.func.count()).where(*here)))


def note_idle(tx: Tx, rows: Sequence[Row], seen: Sequence[Member]) -> None:
    """Remembers since when each has had nothing to do."""
    for row, member in zip(rows, seen, strict=True):
        if (row.idle_since is None) == member.is_idle:
            tx.update(tables.machine, row.id, idle_since=tx.now if member.is_idle else None)


def emptying(tx: Tx, worker: Row) -> Emptying:
    """What decides whether a secondary storage VM may go now."""
    rest = [row for row in living(tx, worker.zone_id, Kind.SECONDARY_STORAGE) if row.id != worker.id]
    return Emptying(
        sessions=commands.loads(tx, worker.zone_id).get(worker.id, NOTHING).commands,
        others_serve=any(member.serves for member in members(tx, rest)),
        forced=worker.forced,
        until=worker.drain_until,
    )
