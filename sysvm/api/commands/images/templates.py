"""Templates: registering, listing, changing, sharing and removing them.

Registering writes a row and wishes a copy per zone; downloading is the copies' turns'. What they see (progress, faults)
stands in the copies' rows. Deleting makes copies unwanted; the row stays for the machines that were made from it.
"""

from typing import Any

from sysvm.api.answers import templates as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows, Success
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains
from sysvm.api.params import pairs
from sysvm.api.rules import images as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import pool_images, templates
from sysvm.store.store import Row, Tx

FLAGS = {
    "isdynamicallyscalable": "is_dynamically_scalable",
    "passwordenabled": "password_enabled",
    "sshkeyenabled": "ssh_key_enabled",
    "requireshvm": "requires_hvm",
}


@handler("registerTemplate")
def register_template(call: Call) -> Reply:
    """A new template, answered as one row per zone."""
    root = call.caller.is_root
    hypervisor = places.hypervisor(call["hypervisor"], simulated=True)
    form = rules.image_format(call["format"], hypervisor)
    kind = rules.kind(call.get("templatetype"), call.get("isrouting"), root=root)
    for name, what in (("directdownload", "Direct download"), ("deployasis", "Deploy-as-is")):
        if call.get(name):
            raise Refused(f"{what} is not supported yet: leave {name} out")
    if call.get("templatetag") and not root:
        raise Refused("Parameter templatetag can only be specified by a Root Admin, permission denied", Why.NOT_ALLOWED)
    where = images.zones_of(call)
    template_id = images.new_image(
        call,
        where,
        format=form,
        kind=kind,
        hypervisor=hypervisor,
        bits=images.bits(call),
        requires_hvm=call.get("requireshvm", True),
        ssh_key_enabled=bool(call.get("sshkeyenabled")),
        tag=call.get("templatetag") or "",
        details=pairs(call.get("details")),
    )
    rows = call.tx.all(templates.listing().where(tables.template.c.id == template_id))
    return Rows([answers.template(row, may_see_url=True) for row in rows], len(rows))


@handler("listTemplates")
def list_templates(call: Call) -> Reply:
    """One row per template and zone, of those that the filter names."""
    template = tables.template
    conditions = [template.c.is_iso.is_(False), *images.seen(call, call["templatefilter"])]
    if call.get("hypervisor"):
        conditions.append(template.c.hypervisor == places.hypervisor(call["hypervisor"], simulated=True))
    if call.get("templatetype"):
        conditions.append(template.c.kind == call["templatetype"].upper())
    if call.get("keyword"):
        conditions.append(contains(template.c.name, call["keyword"]))
    return images.listed(call, conditions, answers.template, "Template")


def _template(call: Call, name: str = "id") -> Row:
    row = images.image_of(call, name, iso=False)
    if row.kind == "SYSTEM" and not call.caller.is_root:
        raise Refused("Only a root admin may change a SYSTEM template", Why.NOT_ALLOWED)
    return row


@handler("updateTemplate")
def update_template(call: Call) -> Reply:
    """Changes what a template says of itself."""
    row = _template(call)
    changes = images.changes(call, row)
    for name, column in FLAGS.items():
        if name in call:
            changes[column] = call[name]
    if call.get("format"):
        changes["format"] = rules.image_format(call["format"], row.hypervisor)
    if call.get("templatetype") or "isrouting" in call:
        changes["kind"] = rules.kind(call.get("templatetype"), call.get("isrouting"), root=call.caller.is_root)
    if changes:
        call.tx.update(tables.template, row.id, **changes)
    shown = images.one(call.tx, row.id)
    answer = answers.template(shown, may_see_url=True)
    return One(answer, call.about("Template", shown), f"Changed template {shown.name}")


@handler("deleteTemplate")
def delete_template(call: Call) -> Reply:
    """Removes a template from one zone or all; refused while machines were made from it, unless forced."""
    row = _template(call)
    parts = images.drop(call, row, forced=bool(call.get("forced")))
    return Accepted(parts, call.about("Template", row), f"Deleting template {row.name}")


@handler("prepareTemplate")
def prepare_template(call: Call) -> Reply:
    """The zone gets a copy of the template, and all primary storage that can take it gets the image."""
    row = call.need(tables.template, "templateid", check=False)
    zone = call.need(tables.zone, "zoneid")
    if row.is_iso:
        raise Refused(f"{row.name} is an ISO; only templates are prepared")
    images.need_store(call.tx, zone)
    templates.want_copy(call.tx, row.id, zone.id)
    pool_images.want(call.tx, row, zone.id)
    shown = call.tx.all(templates.listing().where(tables.template.c.id == row.id, tables.zone.c.id == zone.id))
    primary = [answers.on_primary(place) for place in pool_images.of_zone(call.tx, row.id, zone.id)]
    found = [answers.template(one, may_see_url=True) for one in shown]
    return Rows([{**one, "downloaddetails": [*one["downloaddetails"], *primary]} for one in found], len(found))


# ---------------------------------------------------------------- who may use it
@handler("updateTemplatePermissions")
def update_permissions(call: Call) -> Reply:
    """Makes a template public or not, or shares it with accounts."""
    row = _template(call)
    images.share(call, row)
    return Success(about=call.about("Template", row), description=f"Changed who may use template {row.name}")


@handler("listTemplatePermissions")
def list_permissions(call: Call) -> Reply:
    """Who may use a template."""
    return images.permissions(call, _template(call))


@result("deleteTemplate", "deleteIso")
def _deleted(_tx: Tx, _job: Row) -> dict[str, Any]:
    return {"success": True}
