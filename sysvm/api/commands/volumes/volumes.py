"""Volumes: list, create, attach, detach, grow, change, delete.

A new volume is a row; its bytes are made when it is attached for the first time (one of a snapshot: at once). What a running
guest has to notice is a wish of its machine.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import volumes as answers
from sysvm.api.call import Accepted, Call, Owner, Reply, Success
from sysvm.api.commands.guests.guests import the_guest
from sysvm.api.commands.guests.vm_snapshots import need_none
from sysvm.api.commands.offerings.offering_use import need_usable, owner_of
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.commands.volumes.snapshots import zone_of
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import guests as guest_rules
from sysvm.api.rules import places
from sysvm.api.rules import volumes as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import limits, machine_rows, machines, snapshots, volumes
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.limits import Kind as Limit
from sysvm.store.store import Row, Tx

ABOUT = "Volume"
FIXED = ("chaininfo", "path", "state", "storageid")


# ---------------------------------------------------------------- list
@handler("listVolumes")
def list_volumes(call: Call) -> Reply:
    """Volumes of guests; system VMs have none, their root is the template."""
    volume, host = tables.volume.c, tables.host.c
    admin = is_admin(call.caller)

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.volume(row, admin=admin) for row in found]

    statement = volumes.statement()
    if (type_ := call.get("type")) is not None:
        statement = statement.where(sa.func.lower(volume.type) == type_.lower())
    return list_rows(
        call,
        statement,
        tables.volume,
        rows,
        equal={"name": volume.name, "state": volume.state, "displayvolume": volume.display},
        refs={
            "zoneid": (tables.zone, volume.zone_id),
            "virtualmachineid": (tables.machine, volume.machine_id),
            "diskofferingid": (tables.disk_offering, volume.disk_offering_id),
            "storageid": (tables.storage_pool, volume.pool_id),
            "hostid": (tables.host, volume.host_id),
            "podid": (tables.pod, host.pod_id),
            "clusterid": (tables.cluster, host.cluster_id),
        },
        keyword=(volume.name,),
        tagged=ABOUT,
    )


def _answer(tx: Tx, volume_id: int, *, admin: bool) -> dict[str, Any]:
    found = answers.volume(volumes.one(tx, volume_id), admin=admin)
    return {**found, "tags": tags_of(tx, ABOUT, [volume_id]).get(volume_id, [])}


@result(
    "createVolume", "attachVolume", "detachVolume", "resizeVolume", "destroyVolume", "updateVolume", "migrateVolume",
    "uploadVolume",
)  # fmt: skip
def _volume_result(tx: Tx, job: Row) -> dict[str, Any]:
    return _answer(tx, job.instance_id, admin=is_admins(tx, job))


# ---------------------------------------------------------------- create
def disk_offering(call: Call, zone: Row, owner: Owner, name: str = "diskofferingid") -> Row | None:
    """The disk offering that a call names, if volumes of this owner may have it in the zone."""
    offering = call.row(tables.disk_offering, name)
    if offering is None:
        return None
    if offering.state != "Active":
        raise Refused(f"Disk offering {offering.name} is not active")
    need_usable(call.tx, "Disk offering", offering, zone, owner)
    return offering


@handler("createVolume")
def create_volume(call: Call) -> Reply:
    """A data volume: an empty one by its disk offering, or what a snapshot holds."""
    snapshot = call.row(tables.snapshot, "snapshotid")
    zone = _zone_of(call, snapshot)
    offering = disk_offering(call, zone, call.owner())
    if offering is None and snapshot is None:
        raise Refused("Missing parameter(s), either a positive volume size or a snapshot id must be specified; give"
                      " diskofferingid or snapshotid")  # fmt: skip
    size = _size(call, offering, snapshot)
    owner = call.owner()
    limits.check_limit(call.tx, owner.account_id, Limit.VOLUMES)
    limits.check_limit(call.tx, owner.account_id, Limit.PRIMARY_STORAGE, size)
    guest = _guest_to_be(call, snapshot)
    uuid = call.get("customid") or call.ids.uuid()
    id_ = call.tx.insert(
        tables.volume,
        uuid=uuid,
        name=places.name(call["name"], "volume") if call.get("name") else f"DATA-{uuid}",
        type="DATADISK",
        zone_id=zone.id,
        device=None,
        disk_offering_id=offering.id if offering is not None else None,
        snapshot_id=snapshot.id if snapshot is not None else None,
        size_bytes=size,
        display=call.get("displayvolume", True),
        created=call.now,
        **owner.columns,
    )
    volume = _get(call, id_)
    if guest is not None:
        _plug(call, volume, guest, None)
    parts = (_fill(call, _get(call, id_), snapshot, guest),) if snapshot is not None else ()
    return Accepted(parts, call.about(ABOUT, volume), f"creating volume: {volume.name}")


def _get(call: Call, id_: int) -> Row:
    row = call.tx.get(tables.volume, id_)
    assert row is not None
    return row


def _zone_of(call: Call, snapshot: Row | None) -> Row:
    if snapshot is not None and snapshot.state != "BackedUp":
        raise Refused(f"Snapshot id={snapshot.uuid} is not in BackedUp state yet and can't be used for volume creation")
    guest = call.row(tables.machine, "virtualmachineid") if snapshot is not None else None
    there = guest.zone_id if guest is not None else None
    zone = zone_of(call, snapshot, there) if snapshot is not None else call.need(tables.zone, "zoneid")
    if zone.allocation_state == "Disabled" and not call.caller.is_root:
        raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
    return zone


def _size(call: Call, offering: Row | None, snapshot: Row | None) -> int:
    asked = guest_rules.disk_bytes(offering, call.get("size")) if offering is not None and _says_size(call, offering) else 0
    if snapshot is None:
        return asked
    if offering is not None and asked and asked < snapshot.virtual_bytes:
        raise Refused(f"The volume would have {asked} bytes and the snapshot has {snapshot.virtual_bytes}: give a larger size")
    return int(max(asked, snapshot.virtual_bytes))


def _says_size(call: Call, offering: Row) -> bool:
    """A custom offering without a size takes the snapshot's."""
    return not (offering.customized and call.get("size") is None and call.get("snapshotid"))


