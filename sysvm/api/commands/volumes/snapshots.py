"""Snapshots of volumes: create, list, delete, revert; and private templates made of volumes and snapshots.

A command writes a row and wishes its turn; what is done to bytes, and in which order, is the
turns' (orchestrator/turns/snapshot.py).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sysvm.api.answers import snapshots as answers
from sysvm.api.answers import templates as template_answers
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.commands.guests.vm_snapshots import need_none
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.params import pairs
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import limits, machine_rows, snapshot_copies, snapshots, volumes
from sysvm.store.queries.limits import Kind as Limit
from sysvm.store.store import Row, Tx

ABOUT = "Snapshot"


# ---------------------------------------------------------------- list
@handler("listSnapshots")
def list_snapshots(call: Call) -> Reply:
    """Snapshots that the caller may see."""
    snapshot = tables.snapshot.c

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        copies = snapshot_copies.states(tx, [(row.id, row.place_zone_id) for row in found if row.copied])
        return [answers.snapshot(row, copies.get((row.id, row.place_zone_id))) for row in found]

    statement = snapshots.statement()
    for name in ("snapshottype", "intervaltype"):
        if (kind := call.get(name)) is not None:
            statement = statement.where(snapshot.kind == kind.upper())
    if call.get("showunique"):
        statement = statement.where(snapshots.taken_there())
    return list_rows(
        call,
        statement,
        tables.snapshot,
        rows,
        equal={"name": snapshot.name},
        refs={"volumeid": (tables.volume, snapshot.volume_id), "zoneid": (tables.zone, snapshots.PLACE.c.zone_id)},
        keyword=(snapshot.name,),
        tagged=ABOUT,
    )


@result("createSnapshot", "revertSnapshot")
def _snapshot_result(tx: Tx, job: Row) -> dict[str, Any]:
    found = answers.snapshot(snapshots.one(tx, job.instance_id))
    return {**found, "tags": tags_of(tx, ABOUT, [job.instance_id]).get(job.instance_id, [])}


# ---------------------------------------------------------------- create
def need_copyable(volume: Row) -> None:
    """Refused for what has no bytes that could be copied."""
    if volume.format != "qcow2":
        raise Refused("The volume of a container can't be copied: it is a folder of its host", Why.UNAVAILABLE)
    if volume.state not in ("Ready", "Resizing"):
        raise Refused(f"VolumeId: {volume.uuid} is not in Ready state but {volume.state}. Cannot take snapshot.")


@handler("createSnapshot")
def create_snapshot(call: Call) -> Reply:
    """What a volume holds now, on secondary storage when the job is done."""
    volume = call.need(tables.volume, "volumeid")
    need_copyable(volume)
    if (call.get("locationtype") or "secondary").lower() != "secondary":
        raise Refused("Snapshots are kept on secondary storage: leave locationtype out")
    zone = call.tx.get(tables.zone, volume.zone_id)
    assert zone is not None
    if any(uuid != zone.uuid for uuid in call.get("zoneids", ())):
        raise Refused("A snapshot is made in its volume's zone; zoneids can name no other one", Why.UNAVAILABLE)
    images.need_store(call.tx, zone)
    limits.check_limit(call.tx, volume.account_id, Limit.SNAPSHOTS)
    limits.check_limit(call.tx, volume.account_id, Limit.SECONDARY_STORAGE, volume.size_bytes)
    name = places.name(call["name"], "snapshot") if call.get("name") else _name_of(call, volume)
    id_, part = snapshots.new(call.tx, call.ids, volume, name, "MANUAL", quiesce=bool(call.get("quiescevm")))
    row = call.tx.get(tables.snapshot, id_)
    assert row is not None
    _tag(call, row)
    return Accepted((part,), call.about(ABOUT, row), f"creating snapshot for volume: {volume.uuid}")


def _name_of(call: Call, volume: Row) -> str:
    guest = call.tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    when = datetime.fromtimestamp(call.now, UTC)
    return f"{guest.hostname if guest is not None else 'detached'}_{volume.name}_{when:%Y%m%d%H%M%S}"


def _tag(call: Call, row: Row) -> None:
    owner = {"account_id": row.account_id, "domain_id": row.domain_id, "domain_path": row.domain_path}
    for key, value in pairs(call.get("tags")).items():
        call.tx.insert(
            tables.tag, uuid=call.ids.uuid(), resource_type=ABOUT, resource_id=row.id, resource_uuid=row.uuid, key=key,
            value=value, created=call.now, **owner,
        )  # fmt: skip


# ---------------------------------------------------------------- delete, revert
@handler("deleteSnapshot")
def delete_snapshot(call: Call) -> Reply:
    """It is gone at once, in all zones or the one that is named; its bytes when no later snapshot needs them."""
    row, zone = _snapshot(call), call.row(tables.zone, "zoneid")
    copies = snapshot_copies.wanted(call.tx, row.id)
    if zone is None or (zone.id == row.zone_id and not copies):
        part = snapshots.drop(call.tx, row)
        return Accepted((part,), call.about(ABOUT, row), f"deleting snapshot: {row.uuid}")
    if zone.id == row.zone_id:
        raise Refused(
            f"Snapshot {row.name} was taken in zone {zone.name}, and other zones have copies of it: delete those first, or "
            "leave zoneid out to delete all",
            Why.IN_USE,
        )
    if all(copy.zone_id != zone.id for copy in copies):
        raise Refused(f"Snapshot {row.name} is not in zone {zone.name}")
    parts = snapshot_copies.drop(call.tx, row, zone.id)
    return Accepted(parts, call.about(ABOUT, row), f"deleting snapshot: {row.uuid} in zone: {zone.name}")


def _snapshot(call: Call, name: str = "id") -> Row:
    return call.need(tables.snapshot, name)


@handler("revertSnapshot")
def revert_snapshot(call: Call) -> Reply:
    """The volume holds again what it held then; its guest is stopped."""
    row = _snapshot(call)
    if row.state != "BackedUp":
        raise Refused(f"Snapshot {row.uuid} is in state {row.state}; it must be BackedUp")
    volume = call.tx.get(tables.volume, row.volume_id)
    assert volume is not None
    if volume.removed is not None:
        raise Refused("The snapshot's volume is gone; make a new one of it with createVolume")
    guest = call.tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    if guest is not None and (guest.wanted == "running" or machine_rows.state_of(guest) not in ("Stopped", "Error")):
        raise Refused("The VM the specified disk is attached to is not in the shutdown state.")
    if guest is not None:
        need_none(call.tx, guest.id, "revert a volume by itself")
    if volume.state != "Ready":
        raise Refused(f"Volume {volume.name} is in state {volume.state}; it must be Ready")
    if (busy := snapshots.of_volume_under_way(call.tx, volume.id)) is not None:
        raise Refused(f"Snapshot {busy.name} is being made of the volume; wait for it or delete it", Why.IN_USE)
    call.tx.update(tables.volume, volume.id, revert_id=row.id, state="RevertSnapshotting")
    part = volumes.want(call.tx, volume)
    return Accepted((part,), call.about(ABOUT, row), f"revert to snapshot: {row.uuid}")


def zone_of(call: Call, snapshot: Row, rather: int | None = None) -> Row:
    """The zone in which something is to be made of a snapshot: the one that is named, or `rather`, or where it was taken."""
    zone = call.row(tables.zone, "zoneid") or call.tx.get(tables.zone, rather or snapshot.zone_id)
    assert zone is not None
    if not snapshot_copies.is_whole(call.tx, snapshot, zone.id):
        raise Refused(f"Snapshot {snapshot.name} is not in zone {zone.name}: copy it there with copySnapshot")
    return zone


# ---------------------------------------------------------------- templates
@handler("createTemplate")
def create_template(call: Call) -> Reply:
    """A private template (public ones by administrators) of what a volume or a snapshot holds."""
    volume, snapshot = _source(call)
    owner = call.owner()
    zone = zone_of(call, snapshot) if snapshot is not None else call.tx.get(tables.zone, volume.zone_id)
    assert zone is not None
    images.need_store(call.tx, zone)
    size = snapshot.virtual_bytes if snapshot is not None else volume.size_bytes
    limits.check_limit(call.tx, owner.account_id, Limit.TEMPLATES)
    limits.check_limit(call.tx, owner.account_id, Limit.SECONDARY_STORAGE, size)
    template = _template(call, owner, volume, size)
    call.tx.insert(tables.template_copy, template_id=template.id, zone_id=zone.id, created=call.now)
    source = {"source_id": snapshot.id, "zone_id": zone.id} if snapshot is not None else {}
    _, part = snapshots.new(call.tx, call.ids, volume, template.name, snapshots.TEMPLATE, template_id=template.id, **source)
    return Accepted((part,), call.about("Template", template), f"creating template: {template.name}")


def _source(call: Call) -> tuple[Row, Row | None]:
    volume, snapshot = call.row(tables.volume, "volumeid"), call.row(tables.snapshot, "snapshotid")
    if (volume is None) == (snapshot is None):
        raise Refused("Failed to create private template record, please specify one of volume and snapshot id")
    if call.get("url"):
        raise Refused("url goes with registerTemplate; createTemplate makes one of a volume or a snapshot")
    if snapshot is None:
        assert volume is not None
        need_copyable(volume)
        return volume, None
    if snapshot.state != "BackedUp":
        raise Refused(f"Snapshot {snapshot.uuid} is not in BackedUp state yet and can't be used for template creation")
    source = call.tx.get(tables.volume, snapshot.volume_id)
    assert source is not None
    return source, snapshot


def _template(call: Call, owner: Owner, volume: Row, size: int) -> Row:
    name = places.name(call["name"], "template")
    system = call.need(tables.guest_os, "ostypeid")
    root = call.caller.is_root
    public = bool(call.get("ispublic"))
    images.may_be_public(call, public)
    before = call.tx.get(tables.template, volume.template_id) if volume.template_id is not None else None
    id_ = call.tx.insert(
        tables.template,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        format="QCOW2",
        hypervisor=_hypervisor(call, volume),
        virtual_bytes=size,
        guest_os_id=system.id,
        bits=images.bits(call),
        is_public=public,
        is_featured=root and bool(call.get("isfeatured")),
        is_extractable=before.is_extractable if before is not None else True,
        is_dynamically_scalable=bool(call.get("isdynamicallyscalable")),
        password_enabled=call.get("passwordenabled", bool(before is not None and before.password_enabled)),
        ssh_key_enabled=call.get("sshkeyenabled", bool(before is not None and before.ssh_key_enabled)),
        requires_hvm=call.get("requireshvm", True),
        tag=(call.get("templatetag") or "") if root else "",
        details=pairs(call.get("details")),
        created=call.now,
        **owner.columns,
    )
    call.tx.update(tables.template, id_, unique_name=f"{id_}-{owner.account_id}-{name}")
    row = call.tx.get(tables.template, id_)
    assert row is not None
    return row


def _hypervisor(call: Call, volume: Row) -> str:
    host = call.tx.get(tables.host, volume.host_id) if volume.host_id is not None else None
    return str(host.hypervisor) if host is not None else "KVM"


@result("createTemplate")
def _template_result(tx: Tx, job: Row) -> dict[str, Any]:
    return template_answers.template(images.one(tx, job.instance_id), may_see_url=True)
