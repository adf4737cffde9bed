"""Events: what was done to whom by whom."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import catalogue, errors
from sysvm.api.answers.records import event
from sysvm.api.call import Call, Reply, Rows, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows, visible
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.store import Row, Tx

DAY_S = 86_400

# Written by the cloud itself, not for a command.
BY_ITSELF = (
    "USER.LOGIN", "USER.LOGOUT", "ROUTER.CREATE", "ROUTER.HA", "ROUTER.HEALTH.CHECKS", "PROXY.CREATE", "PROXY.HA",
    "INTERNALLBVM.CREATE", "INTERNALLBVM.DESTROY", "INTERNALLBVM.HA",
    "SSVM.CREATE", "SSVM.DESTROY", "SSVM.START", "SSVM.STOP", "SSVM.REBOOT", "SSVM.HA", "SSVM.DIAGNOSTICS",
    "PROXY.DIAGNOSTICS", "SYSTEM.VM.DIAGNOSTICS", "VNC.CONNECT", "VNC.DISCONNECT", "TEMPLATE.DOWNLOAD.START",
    "TEMPLATE.DOWNLOAD.SUCCESS", "TEMPLATE.DOWNLOAD.FAILED", "NET.IPASSIGN", "NET.IPRELEASE", "HOST.UP", "HOST.DOWN",
)  # fmt: skip


@handler("listEvents")
def list_events(call: Call) -> Rows:
    """Newest first; archived ones only when asked for."""
    table, user = tables.event, tables.user
    account, domain = tables.account, tables.domain
    parent = table.alias("parent")
    statement = (
        sa.select(
            table,
            user.c.username.label("username"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
            parent.c.uuid.label("parent_uuid"),
        )
        .outerjoin(user, user.c.id == table.c.user_id)
        .join(account, account.c.id == table.c.account_id)
        .join(domain, domain.c.id == table.c.domain_id)
        .outerjoin(parent, parent.c.id == table.c.parent_id)
        .where(*_wanted(call))
        .order_by(table.c.id.desc())
    )
    equal = {"type": table.c.type, "state": table.c.state, "resourceid": table.c.resource_uuid}
    words = (table.c.type, table.c.description, table.c.level)

    def answer(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [event(row) for row in rows]

    return list_rows(call, statement, table, answer, equal=equal, keyword=words)


def _wanted(call: Call) -> list[sa.ColumnElement[bool]]:
    table = tables.event
    found: list[sa.ColumnElement[bool]] = [table.c.archived.is_(bool(call.get("archived")))]
    found += _span(call, table.c.created)
    if call.get("level"):
        found.append(table.c.level == call["level"].upper())
    if call.get("resourcetype"):
        found.append(sa.func.lower(table.c.resource_type) == call["resourcetype"].lower())
    first = call.row(table, "startid")
    if first is not None:
        start = first.parent_id or first.id
        found.append(sa.or_(table.c.id == start, table.c.parent_id == start))
    return found


def _span(call: Call, column: sa.ColumnElement[float]) -> list[sa.ColumnElement[bool]]:
    found = []
    if "startdate" in call:
        found.append(column >= call["startdate"])
    if "enddate" in call:
        # A day without a time means all of it.
        found.append(column <= call["enddate"] + (DAY_S - 1 if call["enddate"] % DAY_S == 0 else 0))
    if "startdate" in call and "enddate" in call and call["startdate"] > call["enddate"]:
        raise Refused("startdate is after enddate")
    return found


@handler("listEventTypes")
def list_event_types(_call: Call) -> Rows:
    """Every type that this cloud writes."""
    known = {command.event for command in catalogue.commands().values() if command.event} | set(BY_ITSELF)
    return Rows([{"name": name} for name in sorted(known)], len(known))


def selected(call: Call, table: sa.Table, column: sa.ColumnElement[float]) -> list[sa.ColumnElement[bool]]:
    """What archiving and deleting is about: ids, a type, a span; at least one of them."""
    if not any(name in call for name in ("ids", "type", "startdate", "enddate")):
        raise Refused("Either ids, type, startdate or enddate must be given: nothing would say which ones are meant")
    if "enddate" in call and call["enddate"] > call.now + DAY_S:
        raise errors.invalid(call.command.name, "enddate", "in the future")
    found = _span(call, column)
    if "ids" in call:
        for uuid in call["ids"]:
            call.find(table, uuid, "ids")
        found.append(table.c.uuid.in_(call["ids"]))
    return found


@handler("archiveEvents")
def archive_events(call: Call) -> Reply:
    """Out of the list, not out of the database."""
    table = tables.event
    call.tx.change(sa.update(table).where(*_own(call)).values(archived=True))
    return Success()


@handler("deleteEvents")
def delete_events(call: Call) -> Reply:
    """Gone; what they are the beginning of keeps its own description."""
    table = tables.event
    doomed = sa.select(table.c.id).where(*_own(call))
    call.tx.change(sa.update(table).where(table.c.parent_id.in_(doomed)).values(parent_id=None))
    call.tx.change(sa.delete(table).where(*_own(call)))
    return Success()


def _own(call: Call) -> list[sa.ColumnElement[bool]]:
    table = tables.event
    found = selected(call, table, table.c.created)
    if "type" in call:
        found.append(table.c.type == call["type"])
    call.params["listall"] = True  # all that the caller may see
    return [*found, *visible(call, table)]
