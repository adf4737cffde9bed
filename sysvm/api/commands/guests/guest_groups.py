"""Affinity groups and instance groups of guests. What affinity groups do is decided where a host is chosen."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import guest_groups as answers
from sysvm.api.call import Accepted, Call, One, Owner, Reply, Success
from sysvm.api.commands.guests.guests import ABOUT as GUEST
from sysvm.api.commands.guests.guests import the_guest
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import affinity_groups, instance_groups, machine_rows
from sysvm.store.store import Row, Tx
from sysvm.systemvms.affinity import KINDS

AFFINITY, INSTANCES = "AffinityGroup", "InstanceGroup"


# ---------------------------------------------------------------- affinity groups
@handler("createAffinityGroup")
def create_affinity_group(call: Call) -> Reply:
    """Of one account, which alone has guests in it."""
    owner, name, type_ = call.owner(), call["name"], call["type"].lower()
    if type_ not in KINDS:
        raise Refused(f"Unable to create affinity group, invalid affinity group type {call['type']}: it is one of"
                      f" {', '.join(KINDS)}")  # fmt: skip
    if affinity_groups.named(call.tx, owner.account_id, name) is not None:
        raise Refused(f"Unable to create affinity group, a group with name {name} already exists.")
    values = {"uuid": call.ids.uuid(), "name": name, "type": type_, "description": call.get("description", "")}
    id_ = call.tx.insert(tables.affinity_group, created=call.now, **values, **owner.columns)
    return Accepted((), call.about(AFFINITY, affinity_groups.one(call.tx, id_)), f"creating Affinity Group {name}")


@result("createAffinityGroup")
def _created(tx: Tx, job: Row) -> dict[str, Any]:
    return _shown(tx, [affinity_groups.one(tx, job.instance_id)])[0]


def _shown(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    guests = affinity_groups.members_of(tx, [row.id for row in rows])
    return [answers.affinity_group(row, guests.get(row.id, ())) for row in rows]


@handler("listAffinityGroups")
def list_affinity_groups(call: Call) -> Reply:
    """Groups with their guests."""
    group, member = tables.affinity_group.c, tables.affinity_group_member.c
    statement = affinity_groups.statement()
    if (guest := call.row(tables.machine, "virtualmachineid")) is not None:
        statement = statement.where(group.id.in_(sa.select(member.group_id).where(member.machine_id == guest.id)))
    equal = {"name": group.name, "type": group.type}
    return list_rows(call, statement, tables.affinity_group, _shown, equal=equal, keyword=(group.name, group.type))


@handler("listAffinityGroupTypes")
def list_affinity_group_types(call: Call) -> Reply:
    """What groups can mean."""
    word = call.get("keyword", "").lower()
    return slice_rows(call, [{"type": type_} for type_ in KINDS if word in type_])


@handler("deleteAffinityGroup")
def delete_affinity_group(call: Call) -> Reply:
    """Its guests stay where they are, and are free of it."""
    if call.get("id") and call.get("name"):
        raise Refused("id and name parameters are mutually exclusive")
    if not call.get("id") and not call.get("name"):
        raise Refused("Either the affinity group Id or group name must be specified to delete the group")
    row = call.need(tables.affinity_group, "id") if call.get("id") else _named(call, call.owner(), call["name"])
    affinity_groups.remove(call.tx, row)
    return Accepted((), call.about(AFFINITY, row), f"Deleting Affinity Group {row.name}")


@handler("updateVMAffinityGroup")
def update_vm_affinity_group(call: Call) -> Reply:
    """The guest is in these groups and in no others, from its next start on."""
    row = the_guest(call)
    state = machine_rows.state_of(row)
    if state not in ("Stopped", "Error"):
        raise Refused(
            f"Unable update affinity groups of the virtual machine {row.display_name} in state {state}; make sure the"
            " virtual machine is stopped before updating"
        )
    found = chosen(call, Owner(row.account_id, row.domain_id, row.domain_path))
    affinity_groups.join(call.tx, row.id, [group.id for group in found])
    return Accepted((), call.about(GUEST, row), f"Updating Affinity Groups of Vm Id: {row.uuid}")


def chosen(call: Call, owner: Owner) -> list[Row]:
    """The affinity groups that a call names for a guest of this owner."""
    if call.get("affinitygroupids") and call.get("affinitygroupnames"):
        raise Refused("affinitygroupids parameter is mutually exclusive with affinitygroupnames parameter")
    found = list(call.rows(tables.affinity_group, "affinitygroupids"))
    found += [_named(call, owner, name) for name in call.get("affinitygroupnames", ())]
    for row in found:
        if row.account_id != owner.account_id:
            raise Refused(f"Affinity group {row.name} doesn't belong to the owner of the vm", Why.NOT_ALLOWED)
    return found


def _named(call: Call, owner: Owner, name: str) -> Row:
    row = affinity_groups.named(call.tx, owner.account_id, name)
    if row is None:
        raise Refused(f"Unable to find affinity group by name {name}")
    return row


# ---------------------------------------------------------------- instance groups
@handler("createInstanceGroup")
def create_instance_group(call: Call) -> Reply:
    """One without guests; naming one at a guest makes it, too."""
    owner, name = call.owner(), call["name"]
    _is_free(call, owner.account_id, name)
    instance_groups.ensure(call.tx, owner.columns, name)
    return _instance_group(call, owner.account_id, name, "creating")


def _is_free(call: Call, account_id: int, name: str) -> None:
    if instance_groups.named(call.tx, account_id, name) is not None:
        raise Refused(f"Unable to create vm group, a group with name {name} already exists for account")


def _instance_group(call: Call, account_id: int, name: str, text: str) -> One:
    table = tables.instance_group.c
    row = call.tx.one(instance_groups.statement().where(table.account_id == account_id, table.name == name))
    assert row is not None
    return One(answers.instance_group(row), call.about(INSTANCES, row), f"{text} vm group {name}")


@handler("updateInstanceGroup")
def update_instance_group(call: Call) -> Reply:
    """Another name for the group of all its guests."""
    row = call.need(tables.instance_group, "id")
    name = call.get("name") or row.name
    if name != row.name:
        _is_free(call, row.account_id, name)
        instance_groups.rename(call.tx, row, name)
    return _instance_group(call, row.account_id, name, "updating")


@handler("listInstanceGroups")
def list_instance_groups(call: Call) -> Reply:
    """Groups of guests."""
    group = tables.instance_group.c

    def shown(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.instance_group(row) for row in rows]

    statement = instance_groups.statement()
    return list_rows(call, statement, tables.instance_group, shown, equal={"name": group.name}, keyword=(group.name,))


@handler("deleteInstanceGroup")
def delete_instance_group(call: Call) -> Reply:
    """Its guests are in no group then."""
    row = call.need(tables.instance_group, "id")
    instance_groups.rename(call.tx, row, "")
    return Success(about=call.about(INSTANCES, row), description=f"deleting vm group {row.name}")