def _guest_to_be(call: Call, snapshot: Row | None) -> Row | None:
    if not call.get("virtualmachineid"):
        return None
    if snapshot is None:
        raise Refused("virtualmachineid goes with snapshotid; attach an empty volume with attachVolume")
    return the_guest(call, "virtualmachineid")


def _fill(call: Call, volume: Row, snapshot: Row, guest: Row | None) -> Part:
    """On the guest's host, else where the snapshot's volume is, else wherever there is room."""
    host = volumes.place_of(call.tx, guest) if guest is not None else None
    source = call.tx.get(tables.volume, snapshot.volume_id)
    assert source is not None
    host = host or volumes.some_host(call.tx, volume.zone_id, source.host_id)
    pool = volumes.pool_on(call.tx, host) if host is not None else None
    if host is None or pool is None:
        raise Refused("No host of the zone is up with primary storage for the volume", Why.CAPACITY)
    volumes.give_place(call.tx, volume, host, pool)
    return volumes.want(call.tx, _get(call, volume.id))


# ---------------------------------------------------------------- attach, detach
def _volume(call: Call, name: str = "id") -> Row:
    return call.need(tables.volume, name)


def _is_up(guest: Row) -> bool:
    return bool(guest.wanted == "running")


def _need_quiet(guest: Row) -> None:
    state = machine_rows.state_of(guest)
    if state not in rules.QUIET:
        raise Refused(f"Please specify a VM that is either running or stopped: {guest.display_name} is {state}")


