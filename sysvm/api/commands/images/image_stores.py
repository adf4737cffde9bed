"""Image stores (secondary storage): where templates, ISOs, uploads and backups of a zone are."""

from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import storage_pools as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, One, Reply, Success
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.params import pairs
from sysvm.api.rules import image_stores as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_stores, runtimes, storage_pools, templates, turns, zones
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx


def _answer(tx: Tx, store_id: int) -> dict[str, Any]:
    row = tx.one(storage_pools.image_stores().where(tables.image_store.c.id == store_id))
    assert row is not None
    return answers.image_store(row)


@handler("addImageStore")
def add_image_store(call: Call) -> Reply:
    """A zone gets a place for images."""
    kind = rules.kind_of(call["provider"])
    details = pairs(call.get("details"))
    url = rules.read(kind, call.get("url"), details)
    zone = call.row(tables.zone, "zoneid")
    if zone is None:
        raise Refused("Please give zoneid: an image store of this kind belongs to a zone")
    _can_be_added(call, zone, url)
    store = tables.image_store
    name = places.name(call.get("name") or url.url, "image store")
    if zones.named(call.tx, store, name, store.c.zone_id == zone.id):
        raise Refused(f"An image store with name {name} already exists in zone {zone.name}")
    first = not storage_pools.writable_stores(call.tx, zone.id)
    store_id = call.tx.insert(
        store,
        uuid=call.ids.uuid(),
        zone_id=zone.id,
        name=name,
        url=url.url,
        protocol=url.protocol,
        provider=kind.provider,
        details=details if url.bucket is None else image_stores.sealed(url.bucket.bucket, url.bucket.staging, call.vault),
        created=call.now,
    )
    if first:
        for template in templates.cross_zone(call.tx):
            templates.want_copy(call.tx, template.id, zone.id)
    # Directories are handed over at the start; what a machine mounts itself needs none, unless it is a container.
    image_stores.tell_workers(call.tx, zone.id, anew=kind.anew)
    turns.wish(call.tx, "scrub", store_id)
    zones.changed(call.tx, zone.id)
    row = call.tx.get(store, store_id)
    assert row is not None
    return One(_answer(call.tx, store_id), call.about("ImageStore", row), f"Added image store {name} to zone {zone.name}")


def _can_be_added(call: Call, zone: Row, url: rules.ImageStoreUrl) -> None:
    """Refused when the place is taken, or no host could ever reach it."""
    store = tables.image_store
    there = sa.or_(store.c.url == url.place, store.c.url.startswith(f"{url.place}?", autoescape=True))
    same = sa.select(store).where(there, store.c.removed.is_(None))
    if url.protocol == "file":
        same = same.where(store.c.zone_id == zone.id)
    if (other := call.tx.one(same)) is not None:
        raise Refused(f"The url {url.place} is image store {other.name} already")
    directory = url.bucket.staging if url.bucket is not None else url.url.removeprefix("file://")
    for row in image_stores.in_zone(call.tx, zone.id):
        if image_stores.directory(row) == directory:
            raise Refused(f"The directory {directory} is that of image store {row.name} already")
    if url.protocol == image_stores.NFS and image_stores.can_mount(call.tx, zone.id) is False:
        raise Refused(
            f"No host of zone {zone.name} can run a secondary storage VM that mounts NFS: containers cannot, and none of "
            "them runs virtual machines (QEMU). Use provider=Filesystem with a directory"
        )


@handler("listImageStores")
def list_image_stores(call: Call) -> Reply:
    """Image stores."""
    store = tables.image_store
    statement = storage_pools.image_stores()
    if "readonly" in call:
        statement = statement.where(store.c.read_only.is_(call["readonly"]))
    equal = {"name": store.c.name, "protocol": store.c.protocol, "provider": store.c.provider}
    refs = {"zoneid": (tables.zone, store.c.zone_id)}
    keyword = (store.c.name, store.c.provider)
    return list_rows(call, statement, store, each(answers.image_store), equal=equal, refs=refs, keyword=keyword)


@handler("updateImageStore")
def update_image_store(call: Call) -> Reply:
    """New images go to the store, or no longer."""
    store = call.need(tables.image_store, "id")
    if "readonly" not in call:
        raise Refused("Please give readonly: true or false")
    call.tx.update(tables.image_store, store.id, read_only=call["readonly"])
    _changed(call.tx, store)
    return One(_answer(call.tx, store.id), call.about("ImageStore", store), f"Changed image store {store.name}")


def _changed(tx: Tx, store: Row) -> None:
    if store.zone_id is not None:
        image_stores.tell_workers(tx, store.zone_id)
        zones.changed(tx, store.zone_id)


@handler("scrubImageStore")
def scrub_image_store(call: Call) -> Reply:
    """All of it is read and compared with its SHA-256 now, and damaged images are brought anew."""
    store = call.need(tables.image_store, "id")
    call.tx.update(tables.image_store, store.id, scrubbed=None)
    part = Part("scrub", store.id, turns.wish(call.tx, "scrub", store.id), "ready")
    return Accepted((part,), call.about("ImageStore", store), f"reading image store {store.name} through")


@result("scrubImageStore")
def _scrubbed(tx: Tx, job: Row) -> dict[str, Any]:
    return _answer(tx, job.instance_id)


@handler("deleteImageStore")
def delete_image_store(call: Call) -> Reply:
    """Removes a store on which nothing is that anybody wants. Nothing in its directory is deleted."""
    store = call.need(tables.image_store, "id")
    if count := storage_pools.snapshots_on(call.tx, store.id):
        raise Refused(f"Cannot delete image store {store.name}: there are {count} snapshots on it; delete them first", Why.IN_USE)
    if count := storage_pools.copies_on(call.tx, store.id):
        raise Refused(
            f"Cannot delete image store {store.name}: there are {count} templates or ISOs on it; delete them first",
            Why.IN_USE,
        )
    call.tx.update(tables.image_store, store.id, removed=call.now)
    _changed(call.tx, store)
    if store.zone_id is not None and store.protocol == image_stores.NFS:
        runtimes.go_back(call.tx, store.zone_id)
    return Success(about=call.about("ImageStore", store), description=f"Deleted image store {store.name}")


@handler("listImageStoreObjects")
def list_image_store_objects(call: Call) -> Reply:
    """What the database knows to be on a store: the images that have arrived there."""
    store = call.need(tables.image_store, "id")
    copy, template = tables.template_copy, tables.template
    arrived = (
        sa.select(template.c.uuid, template.c.name, template.c.format, template.c.size_bytes, copy.c.created)
        .join(copy, copy.c.template_id == template.c.id)
        .where(copy.c.store_id == store.id, copy.c.state == "DOWNLOADED", copy.c.removed.is_(None))
        .order_by(template.c.id)
    )
    word = (call.get("keyword") or "").lower()
    rows = [
        {
            "name": row.uuid,
            "isdirectory": False,
            "size": row.size_bytes,
            "templateid": row.uuid,
            "templatename": row.name,
            "format": row.format,
        }
        for row in call.tx.all(arrived)
        if word in row.name.lower()
    ]
    return slice_rows(call, rows)
