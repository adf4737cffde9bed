"""ISOs: registering, listing, changing, sharing and removing them. What they share with templates is in `images`."""

from sysvm.api.answers import templates as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows, Success
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler
from sysvm.api.listing import contains
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import templates
from sysvm.store.store import Row


@handler("registerIso")
def register_iso(call: Call) -> Reply:
    """A new ISO, answered as one row per zone."""
    if call.get("directdownload"):
        raise Refused("Direct download is not supported yet: leave directdownload out")
    bootable = call.get("bootable", True)
    if bootable and call.get("ostypeid") is None and "bootable" in call:
        raise Refused("Please pass a valid guest OS type (ostypeid): a bootable ISO needs one")
    iso_id = images.new_image(
        call, images.zones_of(call), format="ISO", kind="USER", hypervisor="None", is_iso=True, is_bootable=bootable
    )
    rows = call.tx.all(templates.listing().where(tables.template.c.id == iso_id))
    return Rows([answers.iso(row, may_see_url=True) for row in rows], len(rows))


@handler("listIsos")
def list_isos(call: Call) -> Reply:
    """One row per ISO and zone, of those that the filter names."""
    template = tables.template
    conditions = [template.c.is_iso.is_(True), *images.seen(call, call.get("isofilter") or "selfexecutable")]
    for name, column in (("bootable", template.c.is_bootable), ("ispublic", template.c.is_public)):
        if name in call:
            conditions.append(column.is_(call[name]))
    if "isready" in call:
        conditions.append(templates.ready() if call["isready"] else ~templates.ready())
    if call.get("keyword"):
        conditions.append(contains(template.c.name, call["keyword"]))
    return images.listed(call, conditions, answers.iso, "ISO")


def _iso(call: Call) -> Row:
    return images.image_of(call, "id", iso=True)


@handler("updateIso")
def update_iso(call: Call) -> Reply:
    """Changes what an ISO says of itself."""
    row = _iso(call)
    changes = images.changes(call, row)
    if "isdynamicallyscalable" in call:
        changes["is_dynamically_scalable"] = call["isdynamicallyscalable"]
    if changes:
        call.tx.update(tables.template, row.id, **changes)
    shown = images.one(call.tx, row.id)
    return One(answers.iso(shown, may_see_url=True), call.about("Iso", shown), f"Changed ISO {shown.name}")


@handler("deleteIso")
def delete_iso(call: Call) -> Reply:
    """Removes an ISO from one zone or all; refused while it is in a machine's drive."""
    row = _iso(call)
    parts = images.drop(call, row, forced=False)
    return Accepted(parts, call.about("Iso", row), f"Deleting ISO {row.name}")


@handler("updateIsoPermissions")
def update_permissions(call: Call) -> Reply:
    """Makes an ISO public or not, or shares it with accounts."""
    row = _iso(call)
    images.share(call, row)
    return Success(about=call.about("Iso", row), description=f"Changed who may use ISO {row.name}")


@handler("listIsoPermissions")
def list_permissions(call: Call) -> Reply:
    """Who may use an ISO."""
    return images.permissions(call, _iso(call))