def _plug(call: Call, volume: Row, guest: Row, wanted: int | None) -> None:
    """The volume is the guest's, and goes where the guest's others are."""
    _need_quiet(guest)
    if guest.hypervisor == "LXC":
        raise Refused("A container has no disks that come and go: use a guest of another hypervisor", Why.UNAVAILABLE)
    if guest.zone_id != volume.zone_id:
        raise Refused("Please specify a VM that is in the same zone as the volume.")
    if guest.account_id != volume.account_id:
        raise Refused("The volume and the VM belong to different accounts")
    need_none(call.tx, guest.id, "attach a volume")
    used = {row.device for row in volumes.of_machine(call.tx, guest.id)}
    device = rules.device(wanted, used)
    _same_host(call, volume, guest)
    call.tx.update(tables.volume, volume.id, machine_id=guest.id, device=device, attached=call.now)
    if volume.pool_id is None and volume.snapshot_id is None:
        volumes.follow(call.tx, guest)


def _same_host(call: Call, volume: Row, guest: Row) -> None:
    place = volumes.place_of(call.tx, guest)
    if volume.host_id is not None and place is not None and place.id != volume.host_id:
        raise Refused(
            f"Volume {volume.name} is on another host's storage than the VM: move it to that of host {place.name} with"
            " migrateVolume",
            Why.UNAVAILABLE,
        )


def _made_part(call: Call, volume: Row) -> tuple[Part, ...]:
    return (volumes.want(call.tx, volume),) if volume.state == "Creating" and volume.host_id is not None else ()


@handler("attachVolume")
def attach_volume(call: Call) -> Reply:
    """A guest gets the volume, also while it runs."""
    volume, guest = _volume(call), the_guest(call, "virtualmachineid")
    if volume.machine_id is not None:
        raise Refused("Please specify a volume that is not attached to any VM.")
    if volume.state not in rules.ATTACHABLE:
        raise Refused(f"Volume {volume.name} is in state {volume.state}; it must be Allocated, Ready or Uploaded")
    if volume.image_id is not None:
        limits.check_limit(call.tx, volume.account_id, Limit.PRIMARY_STORAGE, volume.size_bytes)
    _plug(call, volume, guest, call.get("deviceid"))
    parts = _made_part(call, _get(call, volume.id))
    live = (machines.wish_document(call.tx, guest.id),) if _is_up(guest) else ()
    about = call.about(ABOUT, volume)
    return Accepted((*parts, *live), about, f"attaching volume: {volume.uuid} to Vm: {guest.uuid}")


@handler("detachVolume")
def detach_volume(call: Call) -> Reply:
    """A guest gives the volume up; a running one when it lets go of the disk."""
    volume = _attached(call)
    if volume.type == "ROOT":
        raise Refused("The root volume stays with its VM; specify a data volume")
    guest = call.tx.get(tables.machine, volume.machine_id)
    assert guest is not None
    _need_quiet(guest)
    need_none(call.tx, guest.id, "detach a volume")
    call.tx.update(tables.volume, volume.id, machine_id=None, device=None, attached=None)
    live = (machines.wish_document(call.tx, guest.id),) if _is_up(guest) else ()
    return Accepted(live, call.about(ABOUT, volume), f"detaching volume: {volume.uuid} from Vm: {guest.uuid}")


def _attached(call: Call) -> Row:
    by_place = call.get("deviceid") is not None or call.get("virtualmachineid")
    if bool(call.get("id")) == bool(by_place):
        raise Refused("Please provide either a volume id, or a tuple(device id, instance id)")
    if call.get("id"):
        volume = _volume(call)
        if volume.machine_id is None:
            raise Refused("The specified volume is not attached to a VM.")
        return volume
    if call.get("deviceid") is None or not call.get("virtualmachineid"):
        raise Refused("Please provide both deviceid and virtualmachineid")
    guest = the_guest(call, "virtualmachineid")
    found = [row for row in volumes.of_machine(call.tx, guest.id) if row.device == call["deviceid"]]
    if not found:
        raise Refused(f"The VM has no volume with device id {call['deviceid']}")
    return found[0]


