"""copyTemplate and copyIso: other zones get a copy of an image that one zone has.

Only a wish: the new copy's turn brings the bytes from the secondary storage VM of a zone that has them, and compares their
SHA-256. The job ends when every zone that was named has them.
"""

from typing import Any

from sysvm.api.answers import templates as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import image_links, templates
from sysvm.store.store import Row, Tx


@handler("copyTemplate")
def copy_template(call: Call) -> Reply:
    """The job waits for all copies."""
    return _copy(call, images.image_of(call, "id", iso=False), "Template")


@handler("copyIso")
def copy_iso(call: Call) -> Reply:
    """The job waits for all copies."""
    return _copy(call, images.image_of(call, "id", iso=True), "Iso")


def _copy(call: Call, row: Row, what: str) -> Reply:
    source = call.row(tables.zone, "sourcezoneid")
    if not image_links.stored(call.tx, row.id, source.id if source is not None else None):
        where = f"zone {source.name}" if source is not None else "any zone"
        raise Refused(f"{what} {row.name} is not downloaded in {where}: there is nothing to copy")
    targets = images.destinations(call)
    for zone in targets:
        if source is not None and zone.id == source.id:
            raise Refused(f"Zone {zone.name} cannot be both source and destination: please specify different zones")
        if zone.allocation_state != "Enabled" and not call.caller.is_root:
            raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}")
        images.need_store(call.tx, zone)
    parts = tuple(templates.want_copy(call.tx, row.id, zone.id) for zone in targets)
    names = ", ".join(zone.name for zone in targets)
    params = {"image": row.id, "zone": targets[0].id}
    return Accepted(parts, call.about(what, row), f"Copying {what} {row.name} to {names}", params)


@result("copyTemplate", "copyIso")
def _copied(tx: Tx, job: Row) -> dict[str, Any]:
    here = (tables.template.c.id == job.params["image"], tables.zone.c.id == job.params["zone"])
    row = tx.one(templates.listing().where(*here))
    assert row is not None
    return (answers.iso if row.is_iso else answers.template)(row, may_see_url=True)
