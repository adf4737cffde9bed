"""Domains: a tree below ROOT. Their path of ids is on every owned row, so renaming one changes nothing that is owned."""

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import accounts as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import accounts, limits
from sysvm.store.store import Row, Tx

ROOT = 1
_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def domain_answers(tx: Tx, rows: Sequence[Row], *, with_limits: bool = True) -> list[dict[str, Any]]:
    """Domains with limits, use and the name of their parent."""
    table = tables.domain
    parents = {row.parent_id for row in rows if row.parent_id is not None}
    by_id = {row.id: row for row in tx.all(sa.select(table).where(table.c.id.in_(parents)))}
    with_children = accounts.domains_with_children(tx, [row.id for row in rows])
    standings = limits.standings_of_domains(tx, [(row.id, row.id_path) for row in rows]) if with_limits else {}
    return [
        answers.domain(row, by_id.get(row.parent_id), has_child=row.id in with_children, standings=standings.get(row.id, {}))
        for row in rows
    ]


def domain_answer(tx: Tx, domain_id: int) -> dict[str, Any]:
    """One domain."""
    table = tables.domain
    return domain_answers(tx, tx.all(sa.select(table).where(table.c.id == domain_id)))[0]


# ---------------------------------------------------------------- listing
@handler("listDomains")
def list_domains(call: Call) -> Rows:
    """The caller's domain, and with `listall` those below it; root admins see all."""
    table = tables.domain
    statement = sa.select(table).where(table.c.removed.is_(None))
    if "id" not in call and not call.caller.is_root:
        statement = statement.where(_seen(call) if call.get("listall") else table.c.id == call.caller.domain_id)
    return _listed(call, statement)


@handler("listDomainChildren")
def list_domain_children(call: Call) -> Rows:
    """The domains below one: direct children, or all with `isrecursive`."""
    table = tables.domain
    parent = call.row(table, "id") or call.tx.get(table, call.caller.domain_id)
    assert parent is not None
    below = table.c.parent_id == parent.id
    if call.get("isrecursive") or call.get("listall"):
        below = sa.and_(table.c.id_path.startswith(parent.id_path, autoescape=True), table.c.id != parent.id)
    call.params.pop("id", None)  # it named the parent, not the rows
    return _listed(call, sa.select(table).where(table.c.removed.is_(None), below))


def _seen(call: Call) -> sa.ColumnElement[bool]:
    table = tables.domain
    if call.caller.is_domain_admin:
        return table.c.id_path.startswith(call.caller.domain_path, autoescape=True)
    return table.c.id == call.caller.domain_id


def _listed(call: Call, statement: sa.Select[Any]) -> Rows:
    table = tables.domain
    brief = call.get("details") == ("min",)

    def answer(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return domain_answers(tx, rows, with_limits=not brief)

    equal = {"name": table.c.name, "level": table.c.level}
    return list_rows(call, statement, table, answer, equal=equal, keyword=(table.c.name, table.c.path))


# ---------------------------------------------------------------- changing
@handler("createDomain")
def create_domain(call: Call) -> Reply:
    """A domain below `parentdomainid`, else below ROOT or the caller's own."""
    parent = call.row(tables.domain, "parentdomainid") or call.tx.get(tables.domain, call.caller.domain_id)
    assert parent is not None
    chosen = call.get("domainid", "")
    if chosen and not _uuid.fullmatch(chosen):
        raise errors.invalid(call.command.name, "domainid", chosen)
    if chosen and call.tx.one(sa.select(tables.domain.c.id).where(tables.domain.c.uuid == chosen)) is not None:
        raise Refused(f"Domain with UUID {chosen} already exists")
    name = _name(call["name"])
    id_ = accounts.add_domain(call.tx, call.ids, name, parent, call.get("networkdomain", ""), chosen)
    row = call.tx.get(tables.domain, id_)
    assert row is not None
    return One(domain_answer(call.tx, id_), call.about("Domain", row), f"creating Domain {name}")


def _name(name: str) -> str:
    if "/" in name:
        raise Refused("A domain's name has no slash")
    return name


@handler("updateDomain")
def update_domain(call: Call) -> Reply:
    """Its name and network domain."""
    row = _administered(call)
    if call.get("name") and call["name"] != row.name:
        if row.id == ROOT:
            raise Refused("ROOT keeps its name", Why.NOT_ALLOWED)
        accounts.rename_domain(call.tx, row, _name(call["name"]))
    if "networkdomain" in call:
        call.tx.update(tables.domain, row.id, network_domain=call["networkdomain"])
    return One(domain_answer(call.tx, row.id), call.about("Domain", row), f"updating Domain {row.name}")


@handler("deleteDomain")
def delete_domain(call: Call) -> Reply:
    """Gone; with `cleanup` with all accounts and domains in it."""
    row = _administered(call)
    if row.id in (ROOT, call.caller.domain_id):
        raise Refused(f"The domain {row.name} cannot be deleted by somebody in it", Why.NOT_ALLOWED)
    parts = tuple(accounts.withdraw_domain(call.tx, row, cleanup=bool(call.get("cleanup"))))
    return Accepted(parts, call.about("Domain", row), f"deleting Domain {row.name}")


def _administered(call: Call) -> Row:
    row = call.need(tables.domain, "id")
    if not call.caller.sees_domain(row.id_path):
        raise errors.no_access(call.caller.account_name, f"domain {row.uuid}")
    return row
