"""Security groups: making, listing, renaming and deleting them. Their rules are in security_group_rules."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import security_groups as answers
from sysvm.api.answers.security_groups import GroupView
from sysvm.api.call import Call, One, Owner, Reply, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules import security_groups as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import security_groups
from sysvm.store.store import Row, Tx

ABOUT = TAGGED = "SecurityGroup"


def views(tx: Tx, rows: Sequence[Row]) -> list[GroupView]:
    """Groups with their rules and guests, in a fixed number of queries."""
    ids = [row.id for row in rows]
    found = security_groups.rules_of(tx, ids)
    guests = security_groups.members_of(tx, ids)
    group, account = tables.security_group, tables.account
    spoken_of = sorted({rule.other_group_id for rule in found if rule.other_group_id is not None})
    named = sa.select(group.c.id, group.c.name, account.c.name.label("account_name")).join(
        account, account.c.id == group.c.account_id
    )
    others = {other.id: (other.name, other.account_name) for other in tx.all(named.where(group.c.id.in_(spoken_of)))}
    return [GroupView(row, [rule for rule in found if rule.group_id == row.id], others, guests.get(row.id, [])) for row in rows]


def answer(tx: Tx, group_id: int) -> dict[str, Any]:
    """One group."""
    row = security_groups.one(tx, group_id)
    assert row is not None
    return answers.group(views(tx, [row])[0])


@handler("createSecurityGroup")
def create_security_group(call: Call) -> Reply:
    """Without rules: nobody reaches its members, they reach everybody."""
    owner, name = call.owner(), rules.name(call["name"])
    if security_groups.named(call.tx, owner.account_id, name) is not None or name.lower() == security_groups.DEFAULT:
        raise Refused(f"Unable to create security group, a group with name {name} already exists.")
    row = security_groups.add(call.tx, owner.columns, name, call.get("description", ""))
    return One(answer(call.tx, row.id), call.about(ABOUT, row), f"creating security group {name}")


@handler("listSecurityGroups")
def list_security_groups(call: Call) -> Reply:
    """Groups with their rules and guests."""
    group, member = tables.security_group.c, tables.security_group_member.c
    statement = security_groups.statement()
    if (guest := call.row(tables.machine, "virtualmachineid")) is not None:
        statement = statement.where(group.id.in_(sa.select(member.group_id).where(member.machine_id == guest.id)))
    return list_rows(
        call,
        statement,
        tables.security_group,
        lambda tx, rows: [answers.group(view) for view in views(tx, rows)],
        equal={"securitygroupname": group.name},
        keyword=(group.name,),
        tagged=TAGGED,
    )


@handler("updateSecurityGroup")
def update_security_group(call: Call) -> Reply:
    """Another name. Hosts know groups by their ids, so that nothing of it reaches them."""
    row = call.need(tables.security_group, "id")
    if row.name == security_groups.DEFAULT:
        raise Refused("The default security group is reserved")
    if call.get("name") and (name := rules.name(call["name"])) != row.name:
        same = security_groups.named(call.tx, row.account_id, name)
        if name.lower() == security_groups.DEFAULT or (same is not None and same.id != row.id):
            raise Refused(f"Unable to update security group, a group with name {name} already exists.")
        call.tx.update(tables.security_group, row.id, name=name)
    return One(answer(call.tx, row.id), call.about(ABOUT, row), f"updating security group {row.uuid}")


@handler("deleteSecurityGroup")
def delete_security_group(call: Call) -> Reply:
    """Refused while guests are in it, or rules of other groups speak of it."""
    row = the_group(call, "id", "name")
    if row.name == security_groups.DEFAULT:
        raise Refused("The network group default is reserved")
    rule = tables.security_group_rule
    of_others = "other_group_id = :group and group_id <> :group and removed is null"
    if call.tx.rows(rule, of_others, group=row.id):
        raise Refused("Cannot delete group when there are security rules that allow this group", Why.IN_USE)
    if security_groups.members_of(call.tx, [row.id]):
        raise Refused("Cannot delete group when it's in use by virtual machines", Why.IN_USE)
    call.tx.change(sa.update(rule).where(rule.c.group_id == row.id, rule.c.removed.is_(None)).values(removed=call.now))
    call.tx.update(tables.security_group, row.id, removed=call.now)
    return Success(about=call.about(ABOUT, row), description=f"deleting security group {row.name}")


def the_group(call: Call, id_name: str, name_name: str) -> Row:
    """The group that one of two parameters names: by id, or by name among those of `account` or the caller."""
    if call.get(id_name) and call.get(name_name):
        raise Refused(f"{id_name} and {name_name} parameters are mutually exclusive")
    if call.get(id_name):
        return call.need(tables.security_group, id_name)
    if not call.get(name_name):
        raise Refused(f"Either {id_name} or {name_name} is required by {call.command.name} command.")
    return _named(call.tx, call.owner(), call[name_name])


def _named(tx: Tx, owner: Owner, name: str) -> Row:
    if name.lower() == security_groups.DEFAULT:
        return security_groups.default_of(tx, owner.columns)
    row = security_groups.named(tx, owner.account_id, name)
    if row is None:
        raise Refused(f"Unable to find security group {name} for the account")
    return row


# ---------------------------------------------------------------- guests in groups
def is_given(call: Call) -> bool:
    """Whether the call says in which groups its guest shall be."""
    return "securitygroupids" in call or "securitygroupnames" in call


def chosen(call: Call, owner: Owner) -> list[Row]:
    """The groups that a call names for a guest of this owner; the owner's default group when it names none."""
    if call.get("securitygroupids") and call.get("securitygroupnames"):
        raise Refused("securitygroupids parameter is mutually exclusive with securitygroupnames parameter")
    found = list(call.rows(tables.security_group, "securitygroupids"))
    found += [_named(call.tx, owner, name) for name in call.get("securitygroupnames", ())]
    for row in found:
        if row.account_id != owner.account_id:
            raise Refused(f"Security group {row.name} doesn't belong to the owner of the vm", Why.NOT_ALLOWED)
    return found or [security_groups.default_of(call.tx, owner.columns)]
