"""Roles and their rules. The first rule that fits a command decides; what none names is denied, but for default roles and
their copies, which may do what their type may.

Default roles cannot be changed, so that nobody locks himself out.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import accounts as answers
from sysvm.api.call import Call, One, Reply, Rows, Success
from sysvm.api.commands.accounts.accounts import RANK
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows, slice_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.store import Row

PERMISSIONS = ("allow", "deny")


@handler("listRoles")
def list_roles(call: Call) -> Rows:
    """Roles; an admin of a domain sees those that he can give."""
    role = tables.role
    statement = sa.select(role).where(role.c.removed.is_(None))
    if not call.caller.is_root:
        most = RANK[call.caller.role_type]
        statement = statement.where(role.c.type.in_([type_ for type_, rank in RANK.items() if rank <= most]))
    return list_rows(call, statement, role, lambda _tx, rows: [answers.role(row) for row in rows],
                     equal={"name": role.c.name, "type": role.c.type})  # fmt: skip


def _type(text: str) -> str:
    found = next((type_ for type_ in RANK if type_.lower() == text.lower()), None)
    if found is None:
        raise Refused(f"Invalid role type {text}: it is one of {', '.join(RANK)}")
    return found


def _changeable(call: Call, name: str = "id") -> Row:
    row = call.need(tables.role, name)
    _check_own(row)
    return row


def _check_own(row: Row) -> None:
    if row.is_default:
        raise Refused(f"The default role {row.name} cannot be changed; make a role of your own", Why.NOT_ALLOWED)


def _check_name(call: Call, name: str, besides: int = 0) -> None:
    role = tables.role
    same = (role.c.name == name, role.c.removed.is_(None), role.c.id != besides)
    if call.tx.one(sa.select(role.c.id).where(*same)) is not None:
        raise Refused(f"Role {name} already exists")


@handler("createRole")
def create_role(call: Call) -> Reply:
    """A role of a type, which may do what it is given rules for; or a copy of another role."""
    pattern = call.row(tables.role, "roleid")
    if (pattern is None) == ("type" not in call):
        raise Refused("Either role ID or type must be specified, not both")
    _check_name(call, call["name"])
    type_ = pattern.type if pattern is not None else _type(call["type"])
    id_ = call.tx.insert(tables.role, uuid=call.ids.uuid(), name=call["name"], type=type_,
                         by_type=pattern is not None and pattern.by_type, description=call.get("description", ""),
                         created=call.now)  # fmt: skip
    for rule in _rules(call, pattern.id) if pattern is not None else ():
        _add_rule(call, id_, rule.rule, rule.permission, rule.description, rule.sort_order)
    return _answer(call, id_, "created role")


def _add_rule(call: Call, role_id: int, rule: str, permission: str, description: str, at: int) -> int:
    return call.tx.insert(tables.role_permission, uuid=call.ids.uuid(), role_id=role_id, rule=rule, permission=permission,
                          description=description, sort_order=at)  # fmt: skip


@handler("importRole")
def import_role(call: Call) -> Reply:
    """A role with all its rules, in their order; with `forced` it takes the place of one of that name."""
    if "type" not in call:
        raise errors.missing(call.command.name, "type")
    rules, type_ = [_imported(given) for given in call["rules"]], _type(call["type"])
    if twice := {rule for rule, _, _ in rules if [other for other, _, _ in rules].count(rule) > 1}:
        raise Refused(f"Rules of a role are there once; these are not: {', '.join(sorted(twice))}")
    id_ = _replaced(call, type_) if call.get("forced") else None
    if id_ is None:
        _check_name(call, call["name"])
        id_ = call.tx.insert(tables.role, uuid=call.ids.uuid(), name=call["name"], type=type_, created=call.now)
    call.tx.update(tables.role, id_, type=type_, by_type=False, description=call.get("description", ""))
    for at, (rule, permission, description) in enumerate(rules):
        _add_rule(call, id_, rule, permission, description, at)
    return _answer(call, id_, "imported role")


def _imported(given: dict[str, str]) -> tuple[str, str, str]:
    """Rule, permission and description of one element of `rules`."""
    return _rule(given.get("rule", "")), _permission(given.get("permission", "")), given.get("description", "")


def _replaced(call: Call, type_: str) -> int | None:
    """The role of that name, without its rules."""
    found = call.tx.rows(tables.role, "name = :name and removed is null", name=call["name"])
    if not found:
        return None
    _check_own(found[0])
    if found[0].type != type_:
        _check_unused(call, found[0])
    table = tables.role_permission
    call.tx.change(sa.delete(table).where(table.c.role_id == found[0].id))
    return int(found[0].id)


def _answer(call: Call, id_: int, what: str) -> One:
    row = call.tx.get(tables.role, id_)
    assert row is not None
    return One(answers.role(row), call.about("Role", row), f"{what} {row.name}")


@handler("updateRole")
def update_role(call: Call) -> Reply:
    """Name, description; the type only while no account has the role."""
    row = _changeable(call)
    changes: dict[str, Any] = {name: call[name] for name in ("name", "description") if call.get(name)}
    if "name" in changes:
        _check_name(call, changes["name"], row.id)
    if call.get("type"):
        _check_unused(call, row)
        changes["type"] = _type(call["type"])
    if changes:
        call.tx.update(tables.role, row.id, **changes)
    return _answer(call, row.id, "updated role")


@handler("deleteRole")
def delete_role(call: Call) -> Reply:
    """Gone, if no account has it."""
    row = _changeable(call)
    _check_unused(call, row)
    call.tx.update(tables.role, row.id, removed=call.now)
    return Success("", call.about("Role", row), f"deleted role {row.name}")


def _check_unused(call: Call, row: Row) -> None:
    account = tables.account
    used = sa.select(account.c.name).where(account.c.role_id == row.id, account.c.removed.is_(None))
    if (name := call.tx.value(used)) is not None:
        raise Refused(f"Found accounts that have role {row.name} in use: {name}", Why.IN_USE)


# ---------------------------------------------------------------- rules
def _rules(call: Call, role_id: int) -> list[Row]:
    table = tables.role_permission
    return list(call.tx.all(sa.select(table).where(table.c.role_id == role_id).order_by(table.c.sort_order, table.c.id)))


@handler("listRolePermissions")
def list_role_permissions(call: Call) -> Rows:
    """The rules of one role in their order, or of all."""
    of = call.row(tables.role, "roleid")
    role = tables.role
    roles = [of] if of is not None else call.tx.all(sa.select(role).where(role.c.removed.is_(None)).order_by(role.c.id))
    return slice_rows(call, [answers.role_permission(rule, one) for one in roles for rule in _rules(call, one.id)])


def _permission(text: str) -> str:
    if text.lower() not in PERMISSIONS:
        raise Refused(f"Invalid permission {text}: it is allow or deny")
    return text.lower()


def _rule(text: str) -> str:
    if not text or not all(sign.isalnum() or sign == "*" for sign in text):
        raise Refused(f"Invalid rule {text}: it is a command's name, perhaps with *")
    return text


@handler("createRolePermission")
def create_role_permission(call: Call) -> Reply:
    """A rule at the end: a command's name, or a part of it with `*`."""
    role = _changeable(call, "roleid")
    rule = _rule(call["rule"])
    there = _rules(call, role.id)
    if any(row.rule == rule for row in there):
        raise Refused(f"The role {role.name} has a rule {rule} already; change it with updateRolePermission")
    last = max((row.sort_order for row in there), default=-1)
    id_ = _add_rule(call, role.id, rule, _permission(call["permission"]), call.get("description", ""), last + 1)
    row = call.tx.get(tables.role_permission, id_)
    assert row is not None
    about = call.about("Role", role)
    return One(answers.role_permission(row, role), about, f"rule {rule} {row.permission} of role {role.name}")


