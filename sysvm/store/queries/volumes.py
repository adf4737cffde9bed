"""Volumes: as the API lists them, where they are, and wanting their bytes.

A volume has no place until it needs one: it comes to the host of the guest that it belongs to, and stays there. Its own turn
("volume") makes it, fills it from a snapshot, lets it grow while nobody runs on it, and removes it; what a starting
guest misses, its placement's turn makes as well.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import machine_rows, machines, owned, snapshots, turns, volume_images
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

# Its bytes are being made of a snapshot, of what was uploaded, or at another host: no guest may have it until they are.
RESTORING = (
    "(revert_id is not null or state = 'Migrating' or (state = 'Creating' and (snapshot_id is not null or image_id is not null)))"
)
STANDS_STILL = """
select 1 from vm_snapshot where machine_id = :machine and removed is null
    and ((state in ('Creating', 'Clearing') and not live) or (state = 'Reverting' and kind = 'Disk')) limit 1
"""
BEING_COPIED = """
select v.name from snapshot s join volume v on v.id = s.volume_id
where v.machine_id = :machine and s.state = 'Creating' and not s.live and s.source_id is null and s.removed is null limit 1
"""


def statement() -> sa.Select[Any]:
    """Living volumes with the names around them."""
    return everything().where(tables.volume.c.removed.is_(None))


def one(tx: Tx, id_: int) -> Row:
    """A volume with the names around it, removed or not."""
    row = tx.one(everything().where(tables.volume.c.id == id_))
    assert row is not None
    return row


def everything() -> sa.Select[Any]:
    """Volumes with the names around them, removed ones as well."""
    volume, zone, machine, pool = tables.volume, tables.zone, tables.machine, tables.storage_pool
    joined = (
        owned.joined(volume, volume)
        .join(zone, zone.c.id == volume.c.zone_id)
        .outerjoin(machine, machine.c.id == volume.c.machine_id)
        .outerjoin(tables.service_offering, tables.service_offering.c.id == machine.c.service_offering_id)
        .outerjoin(pool, pool.c.id == volume.c.pool_id)
        .outerjoin(tables.host, tables.host.c.id == volume.c.host_id)
        .outerjoin(tables.pod, tables.pod.c.id == tables.host.c.pod_id)
        .outerjoin(tables.cluster, tables.cluster.c.id == tables.host.c.cluster_id)
        .outerjoin(tables.disk_offering, tables.disk_offering.c.id == volume.c.disk_offering_id)
        .outerjoin(tables.template, tables.template.c.id == volume.c.template_id)
        .outerjoin(tables.snapshot, tables.snapshot.c.id == volume.c.snapshot_id)
    )
    return sa.select(volume, *_names(), *owned.names()).select_from(joined)


def _names() -> list[sa.ColumnElement[Any]]:
    """What answers show of the rows around a volume."""
    zone, machine, pool = tables.zone.c, tables.machine.c, tables.storage_pool.c
    disk, service, template = tables.disk_offering.c, tables.service_offering.c, tables.template.c
    return [
        zone.uuid.label("zone_uuid"),
        zone.name.label("zone_name"),
        machine.uuid.label("machine_uuid"),
        machine.hostname.label("machine_name"),
        machine.display_name.label("machine_display_name"),
        machine.hypervisor.label("machine_hypervisor"),
        machine_rows.state_column.label("machine_state"),
        pool.uuid.label("pool_uuid"),
        pool.name.label("pool_name"),
        pool.scope.label("pool_scope"),
        tables.host.c.hypervisor.label("host_hypervisor"),
        tables.pod.c.uuid.label("pod_uuid"),
        tables.pod.c.name.label("pod_name"),
        tables.cluster.c.uuid.label("cluster_uuid"),
        tables.cluster.c.name.label("cluster_name"),
        disk.uuid.label("disk_offering_uuid"),
        disk.name.label("disk_offering_name"),
        disk.display_text.label("disk_offering_text"),
        disk.disk_limits.label("disk_offering_limits"),
        service.uuid.label("service_offering_uuid"),
        service.name.label("service_offering_name"),
        service.display_text.label("service_offering_text"),
        service.disk_limits.label("service_offering_limits"),
        tables.snapshot.c.uuid.label("snapshot_uuid"),
        template.uuid.label("template_uuid"),
        template.name.label("template_name"),
        template.display_text.label("template_text"),
        template.is_extractable.label("template_is_extractable"),
    ]


# ---------------------------------------------------------------- where they are
def pool_on(tx: Tx, host: Row) -> Row | None:
    """The primary storage of a host that is up."""
    table = tables.storage_pool
    return tx.one(
        sa.select(table)
        .where(
            table.c.zone_id == host.zone_id,
            table.c.removed.is_(None),
            table.c.state == "Up",
            sa.or_(table.c.host_id == host.id, table.c.host_id.is_(None)),
            sa.or_(table.c.cluster_id == host.cluster_id, table.c.cluster_id.is_(None)),
        )
        .order_by(table.c.id)
    )


def place_of(tx: Tx, machine: Row) -> Row | None:
    """The host that a guest's volumes are on, or will be; None while it has none."""
    bound = tx.rows(tables.volume, "machine_id = :id and removed is null and host_id is not null order by id", id=machine.id)
    host_id = bound[0].host_id if bound else machine.host_id if machines.placements_of(tx, machine.id) else None
    return tx.get(tables.host, host_id) if host_id is not None else None


