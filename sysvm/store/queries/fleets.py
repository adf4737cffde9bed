"""Fleets of system VMs as the planner sees them: the zone's console proxies, and its secondary storage VMs."""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row, Tx
from sysvm.systemvms.fleet import Member
from sysvm.wire.machines import Kind

BUSY = ("DOWNLOAD_IN_PROGRESS", "NOT_UPLOADED", "UPLOAD_IN_PROGRESS")
FLEETS = (Kind.CONSOLE_PROXY, Kind.SECONDARY_STORAGE)


def living(tx: Tx, zone_id: int, kind: Kind) -> Sequence[Row]:
    """The zone's system VMs of this kind that are not gone, oldest first."""
    where = "kind = :kind and zone_id = :zone and removed is null order by id"
    return tx.rows(tables.machine, where, kind=kind.value, zone=zone_id)


def members(tx: Tx, rows: Sequence[Row]) -> tuple[Member, ...]:
    """What the planner has to know of them."""
    return tuple(
        Member(
            id=row.id,
            wanted=row.wanted,
            running=_serves(row),
            load=load_of(tx, row),
            draining=row.draining,
            idle_s=tx.now - row.idle_since if row.idle_since is not None else 0.0,
        )
        for row in rows
    )


def _serves(machine: Row) -> bool:
    return bool(machine.power == "running" and machine.agent_up and machine.document_live)


def load_of(tx: Tx, machine: Row) -> int:
    """Console sessions of a proxy, work under way in a secondary storage VM."""
    if machine.kind == Kind.CONSOLE_PROXY:
        return max(int(machine.sessions), open_sessions(tx, machine.id))
    return _transfers(tx, machine.id)


def open_sessions(tx: Tx, proxy_id: int) -> int:
    """Tickets that were redeemed and not ended: a proxy's report may be seconds old."""
    table = tables.console_session
    here = (table.c.proxy_id == proxy_id, table.c.acquired.is_not(None), table.c.ended.is_(None))
    return int(tx.value(sa.select(sa.func.count()).where(*here)))


def _transfers(tx: Tx, machine_id: int) -> int:
    table = tables.template_copy
    busy = sa.select(sa.func.count()).where(
        table.c.machine_id == machine_id, table.c.removed.is_(None),
        sa.or_(table.c.state.in_(BUSY), table.c.wanted_store_id.is_not(None)),
    )  # fmt: skip
    return int(tx.value(busy))


def note_idle(tx: Tx, rows: Sequence[Row], seen: Sequence[Member]) -> None:
    """Remembers since when each has had nothing to do."""
    for row, member in zip(rows, seen, strict=True):
        if (row.idle_since is not None) != (member.load == 0):
            tx.update(tables.machine, row.id, idle_since=None if member.load else tx.now)
