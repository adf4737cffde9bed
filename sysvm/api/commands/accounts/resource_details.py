"""Details: what administrators note on things, as keys with values.

Some things have a column of details, which mean something to them (a zone's switches, a guest's sizes); for all others they are
notes, in a table of their own. What this cloud itself notes there is neither shown nor changed.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.commands.accounts.tags import typed
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.api.params import pairs
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries.events import About
from sysvm.store.queries.guests import INTERNAL_DETAILS
from sysvm.store.store import Row

LONGEST = 255


def _detailed(call: Call) -> tuple[str, sa.Table, Row]:
    type_, table = typed(call)
    if not call.get("resourceid"):
        raise errors.missing(call.command.name, "resourceid")
    row = call.find(table, call["resourceid"], "resourceid")
    owned = "domain_path" in table.c or table in (tables.domain, tables.user)
    if not owned and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, f"{table.name} {row.uuid}")
    return type_, table, row


def _noted(call: Call, type_: str, row: Row) -> dict[str, Row]:
    detail = tables.resource_detail
    here = (detail.c.resource_type == type_, detail.c.resource_id == row.id)
    return {found.key: found for found in call.tx.all(sa.select(detail).where(*here).order_by(detail.c.key))}


@handler("addResourceDetail")
def add_resource_detail(call: Call) -> Reply:
    """Sets details of a thing; one that is there gets another value."""
    type_, table, row = _detailed(call)
    given = pairs(call["details"])
    for key, value in given.items():
        if not key.strip() or len(key) > LONGEST or not value:
            raise Refused(f"Value for the key {key[:64]!r} is either null or empty, or the key is none")
        if key in INTERNAL_DETAILS:
            raise Refused(f"The detail {key} is this cloud's own")
    if "details" in table.c:
        call.tx.update(table, row.id, details={**(row.details or {}), **given})
    else:
        _note(call, type_, row, given)
    return Accepted((), About(type_, row.id, row.uuid), "adding details to the resource")


def _note(call: Call, type_: str, row: Row, given: dict[str, str]) -> None:
    there, detail = _noted(call, type_, row), tables.resource_detail
    shown = call.get("fordisplay", True)
    for key, value in given.items():
        if key in there:
            call.tx.update(detail, there[key].id, value=value, for_display=shown)
            continue
        call.tx.insert(detail, resource_type=type_, resource_id=row.id, key=key, value=value, for_display=shown, created=call.now)


@handler("removeResourceDetail")
def remove_resource_detail(call: Call) -> Reply:
    """Removes one detail, or all."""
    type_, table, row = _detailed(call)
    goes = call.get("key")
    if "details" in table.c:
        kept = {key: value for key, value in (row.details or {}).items() if key in INTERNAL_DETAILS or goes not in (None, key)}
        call.tx.update(table, row.id, details=kept)
    else:
        detail = tables.resource_detail
        ids = [found.id for key, found in _noted(call, type_, row).items() if goes in (None, key)]
        call.tx.change(sa.delete(detail).where(detail.c.id.in_(ids)))
    return Accepted((), About(type_, row.id, row.uuid), "removing resource details")


@handler("listResourceDetails")
def list_resource_details(call: Call) -> Rows:
    """The details of a thing; users see those that are for display."""
    type_, table, row = _detailed(call)
    if "details" in table.c:
        held = {key: str(value) for key, value in (row.details or {}).items() if key not in INTERNAL_DETAILS}
    else:
        shown = call.get("fordisplay") if call.caller.is_root else True
        noted = _noted(call, type_, row).values()
        held = {found.key: found.value for found in noted if shown in (None, found.for_display)}
    word = (call.get("keyword") or "").lower()
    found = [_answer(type_, row, key, value) for key, value in sorted(held.items()) if word in key.lower()]
    wanted = {name: call[name] for name in ("key", "value") if call.get(name)}
    return slice_rows(call, [one for one in found if wanted.items() <= one.items()])


def _answer(type_: str, row: Row, key: str, value: str) -> dict[str, Any]:
    return {"resourceid": row.uuid, "resourcetype": type_, "key": key, "value": value}
