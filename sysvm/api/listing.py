"""Lists: which rows the caller sees, which page of them, how many there are in all.

    return list_rows(call, sa.select(machine).where(machine.c.kind == "guest"), machine, answers.guests,
                     equal={"name": machine.c.display_name}, refs={"zoneid": (tables.zone, machine.c.zone_id)},
                     keyword=(machine.c.display_name, machine.c.name), tagged="UserVm")

Visibility, in one place for all lists of owned rows: by default the caller's own; with `listall`, or when an id is asked
for, all that the caller may see; `domainid`, `isrecursive`, `account` and `projectid` narrow that. What belongs to a
project shows only with `projectid`.

A list whose statement is `Prepared` costs a fraction; its conditions are those of all lists.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import PROJECT_ACCOUNT, Call, Rows
from sysvm.api.params import NONE_UUID, pairs
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.prepared import Condition, Prepared, constant, equals, rare
from sysvm.store.queries import project_members
from sysvm.store.store import Row, Tx, among

Column = sa.ColumnElement[Any]
Answer = Callable[[Tx, Sequence[Row]], list[dict[str, Any]]]
UNLIMITED = -1


class Owned(NamedTuple):
    """Which columns say whose a row is, where they are not those of the main table."""

    account: Column
    domain: Column
    path: Column


def page(call: Call) -> tuple[int, int | None]:
    """(offset, limit) of `page` and `pagesize`; limit None: all."""
    number, size = call.get("page"), call.get("pagesize")
    if size == UNLIMITED and number is None:
        return 0, None
    if number is None and size is None:
        return 0, call.most_rows
    if number is None:
        raise Refused('"page" parameter is required when "pagesize" is specified')
    if size is None:
        raise Refused('"pagesize" parameter is required when "page" is specified')
    most = call.most_rows
    if size > most:
        raise Refused(f"Page size can't exceed max allowed page size value: {most}")
    if size < 1:
        raise errors.invalid(call.command.name, "pagesize", size)
    if number < 1:
        raise errors.invalid(call.command.name, "page", number)
    return (number - 1) * size, size


def list_rows(
    call: Call,
    statement: sa.Select[Any] | Prepared,
    table: sa.Table,
    answer: Answer,
    *,
    where: Sequence[Condition] = (),
    equal: Mapping[str, Column] | None = None,
    refs: Mapping[str, tuple[sa.Table, Column]] | None = None,
    keyword: Sequence[Column] = (),
    tagged: str = "",
    key: str = "",
    owned: Owned | None = None,
) -> Rows:
    """The page of `statement` (a select whose main table is `table`) that the caller asks for and may see.

    `where`: further conditions, which a prepared statement keeps by their keys.
    `equal`: parameters compared with a column; `refs`: uuid parameters of another table's rows; `tagged`: the resource
    type under which tags of these rows are kept. Removed rows must be filtered by the statement, if they are to be.
    """
    conditions = [
        *where,
        *_seen(call, table, owned),
        *_wanted(call, table),
        *_equal(call, equal or {}),
        *_refs(call, refs or {}),
    ]
    if (word := call.get("keyword")) and (columns := tuple(keyword) or _name_columns(table)):
        conditions.append(rare(sa.or_(*(contains(column, word) for column in columns))))
    if tagged and call.get("tags"):
        conditions += _tag_conditions(call, table, tagged)
    if isinstance(statement, sa.Select) and not statement._order_by_clauses:
        statement = statement.order_by(table.c.id)
    rows, count = fetch(call, statement, conditions)
    answered = answer(call.tx, rows)
    if tagged:
        _add_tags(call.tx, tagged, rows, answered)
    return Rows(answered, count, key)


def fetch(call: Call, statement: sa.Select[Any] | Prepared, conditions: Sequence[Condition] = ()) -> tuple[Sequence[Row], int]:
    """The rows of the page, and how many there are in all."""
    offset, limit = page(call)
    rows: Sequence[Row]
    if isinstance(statement, Prepared):
        rows = statement.rows(call.tx, conditions, limit=limit, offset=offset)
    else:
        statement = statement.where(*(condition.literal for condition in conditions))
        rows = call.tx.all(statement if limit is None else statement.limit(limit).offset(offset))
    if offset == 0 and (limit is None or len(rows) < limit):
        return rows, len(rows)
    if isinstance(statement, Prepared):
        return rows, statement.count(call.tx, conditions)
    return rows, int(call.tx.value(sa.select(sa.func.count()).select_from(statement.order_by(None).subquery())))


def slice_rows(call: Call, rows: list[dict[str, Any]]) -> Rows:
    """A page of rows that are not in a table."""
    offset, limit = page(call)
    return Rows(rows[offset:] if limit is None else rows[offset : offset + limit], len(rows))


def contains(column: sa.ColumnElement[Any], word: str) -> sa.ColumnElement[bool]:
    """Whether `word` is a part of the column, without regard to case; % and _ are themselves."""
    return column.icontains(word, autoescape=True)


def _name_columns(table: sa.Table) -> tuple[sa.ColumnElement[Any], ...]:
    return tuple(table.c[name] for name in ("name", "display_name", "display_text") if name in table.c)


def _wanted(call: Call, table: sa.Table) -> list[Condition]:
    found: list[Condition] = []
    if _by_id(call):
        found.append(_is(call, table, "id", table.c.id))
    if ids := call.get("ids"):
        found.append(rare(table.c.uuid.in_(ids)))
    return found


def _by_id(call: Call) -> bool:
    """Whether one object is asked for; whether the caller may see it is checked when it is found."""
    return "id" in call and call.command.accepts()["id"].type == "uuid"


def _equal(call: Call, equal: Mapping[str, Column]) -> list[Condition]:
    return [equals(name, column, call[name]) for name, column in equal.items() if name in call and call[name] != ""]


def _refs(call: Call, refs: Mapping[str, tuple[sa.Table, Column]]) -> list[Condition]:
    given = {name: ref for name, ref in refs.items() if name in call and call[name] != NONE_UUID}
    return [_is(call, table, name, column) for name, (table, column) in given.items()]


def _is(call: Call, table: sa.Table, name: str, column: Column) -> Condition:
    """The column is the row that the parameter names. Of what is removed there is nothing to list."""
    row = call.find_even_removed(table, str(call[name]), name)
    return rare(sa.false()) if getattr(row, "removed", None) is not None else equals(name, column, row.id)


# ---------------------------------------------------------------- visibility
def visible(call: Call, table: sa.Table, owned: Owned | None = None) -> list[sa.ColumnElement[bool]]:
    """Conditions on an owned table; none for tables without an owner."""
    return [condition.literal for condition in _seen(call, table, owned)]


def _seen(call: Call, table: sa.Table, owned: Owned | None) -> list[Condition]:
    if owned is None:
        if "account_id" not in table.c or "domain_path" not in table.c:
            return []
        owned = Owned(table.c.account_id, table.c.domain_id, table.c.domain_path)
    project = call.get("projectid")
    if project is not None:
        return [rare(_of_projects(call, owned, str(project)))]
    account = call.named_account()
    if account is not None:
        return [_of_account(owned, account.id)]
    domain = call.row(tables.domain, "domainid")
    if domain is not None:
        return _of_domain(call, owned, domain)
    if not (call.get("listall") or _by_id(call) or call.get("ids")):
        return [_of_account(owned, call.caller.account_id)]
    return _all_seen(call, owned)


def _of_projects(call: Call, owned: Owned, uuid: str) -> sa.ColumnElement[bool]:
    if uuid != NONE_UUID:
        found: sa.ColumnElement[bool] = owned.account == call.find(tables.project, uuid, "projectid").project_account_id
        return found
    project = tables.project
    seen = sa.select(project.c.project_account_id).where(project.c.removed.is_(None))
    if not call.caller.is_root:
        me = call.caller.account_id
        mine = sa.or_(project.c.account_id == me, project.c.id.in_(project_members.of_account(me)))
        below = project.c.domain_path.startswith(call.caller.domain_path, autoescape=True)
        seen = seen.where(sa.or_(mine, below) if call.caller.is_domain_admin else mine)
    # What is no project's comes with listall: so the web UI asks for its routers.
    others = _all_seen(call, owned) if call.get("listall") else [rare(sa.false())]
    return sa.or_(owned.account.in_(seen), sa.and_(sa.true(), *(other.literal for other in others)))


def _of_domain(call: Call, owned: Owned, domain: Row) -> list[Condition]:
    if not call.caller.sees_domain(domain.id_path):
        return [_of_account(owned, call.caller.account_id)]
    if call.get("isrecursive"):
        return [_below(owned, domain.id_path), _no_project(owned)]
    return [equals("owner_domain", owned.domain, domain.id), _no_project(owned)]


def _all_seen(call: Call, owned: Owned) -> list[Condition]:
    by_id = _by_id(call)
    if call.caller.is_root:
        return [] if by_id else [_no_project(owned)]
    if call.caller.is_domain_admin:
        below = _below(owned, call.caller.domain_path)
        return [below] if by_id else [below, _no_project(owned)]
    return [] if by_id else [_of_account(owned, call.caller.account_id)]


def _of_account(owned: Owned, account_id: int) -> Condition:
    return equals("owner_account", owned.account, account_id)


def _below(owned: Owned, domain_path: str) -> Condition:
    """In a domain or below it. A path is of numbers and slashes, so that it has no wild cards of its own."""
    return Condition("owner_below", lambda of: owned.path.like(of["owner_below"]), {"owner_below": f"{domain_path}%"})


def _no_project(owned: Owned) -> Condition:
    def write() -> sa.ColumnElement[bool]:
        account = tables.account
        projects = sa.select(account.c.id).where(account.c.type == PROJECT_ACCOUNT)
        return sa.or_(owned.account.is_(None), owned.account.not_in(projects))

    return constant("no_project", write)


# ---------------------------------------------------------------- tags
def _tag_conditions(call: Call, table: sa.Table, type_: str) -> list[Condition]:
    tag = tables.tag
    return [
        rare(
            sa.exists().where(
                tag.c.resource_type == type_, tag.c.resource_id == table.c.id, tag.c.key == key, tag.c.value == value
            )
        )
        for key, value in pairs(call["tags"]).items()
    ]


def _add_tags(tx: Tx, type_: str, rows: Sequence[Row], answered: list[dict[str, Any]]) -> None:
    by_id = tags_of(tx, type_, [row.id for row in rows])
    for row, answer in zip(rows, answered, strict=True):
        answer["tags"] = by_id.get(row.id, [])


TAGS = """
select t.resource_id, t.key, t.value, t.resource_type, t.resource_uuid, t.customer, a.name, d.uuid, d.name
from tag t join account a on a.id = t.account_id join domain d on d.id = t.domain_id
where t.resource_type = :type and t.resource_id in ({ids}) order by t.id
"""


class TagRow(NamedTuple):
    """A tag with the names of whose it is."""

    resource_id: int
    key: str
    value: str
    resource_type: str
    resource_uuid: str
    customer: str
    account_name: str
    domain_uuid: str
    domain_name: str


def tags_of(tx: Tx, type_: str, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The tags of resources, as rows of answers. Every page of every taggable list asks this: one hot statement."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not ids:
        return found
    places, values = among(ids)
    rows = tx.sql(TAGS.format(ids=places), **values, type=type_)
    for row in map(TagRow._make, rows):
        found.setdefault(row.resource_id, []).append(tag_answer(row) if type_ not in BRIEF else _brief(row))
    return found


# What clients compare whole with the tags that they gave: CloudStack shows nothing but key and value here.
BRIEF = frozenset({
    "PublicIpAddress", "Network", "Vpc", "LoadBalancer", "PortForwardingRule", "FirewallRule", "NetworkACL",
    "NetworkACLList", "StaticRoute", "Snapshot",
})  # fmt: skip


def _brief(row: TagRow) -> dict[str, Any]:
    return {"key": row.key, "value": row.value}


def tag_answer(row: Row | TagRow) -> dict[str, Any]:
    """A tag as an answer; the row carries account_name, domain_name and domain_uuid."""
    answer = {
        "key": row.key, "value": row.value, "resourcetype": row.resource_type, "resourceid": row.resource_uuid,
        "account": row.account_name, "domainid": row.domain_uuid, "domain": row.domain_name,
    }  # fmt: skip
    return {**answer, "customer": row.customer} if row.customer else answer