def give_place(tx: Tx, volume: Row, host: Row, pool: Row) -> None:
    """The volume is on this host from now on. On a simulated one there is nothing to be made."""
    empty = volume.snapshot_id is None and volume.image_id is None
    state = "Ready" if host.hypervisor == "Simulator" and empty else "Creating"
    tx.update(tables.volume, volume.id, pool_id=pool.id, host_id=host.id, state=state)
    if volume.image_id is not None:
        turns.wish(tx, "volume", volume.id, host=host.id)


def follow(tx: Tx, machine: Row) -> None:
    """Volumes without a place come to where the guest's others are."""
    host = place_of(tx, machine)
    pool = pool_on(tx, host) if host is not None else None
    if host is None or pool is None:
        return
    for volume in tx.rows(tables.volume, "machine_id = :id and pool_id is null and removed is null", id=machine.id):
        give_place(tx, volume, host, pool)


def why_wait(tx: Tx, machine_id: int) -> str:
    """Why a guest may not start yet: what it would write to is being read or made; empty when it may."""
    found = tx.rows(tables.volume, f"machine_id = :id and removed is null and {RESTORING} limit 1", id=machine_id)
    if found:
        return f"volume {found[0].name} is being filled"
    if tx.sql(STANDS_STILL, machine=machine_id):
        return "a VM snapshot of it is being made or gone back to"
    copied = tx.sql(BEING_COPIED, machine=machine_id)
    return f"volume {copied[0][0]} is being copied for a snapshot" if copied else ""


# ---------------------------------------------------------------- wishes
def want(tx: Tx, volume: Row) -> Part:
    """Its bytes shall be what its row says, on the host where it is."""
    return Part("volume", volume.id, turns.wish(tx, "volume", volume.id, host=volume.host_id), "ready")


def remove(tx: Tx, volume: Row) -> None:
    """The volume is no more, and its bytes go; so do its policies."""
    tx.update(
        tables.volume, volume.id, state="Expunged", removed=tx.now, machine_id=None, device=None, attached=None,
        revert_id=None,
    )  # fmt: skip
    for policy in tx.rows(tables.snapshot_policy, "volume_id = :id and removed is null", id=volume.id):
        tx.update(tables.snapshot_policy, policy.id, removed=tx.now)
    if volume.host_id is not None:
        turns.wish(tx, "volume", volume.id, host=volume.host_id)
    volume_images.drop(tx, volume)


def withdraw(tx: Tx, id_: int) -> None:
    """Nobody waits any longer for it to be filled: it keeps what it holds, and what was to be new is gone."""
    volume = tx.get(tables.volume, id_)
    if volume is None or volume.removed is not None:
        return
    if volume.state == "Migrating":
        stay(tx, volume)
    elif volume.revert_id is not None:
        tx.update(tables.volume, id_, revert_id=None, state="Ready")
        turns.wish(tx, "volume", id_)
    elif volume.state == "Creating" and volume.snapshot_id is not None:
        remove(tx, volume)
    elif volume.state == "Creating" and volume.image_id is not None:
        place = {"host_id": None, "pool_id": None, "machine_id": None, "device": None, "attached": None}
        tx.update(tables.volume, id_, state=volume_images.UPLOADED, **place)


# ---------------------------------------------------------------- moving
def move(tx: Tx, ids: Ids, volume: Row, host: Row, pool: Row) -> Part:
    """It shall be there: a capture of it goes over the image store of the zone."""
    tx.update(tables.volume, volume.id, state="Migrating", move_host_id=host.id, move_pool_id=pool.id)
    snapshots.new(tx, ids, volume, volume.name, snapshots.MOVE)
    return want(tx, volume)


def captured(tx: Tx, volume: Row) -> Row | None:
    """What moves; None while it is not on the image store."""
    found = tx.rows(tables.snapshot, "volume_id = :id and kind = 'MOVE' and state = 'BackedUp' and removed is null", id=volume.id)
    return found[0] if found else None


def moved(tx: Tx, volume: Row) -> None:
    """It is there. Its bytes where it was are yet to go."""
    tx.update(
        tables.volume, volume.id, state="Ready", note="", host_id=volume.move_host_id, pool_id=volume.move_pool_id,
        move_host_id=volume.host_id, move_pool_id=volume.pool_id,
    )  # fmt: skip
    _drop_captures(tx, volume)
    turns.wish(tx, "volume", volume.id, host=volume.host_id)


def stay(tx: Tx, volume: Row) -> None:
    """It does not move after all. What may have come to the other host goes from there."""
    tx.update(tables.volume, volume.id, state="Ready")
    _drop_captures(tx, volume)
    turns.wish(tx, "volume", volume.id, host=volume.move_host_id)


def _drop_captures(tx: Tx, volume: Row) -> None:
    for capture in tx.rows(tables.snapshot, "volume_id = :id and kind = 'MOVE' and removed is null", id=volume.id):
        snapshots.drop(tx, capture)


def of_machine(tx: Tx, machine_id: int) -> Sequence[Row]:
    """Living volumes of a guest by device."""
    return tx.rows(tables.volume, "machine_id = :id and removed is null order by device, id", id=machine_id)


def some_host(tx: Tx, zone_id: int, rather: int | None) -> Row | None:
    """A host of the zone that is up and runs guests with disks: `rather` this one."""
    table = tables.host
    up = (table.c.zone_id == zone_id, table.c.removed.is_(None), table.c.state == "Up", table.c.hypervisor != "LXC")
    able = tx.all(sa.select(table).where(*up).order_by(table.c.id))
    return next((host for host in able if host.id == rather), able[0] if able else None)
