"""Tags: words that users put on their things."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows, tag_answer
from sysvm.api.params import pairs
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx

# The resource types that exist here, and where their things are.
TYPES = {
    "UserVm": tables.machine, "Template": tables.template, "ISO": tables.template, "Volume": tables.volume,
    "Snapshot": tables.snapshot, "SnapshotPolicy": tables.snapshot_policy,
    "Network": tables.network, "PublicIpAddress": tables.public_ip, "PortForwardingRule": tables.firewall_rule,
    "FirewallRule": tables.firewall_rule, "LoadBalancer": tables.firewall_rule, "Project": tables.project,
    "Zone": tables.zone, "Domain": tables.domain, "Account": tables.account, "User": tables.user,
    "ServiceOffering": tables.service_offering, "DiskOffering": tables.disk_offering,
    "NetworkOffering": tables.network_offering, "Storage": tables.storage_pool, "Host": tables.host,
    "Vpc": tables.vpc, "NetworkACL": tables.network_acl, "NetworkACLList": tables.network_acl_list,
    "StaticRoute": tables.static_route, "SecurityGroup": tables.security_group,
    "Cluster": tables.cluster, "Pod": tables.pod, "ImageStore": tables.image_store, "Nic": tables.nic,
    "RemoteAccessVpn": tables.remote_access_vpn, "PrivateGateway": tables.private_gateway, "VpnGateway": tables.vpn_gateway,
    "CustomerGateway": tables.vpn_customer_gateway, "VpnConnection": tables.vpn_connection,
    "LBStickinessPolicy": tables.lb_stickiness, "LBHealthCheckPolicy": tables.lb_health_check, "GuestOs": tables.guest_os,
}  # fmt: skip
LONGEST = 255


def typed(call: Call) -> tuple[str, sa.Table]:
    given = str(call["resourcetype"]).lower()
    found = next((type_ for type_ in TYPES if type_.lower() == given), None)
    if found is None:
        raise Refused(f"Invalid resource type {call['resourcetype']}: it is one of {', '.join(TYPES)}")
    return found, TYPES[found]


def _things(call: Call, table: sa.Table) -> list[Row]:
    """The resources; who has no owner is for root admins."""
    found = [call.find(table, uuid, "resourceids") for uuid in dict.fromkeys(call["resourceids"])]
    owned = "domain_path" in table.c or table in (tables.domain, tables.user)
    if not owned and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, f"{table.name} {found[0].uuid}")
    return found


def _owner(call: Call, row: Row) -> dict[str, Any]:
    if getattr(row, "account_id", None) is not None and getattr(row, "domain_path", None) is not None:
        return {"account_id": row.account_id, "domain_id": row.domain_id, "domain_path": row.domain_path}
    caller = call.caller
    return {"account_id": caller.account_id, "domain_id": caller.domain_id, "domain_path": caller.domain_path}


@handler("createTags")
def create_tags(call: Call) -> Reply:
    """Puts tags on things; a key that is there already is refused."""
    type_, table = typed(call)
    given = pairs(call["tags"])
    for key, value in given.items():
        if not key.strip() or len(key) > LONGEST or len(value) > LONGEST:
            raise Refused(f"Invalid tag {key[:64]!r}: key and value have at most {LONGEST} characters, the key at least one")
    things = _things(call, table)
    for row in things:
        for key, value in given.items():
            _add(call, type_, row, key, value)
    return Accepted((), About(type_, None, things[0].uuid), "creating resource tags")


def _add(call: Call, type_: str, row: Row, key: str, value: str) -> None:
    tag = tables.tag
    same = (tag.c.resource_type == type_, tag.c.resource_id == row.id, tag.c.key == key)
    if call.tx.one(sa.select(tag.c.id).where(*same)) is not None:
        raise Refused(f"tag {key} already on {type_} with id {row.uuid}")
    call.tx.insert(
        tag, uuid=call.ids.uuid(), resource_type=type_, resource_id=row.id, resource_uuid=row.uuid, key=key, value=value,
        customer=call.get("customer", ""), created=call.now, **_owner(call, row),
    )  # fmt: skip


@handler("deleteTags")
def delete_tags(call: Call) -> Reply:
    """Takes tags off things: those given (a key without value: whatever its value), or all."""
    type_, table = typed(call)
    given = pairs(call.get("tags"))
    things = _things(call, table)
    tag = tables.tag
    here = (tag.c.resource_type == type_, tag.c.resource_id.in_([row.id for row in things]))
    touched = 0
    if not given:
        touched = call.tx.change(sa.delete(tag).where(*here))
    for key, value in given.items():
        one = (*here, tag.c.key == key, *([tag.c.value == value] if value else []))
        touched += call.tx.change(sa.delete(tag).where(*one))
    if not touched:
        raise Refused("Unable to find any tags which match the given parameters")
    return Accepted((), About(type_, None, things[0].uuid), "deleting resource tags")


@handler("listTags")
def list_tags(call: Call) -> Rows:
    """Tags of things that the caller sees."""
    tag, account, domain = tables.tag, tables.account, tables.domain
    statement = (
        sa.select(
            tag,
            account.c.name.label("account_name"),
            domain.c.name.label("domain_name"),
            domain.c.uuid.label("domain_uuid"),
        )
        .join(account, account.c.id == tag.c.account_id)
        .join(domain, domain.c.id == tag.c.domain_id)
    )
    if "resourcetype" in call:
        statement = statement.where(tag.c.resource_type == typed(call)[0])
    equal = {
        "resourceid": tag.c.resource_uuid, "key": tag.c.key, "value": tag.c.value, "customer": tag.c.customer,
    }  # fmt: skip

    def answer(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [tag_answer(row) for row in rows]

    return list_rows(call, statement, tag, answer, equal=equal, keyword=(tag.c.key, tag.c.value))