# ---------------------------------------------------------------- grow, change
@handler("resizeVolume")
def resize_volume(call: Call) -> Reply:
    """A volume grows: that of a running guest while it runs, another one where it is."""
    volume = _volume(call)
    if volume.format == "dir":
        raise Refused("A container's volume has the size that its host has room for", Why.UNAVAILABLE)
    if volume.state not in rules.MADE:
        raise Refused(
            f"Volume should be in ready or allocated state before attempting a resize. Volume {volume.uuid} is in state"
            f" {volume.state}."
        )
    if volume.machine_id is not None:
        need_none(call.tx, volume.machine_id, "resize a volume")
    zone = call.tx.get(tables.zone, volume.zone_id)
    assert zone is not None
    chosen = disk_offering(call, zone, owner_of(volume))
    if chosen is not None and volume.type == "ROOT":
        raise Refused("A root volume has no disk offering; give the new size with size")
    own = call.tx.get(tables.disk_offering, volume.disk_offering_id) if volume.disk_offering_id is not None else None
    size = rules.new_size(volume, chosen or own, call.get("size"), new_offering=chosen is not None)
    limits.check_limit(call.tx, volume.account_id, Limit.PRIMARY_STORAGE, size - volume.size_bytes)
    changes = {"disk_offering_id": chosen.id} if chosen is not None else {}
    call.tx.update(tables.volume, volume.id, size_bytes=size, **changes)
    parts = _grow(call, _get(call, volume.id))
    return Accepted(parts, call.about(ABOUT, volume), f"Volume Id: {volume.uuid} to size {size >> 30} GB")


def _grow(call: Call, volume: Row) -> tuple[Part, ...]:
    if volume.host_id is None:
        return ()
    guest = call.tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    if guest is not None and _is_up(guest):
        return (machines.wish_document(call.tx, guest.id),)
    call.tx.update(tables.volume, volume.id, state="Resizing")
    return (volumes.want(call.tx, volume),)


@handler("updateVolume")
def update_volume(call: Call) -> Reply:
    """Its name, its id, and whether users see it."""
    volume = _volume(call)
    for name in FIXED:
        if call.get(name):
            raise Refused(f"{name} of a volume is found out and can't be set")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = places.name(call["name"], "volume")
    if "displayvolume" in call:
        changes["display"] = call["displayvolume"]
    if call.get("customid"):
        if not call.caller.is_root:
            raise Refused("Parameter customid can be passed by root administrators only", Why.NOT_ALLOWED)
        if volume.host_id is not None:
            raise Refused("The id of a volume that has been made can't be changed: its file has that name")
        changes["uuid"] = call["customid"]
    if changes:
        call.tx.update(tables.volume, volume.id, **changes)
    return Accepted((), call.about(ABOUT, _get(call, volume.id)), f"updating volume: {volume.uuid}")


# ---------------------------------------------------------------- the end
def _may_go(call: Call) -> Row:
    volume = _volume(call)
    if volume.machine_id is not None:
        raise Refused("Please specify a volume that is not attached to any VM.")
    if (busy := snapshots.of_volume_under_way(call.tx, volume.id)) is not None:
        raise Refused(f"Snapshot {busy.name} is being made of the volume; wait for it or delete it", Why.IN_USE)
    if volume.state == "Migrating":
        raise Refused(f"Volume {volume.name} is being moved to another primary storage; wait for it", Why.IN_USE)
    return volume


@handler("deleteVolume")
def delete_volume(call: Call) -> Reply:
    """A detached volume is gone; snapshots of it stay."""
    volume = _may_go(call)
    volumes.remove(call.tx, volume)
    return Success(about=call.about(ABOUT, volume), description=f"deleting volume: {volume.uuid}")


@handler("destroyVolume")
def destroy_volume(call: Call) -> Reply:
    """The same as a job."""
    volume = _may_go(call)
    volumes.remove(call.tx, volume)
    return Accepted((), call.about(ABOUT, volume), f"destroying volume: {volume.uuid}")