@handler("updateRolePermission")
def update_role_permission(call: Call) -> Reply:
    """Another order of all rules, or another permission of one."""
    role = _changeable(call, "roleid")
    if ("ruleorder" in call) == ("ruleid" in call):
        raise Refused("Either ruleorder or ruleid with permission must be specified, not both")
    known = {row.uuid: row for row in _rules(call, role.id)}
    if "ruleorder" in call:
        if sorted(call["ruleorder"]) != sorted(known):
            raise Refused("The order must name every rule of the role once; somebody may have changed them, list them again")
        for at, uuid in enumerate(call["ruleorder"]):
            call.tx.update(tables.role_permission, known[uuid].id, sort_order=at)
    else:
        row = known.get(call["ruleid"])
        if row is None:
            raise errors.unknown_entity(call.command.name, "ruleid", call["ruleid"])
        if "permission" not in call:
            raise errors.missing(call.command.name, "permission")
        call.tx.update(tables.role_permission, row.id, permission=_permission(call["permission"]))
    return Success("", call.about("Role", role), f"rules of role {role.name}")


@handler("deleteRolePermission")
def delete_role_permission(call: Call) -> Reply:
    """Gone."""
    row = call.need(tables.role_permission, "id")
    role = call.tx.get(tables.role, row.role_id)
    assert role is not None
    if role.is_default:
        raise Refused(f"The default role {role.name} cannot be changed", Why.NOT_ALLOWED)
    table = tables.role_permission
    call.tx.change(sa.delete(table).where(table.c.id == row.id))
    return Success("", call.about("Role", role), f"deleted rule {row.rule} of role {role.name}")
