"""Volumes whose bytes came to an image store: by URL or by an upload, before anybody attached them.

While it is there such a volume has an image of its own: a row of `template` of kind VOLUME with the volume's UUID, so that it
comes as templates do (copies, tries, secondary storage VMs that die). Nobody lists it or deploys of it. When a host has
made the volume of it, it goes.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import image_links, templates
from sysvm.store.queries.image_links import Stored
from sysvm.store.store import Row, Tx

KIND = "VOLUME"
UPLOADED = "Uploaded"
# What the copy's state means for the volume: by URL, and by an upload.
BY_URL = {"DOWNLOADED": UPLOADED, "DOWNLOAD_ERROR": "UploadError"}
BY_POST = {
    "NOT_UPLOADED": "NotUploaded", "UPLOAD_IN_PROGRESS": "UploadInProgress", "DOWNLOADED": UPLOADED,
    "UPLOAD_ERROR": "UploadError",
}  # fmt: skip


def new(tx: Tx, volume: Row, **columns: Any) -> int:
    """The volume's image, with a wished copy in its zone; the copy's id."""
    owner = {name: getattr(volume, name) for name in ("account_id", "domain_id", "domain_path")}
    id_ = tx.insert(
        tables.template, uuid=volume.uuid, name=volume.name, display_text=volume.name, kind=KIND, created=tx.now,
        **owner, **columns,
    )  # fmt: skip
    tx.update(tables.volume, volume.id, image_id=id_)
    return templates.want_copy(tx, id_, volume.zone_id).id


def follow(tx: Tx, template: Row, copy_id: int) -> None:
    """The volume says how far its bytes are."""
    if template.kind != KIND:
        return
    copy, volume = tx.get(tables.template_copy, copy_id), _volume_of(tx, template)
    if copy is None or volume is None or volume.host_id is not None:
        return
    states = BY_URL if template.url else BY_POST
    changes: dict[str, Any] = {"state": states.get(copy.state, volume.state), "note": copy.error}
    if copy.state == image_links.STORED:
        fresh = tx.get(tables.template, template.id)
        assert fresh is not None
        changes["size_bytes"] = fresh.virtual_bytes
    tx.update(tables.volume, volume.id, **changes)


def _volume_of(tx: Tx, template: Row) -> Row | None:
    found = tx.rows(tables.volume, "image_id = :id and removed is null", id=template.id)
    return found[0] if found else None


def stored(tx: Tx, volume: Row) -> Stored | None:
    """Where its bytes are on an image store; None while they are not."""
    template = tx.get(tables.template, volume.image_id) if volume.image_id is not None else None
    found = image_links.stored(tx, template.id, volume.zone_id) if template is not None else []
    return image_links.of_template(template, *found[0]) if template is not None and found else None


def drop(tx: Tx, volume: Row) -> None:
    """The store need not have it any longer."""
    if volume.image_id is None:
        return
    templates.drop_copies(tx, volume.image_id)
    table = tables.template
    tx.change(sa.update(table).where(table.c.id == volume.image_id, table.c.removed.is_(None)).values(removed=tx.now))
