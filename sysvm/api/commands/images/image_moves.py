"""Images and snapshots move between the image stores of a zone: all of them, or as many as make the stores more alike."""

from collections.abc import Callable, Sequence
from typing import Any

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import storage_pools, zones
from sysvm.store.store import Row, Tx
from sysvm.systemvms import image_moves as plans

COMPLETE, BALANCE = "Complete", "Balance"
KINDS: dict[str, Callable[..., tuple[plans.Move, ...]]] = {COMPLETE: plans.complete, BALANCE: plans.balance}
ARRIVED, FAILED = "DOWNLOADED", "DOWNLOAD_ERROR"


@handler("migrateSecondaryStorageData")
def migrate_secondary_storage_data(call: Call) -> Reply:
    """The job waits until every image that moves is where it shall be, and no longer where it was."""
    kind = call.get("migrationtype", COMPLETE).strip().capitalize()
    if kind not in KINDS:
        raise Refused(f"migrationtype is {COMPLETE} or {BALANCE}; {call['migrationtype']!r} is neither")
    source = call.need(tables.image_store, "srcpool")
    targets = [call.find(tables.image_store, uuid, "destpools") for uuid in dict.fromkeys(call["destpools"])]
    for target in targets:
        _check(source, target)
    images = storage_pools.images_on(call.tx, source.id)
    if kind == COMPLETE:
        _leave(call, source, images)
    used = {target.id: storage_pools.bytes_on(call.tx, target.id) for target in targets}
    kept = {row.id: row for row in storage_pools.snapshots_to_move(call.tx, source.id)}
    there = [plans.Image(("image", image.id), image.size_bytes) for image in images if image.state == ARRIVED]
    there += [plans.Image(("snapshot", row.id), row.size_bytes) for row in kept.values()]
    parts = []
    for move in KINDS[kind](there, used):
        what, id_ = move.image
        if what == "snapshot":
            parts.append(storage_pools.move_snapshot(call.tx, kept[id_], move.store))
        else:
            parts.append(storage_pools.move_image(call.tx, id_, move.store))
    description = f"Moving {len(parts)} images and snapshots from image store {source.name} ({kind})"
    params = {"migrationtype": kind, "moved": len(parts)}
    return Accepted(tuple(parts), call.about("ImageStore", source), description, params)


def _check(source: Row, target: Row) -> None:
    if target.id == source.id:
        raise Refused(f"Image store {source.name} cannot be both srcpool and one of destpools")
    if target.zone_id != source.zone_id:
        raise Refused(f"Image store {target.name} is in another zone than {source.name}: images move within a zone")
    if target.read_only:
        raise Refused(f"Image store {target.name} is read-only: make it writable with updateImageStore, or name another one")


def _leave(call: Call, source: Row, images: Sequence[Row]) -> None:
    """Nothing new comes to the store. What could not be downloaded to it may be tried again elsewhere."""
    coming = storage_pools.snapshots_coming(call.tx, source.id)
    if coming or any(image.state not in (ARRIVED, FAILED) for image in images):
        raise Refused(
            "Complete migration failed as there are data objects which are not Ready - i.e, they may be in Migrating, "
            "creating, copying, etc. states. Wait for the downloads, or delete them",
            Why.UNAVAILABLE,
        )
    for image in images:
        if image.state == FAILED:
            call.tx.update(tables.template_copy, image.id, store_id=None)
    call.tx.update(tables.image_store, source.id, read_only=True)
    if source.zone_id is not None:
        zones.changed(call.tx, source.zone_id)


@result("migrateSecondaryStorageData")
def _done(tx: Tx, job: Row) -> dict[str, Any]:
    store = tx.get(tables.image_store, job.instance_id)
    assert store is not None
    kind, count = job.params["migrationtype"], job.params["moved"]
    return {
        "id": store.uuid,
        "name": store.name,
        "message": f"{count} images have been moved from image store {store.name}",
        "migrationtype": kind,
        "success": True,
    }
