"""What templates and ISOs have in common: zones, visibility, sharing, removing. It answers no command by itself.

Visibility is not that of other owned rows: a public template is everybody's to use, a shared one its friends', and a
`templatefilter` says which of them a list is about.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import Call, Rows
from sysvm.api.listing import fetch, tags_of
from sysvm.api.params import NONE_UUID, pairs
from sysvm.api.rules import images as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import events, limits, settings, storage_pools, templates
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

Answer = Callable[..., dict[str, Any]]
PUBLIC_BY_USERS = "allow.public.user.templates"
OPERATIONS = ("add", "remove", "reset")


# ---------------------------------------------------------------- making
def zones_of(call: Call) -> Sequence[Row]:
    """The zones that shall have a copy; an empty list means every zone, now and later."""
    one, many = call.get("zoneid"), call.get("zoneids") or ()
    if one and many:
        raise Refused("Both zoneid and zoneids cannot be specified at the same time")
    wanted = (one,) if one else many
    if not wanted:
        raise Refused("Please give zoneid, or zoneids (-1 means all zones)")
    if NONE_UUID in wanted:
        if not call.caller.is_root:
            raise Refused("Only a root admin may register for all zones: give zoneid", Why.NOT_ALLOWED)
        return ()
    found = [call.find(tables.zone, uuid, "zoneid" if one else "zoneids") for uuid in dict.fromkeys(wanted)]
    for zone in found:
        if zone.allocation_state != "Enabled" and not call.caller.is_root:
            raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
        need_store(call.tx, zone)
    return found


def destinations(call: Call) -> list[Row]:
    """The zones that shall have a copy of what one has."""
    one, many = call.get("destzoneid"), call.get("destzoneids") or ()
    if bool(one) == bool(many):
        raise Refused("Please give destzoneid or destzoneids: where the copy shall be")
    name, wanted = ("destzoneid", (one,)) if one else ("destzoneids", many)
    return [call.find(tables.zone, uuid, name) for uuid in dict.fromkeys(wanted)]


def need_store(tx: Tx, zone: Row) -> None:
    """Refused where there is no place for a copy."""
    if not storage_pools.writable_stores(tx, zone.id):
        raise Refused(f"Unable to find an image store in zone {zone.name} to download to; add one with addImageStore")


def bits(call: Call) -> int:
    """32 or 64."""
    found: int = call.get("bits", 64)
    if found not in (32, 64):
        raise Refused("bits is 32 or 64")
    return found


def new_image(call: Call, where: Sequence[Row], **columns: Any) -> int:
    """The row of a new template or ISO, with its wished copies."""
    owner = call.owner()
    limits.check_limit(call.tx, owner.account_id, limits.Kind.TEMPLATES)
    root = call.caller.is_root
    system = call.row(tables.guest_os, "ostypeid")
    name = places.name(call["name"], "template")
    public = bool(call.get("ispublic"))
    may_be_public(call, public)
    template_id = call.tx.insert(
        tables.template,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        url=rules.url(call["url"], columns["format"], root=root) if "url" in call else "",
        checksum=rules.checksum(call.get("checksum")),
        guest_os_id=system.id if system is not None else templates.default_os(call.tx),
        is_public=public,
        is_featured=root and bool(call.get("isfeatured")),
        is_extractable=bool(call.get("isextractable")),
        is_dynamically_scalable=bool(call.get("isdynamicallyscalable")),
        password_enabled=bool(call.get("passwordenabled")),
        cross_zones=not where,
        created=call.now,
        **owner.columns,
        **columns,
    )
    call.tx.update(tables.template, template_id, unique_name=f"{template_id}-{owner.account_id}-{name}")
    for zone_id in [zone.id for zone in where] or templates.zones_with_store(call.tx):
        templates.want_copy(call.tx, template_id, zone_id)
    row = call.tx.get(tables.template, template_id)
    assert row is not None
    about = call.about("Iso" if row.is_iso else "Template", row)
    events.record(call.tx, call.command.event, f"Registered {name}", actor=call.caller.actor, about=about)
    return template_id


def may_be_public(call: Call, public: bool) -> None:
    """Refused where users may have private templates only."""
    if not public or call.caller.is_root or settings.find(PUBLIC_BY_USERS) is None:
        return
    if not settings.value(call.tx, PUBLIC_BY_USERS, account_id=call.caller.account_id):
        raise Refused(f"Only private templates/ISO can be created (setting {PUBLIC_BY_USERS})")


# ---------------------------------------------------------------- listing
def seen(call: Call, filter_: str) -> list[sa.ColumnElement[bool]]:
    """Conditions of a templatefilter for this caller, and of id, ids, name, zone and tags."""
    template, wanted = tables.template, filter_.strip().lower()
    if wanted not in rules.FILTERS:
        raise Refused(f"Please specify a valid template filter: {', '.join(rules.FILTERS)}; {filter_!r} is none")
    if wanted == "all" and not call.caller.is_root:
        raise Refused("Filter all can be specified by root admin only")
    found = _asked(call)
    if wanted == "all":
        return found
    if call.get("id"):
        return [*found, _visible(call)]
    found.append(template.c.kind != "SYSTEM")
    account = _owner_id(call)
    account_id = call.caller.account_id if account is None else account
    mine = template.c.account_id == account_id
    public = template.c.is_public.is_(True)
    featured = template.c.is_featured.is_(True)
    shared = templates.shared_with(account_id)
    if call.caller.is_root and call.get("listall") and account is None:
        mine = sa.true()
    choice: dict[str, list[sa.ColumnElement[bool]]] = {
        "featured": [public, featured],
        "community": [public, template.c.is_featured.is_(False)],
        "self": [mine],
        "selfexecutable": [mine, templates.ready()],
        "shared": [shared, sa.not_(mine)],
        "sharedexecutable": [shared, sa.not_(mine), templates.ready()],
        "executable": [sa.or_(mine, public, shared), templates.ready()],
    }
    return [*found, *choice[wanted]]


def _visible(call: Call) -> sa.ColumnElement[bool]:
    """Whoever names one image gets it when he may use it, whatever filter and account he names beside it."""
    template = tables.template
    if call.caller.is_root:
        return sa.true()
    public = sa.and_(template.c.is_public.is_(True), template.c.kind != "SYSTEM")
    shared, mine = templates.shared_with(call.caller.account_id), template.c.account_id == call.caller.account_id
    if not call.caller.is_domain_admin:
        return sa.or_(public, shared, mine)
    return sa.or_(public, shared, mine, template.c.domain_path.startswith(call.caller.domain_path, autoescape=True))


def _owner_id(call: Call) -> int | None:
    """The account that a list is about, when one is named."""
    project = call.row(tables.project, "projectid")
    if project is not None:
        return int(project.project_account_id)
    account = call.named_account()
    return account.id if account is not None else None


def _asked(call: Call) -> list[sa.ColumnElement[bool]]:
    template = tables.template
    found: list[sa.ColumnElement[bool]] = []
    if not (call.get("showremoved") and call.caller.is_root):
        found.append(template.c.removed.is_(None))
    if call.get("id"):
        found.append(template.c.id == call.find_even_removed(template, call["id"], "id", check=False).id)
    if call.get("ids"):
        found.append(template.c.uuid.in_(call["ids"]))
    if call.get("name"):
        found.append(template.c.name == call["name"])
    if (zone := call.row(tables.zone, "zoneid")) is not None:
        found.append(tables.zone.c.id == zone.id)
    tag = tables.tag
    for key, value in pairs(call.get("tags")).items():
        kind = sa.case((template.c.is_iso.is_(True), "ISO"), else_="Template")
        same = (tag.c.resource_type == kind, tag.c.resource_id == template.c.id, tag.c.key == key, tag.c.value == value)
        found.append(sa.exists().where(*same))
    return found


def listed(call: Call, conditions: list[sa.ColumnElement[bool]], answer: Answer, tagged: str) -> Rows:
    """The page of images that match."""
    statement = templates.listing().where(*conditions)
    if call.get("showunique"):
        statement = _unique(statement)
    rows, count = fetch(call, statement)
    tags = tags_of(call.tx, tagged, [row.id for row in rows])
    answered = []
    for row in rows:
        shown = answer(row, may_see_url=call.caller.sees(row.account_id, row.domain_path))
        answered.append({**shown, "tags": tags.get(row.id, [])})
    return Rows(answered, count)


def _unique(statement: sa.Select[Any]) -> sa.Select[Any]:
    """Each image once, wherever its copies are: with the oldest one."""
    copy, other = tables.template_copy, tables.template_copy.alias()
    older = sa.exists().where(
        other.c.template_id == copy.c.template_id,
        other.c.wanted.is_(True),
        other.c.removed.is_(None),
        other.c.id < copy.c.id,
    )
    return statement.where(sa.or_(copy.c.id.is_(None), ~older))


def one(tx: Tx, template_id: int) -> Row:
    """An image with its first copy."""
    row = tx.one(templates.listing().where(tables.template.c.id == template_id))
    assert row is not None
    return row


# ---------------------------------------------------------------- changing
def image_of(call: Call, name: str, *, iso: bool) -> Row:
    """The template (or ISO) that a call names and may change."""
    row = call.need(tables.template, name)
    if row.is_iso != iso:
        raise errors.unknown_entity(call.command.name, name, row.uuid)
    return row


def changes(call: Call, row: Row) -> dict[str, Any]:
    """The columns that an update of either kind changes."""
    found: dict[str, Any] = {}
    if call.get("name"):
        found["name"] = places.name(call["name"], "template")
    if call.get("displaytext"):
        found["display_text"] = call["displaytext"]
    if (system := call.row(tables.guest_os, "ostypeid")) is not None:
        found["guest_os_id"] = system.id
    for name, column in (("bootable", "is_bootable"), ("passwordenabled", "password_enabled"), ("sortkey", "sort_key")):
        if name in call:
            found[column] = call[name]
    if call.get("cleanupdetails"):
        found["details"] = {}
    elif "details" in call:
        found["details"] = {**(row.details or {}), **pairs(call["details"])}
    return found


def drop(call: Call, row: Row, *, forced: bool) -> tuple[Part, ...]:
    """Makes copies unwanted, in one zone or all; the row goes with its last copy."""
    zone = call.row(tables.zone, "zoneid")
    zone_id = zone.id if zone is not None else None
    if zone is not None and not templates.copies(call.tx, row.id, zone.id):
        raise Refused(f"{row.name} is not in zone {zone.name}")
    if (count := templates.users_of(call.tx, row.id, zone_id)) and not forced:
        raise Refused(
            f"Unable to delete {row.name}: {count} machines use it. Destroy them first"
            + ("" if row.is_iso else ", or give forced=true"),
            Why.IN_USE,
        )
    parts = templates.drop_copies(call.tx, row.id, zone_id)
    if not templates.copies(call.tx, row.id):
        call.tx.update(tables.template, row.id, removed=call.now)
    return parts


def share(call: Call, row: Row) -> None:
    """Public or not, featured or not, and which accounts may use it."""
    found: dict[str, Any] = {}
    if "ispublic" in call:
        may_be_public(call, call["ispublic"])
        found["is_public"] = call["ispublic"]
    for name, column in (("isfeatured", "is_featured"), ("isextractable", "is_extractable")):
        if name in call:
            if not call.caller.is_root:
                raise Refused(f"Only a root admin may change {name}", Why.NOT_ALLOWED)
            found[column] = call[name]
    if call.get("op") or call.get("accounts") or call.get("projectids"):
        found["permissions"] = _permissions(call, row)
    if found:
        call.tx.update(tables.template, row.id, **found)


def _permissions(call: Call, row: Row) -> list[int]:
    operation = (call.get("op") or "").strip().lower()
    if operation not in OPERATIONS:
        raise Refused("Invalid operation on the permissions: op is add, remove or reset")
    if operation == "reset":
        return []
    named = {_account(call, row, name) for name in call.get("accounts", ())}
    named |= {project.project_account_id for project in call.rows(tables.project, "projectids")}
    if not named:
        raise Refused("Please give accounts or projectids to add or remove")
    now = set(row.permissions or ())
    return sorted(now | named if operation == "add" else now - named)


def _account(call: Call, row: Row, name: str) -> int:
    """An account of the image's domain, which its owner may share with."""
    account = tables.account
    found: int | None = call.tx.value(
        sa.select(account.c.id).where(account.c.name == name, account.c.domain_id == row.domain_id, account.c.removed.is_(None))
    )
    if found is None:
        raise Refused(f"Unable to grant a launch permission to account {name}: there is none in the template's domain")
    if found == row.account_id:
        raise Refused(f"{name} owns {row.name} and needs no permission")
    return found


def permissions(call: Call, row: Row) -> Rows:
    """Who may use an image, as a list of one."""
    account, project = tables.account, tables.project
    ids = row.permissions or []
    names = call.tx.all(sa.select(account.c.id, account.c.name).where(account.c.id.in_(ids)).order_by(account.c.name))
    projects = call.tx.all(sa.select(project.c.uuid, project.c.project_account_id).where(project.c.project_account_id.in_(ids)))
    theirs = {one.project_account_id for one in projects}
    domain = call.tx.get(tables.domain, row.domain_id)
    answer = {
        "id": row.uuid,
        "ispublic": row.is_public,
        "domainid": domain.uuid if domain is not None else "",
        "account": [one.name for one in names if one.id not in theirs],
        "projectids": [one.uuid for one in projects],
    }
    return Rows([answer], 1)
