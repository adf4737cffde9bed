"""Snapshots of whole guests: rows with the names around them, which of them a guest was last, wanting and unwanting them.

What they hold is inside the guest's volumes, on its host. While a guest has some it keeps its volumes and, where one has its
memory, its devices.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned, turns, volumes
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

DISK, MEMORY = "Disk", "DiskAndMemory"
UNDER_WAY = ("Allocated", "Creating", "Clearing", "Reverting")


def statement() -> sa.Select[Any]:
    """Living ones with the names around them."""
    return everything().where(tables.vm_snapshot.c.removed.is_(None))


def one(tx: Tx, id_: int) -> Row:
    """One with the names around it, removed or not."""
    row = tx.one(everything().where(tables.vm_snapshot.c.id == id_))
    assert row is not None
    return row


def everything() -> sa.Select[Any]:
    """All of them with the names around them."""
    snapshot, machine, zone = tables.vm_snapshot, tables.machine, tables.zone
    parent = tables.vm_snapshot.alias("parent")
    joined = (
        owned.joined(snapshot, snapshot)
        .join(machine, machine.c.id == snapshot.c.machine_id)
        .join(zone, zone.c.id == snapshot.c.zone_id)
        .outerjoin(parent, sa.and_(parent.c.id == snapshot.c.parent_id, parent.c.removed.is_(None)))
    )
    names = (
        machine.c.uuid.label("machine_uuid"),
        machine.c.hostname.label("machine_name"),
        machine.c.hypervisor.label("hypervisor"),
        zone.c.uuid.label("zone_uuid"),
        zone.c.name.label("zone_name"),
        parent.c.uuid.label("parent_uuid"),
        parent.c.display_name.label("parent_name"),
    )
    return sa.select(snapshot, *names, *owned.names()).select_from(joined)


def of_machine(tx: Tx, machine_id: int) -> Sequence[Row]:
    """A guest's, oldest first."""
    return tx.rows(tables.vm_snapshot, "machine_id = :id and removed is null order by id", id=machine_id)


def current(tx: Tx, machine_id: int) -> Row | None:
    """What the guest was last."""
    return next((row for row in of_machine(tx, machine_id) if row.current), None)


# ---------------------------------------------------------------- wishes
def want(tx: Tx, id_: int, outcome: str = "ready") -> Part:
    """Its turn does what its row says."""
    return Part("vmsnapshot", id_, turns.wish(tx, "vmsnapshot", id_), outcome)


def taken(tx: Tx, row: Row) -> None:
    """The guest is, from now on, what this one holds and whatever it does then."""
    table = tables.vm_snapshot
    tx.change(sa.update(table).where(table.c.machine_id == row.machine_id).values(current=False))
    tx.update(table, row.id, state="Ready", current=True, note="", error="")


def drop(tx: Tx, row: Row) -> Part:
    """Nobody wants it any more. What came after it came after what was before it."""
    table = tables.vm_snapshot
    tx.change(sa.update(table).where(table.c.parent_id == row.id).values(parent_id=row.parent_id))
    if row.current and row.parent_id is not None:
        tx.update(table, row.parent_id, current=True)
    tx.update(table, row.id, removed=tx.now, current=False)
    return want(tx, row.id, "gone")


def places(tx: Tx, row: Row) -> tuple[int, list[tuple[str, str]]] | None:
    """The host, and pools and volumes, that it is in; None when they are no more."""
    found = [tx.get(tables.volume, id_) for id_ in row.volumes or ()]
    living = [volume for volume in found if volume is not None and volume.removed is None and volume.host_id is not None]
    host = tx.get(tables.host, living[0].host_id) if living else None
    if host is None or host.removed is not None:
        return None
    pools = {volume.pool_id: tx.get(tables.storage_pool, volume.pool_id) for volume in living}
    return host.id, [(pool.path, volume.uuid) for volume in living if (pool := pools[volume.pool_id]) is not None]


def why_not_still(tx: Tx, machine_id: int) -> str:
    """Why nothing can be kept of the guest now; empty when it can."""
    for volume in volumes.of_machine(tx, machine_id):
        if volume.state != "Ready" or volume.revert_id is not None:
            return f"volume {volume.name} is {volume.state}"
        where = "volume_id = :id and state in ('Allocated', 'Creating') and removed is null limit 1"
        if tx.rows(tables.snapshot, where, id=volume.id):
            return f"a snapshot of volume {volume.name} is being taken"
    return ""
