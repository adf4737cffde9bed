"""VPCs, network ACL lists, their rules and static routes, as answers show them."""

from typing import Any

from sysvm.api.answers import networks
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address

Tags = list[dict[str, Any]]


def vpc(row: Row, tiers: list[dict[str, Any]], tags: Tags, *, admin: bool) -> dict[str, Any]:
    """One VPC, from a row with the names around it."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text or row.name,
        "state": row.state,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "cidr": row.cidr,
        "vpcofferingid": row.offering_uuid,
        "vpcofferingname": row.offering_name,
        "networkdomain": row.network_domain or None,
        "dns1": row.dns1 or None,
        "dns2": row.dns2 or None,
        "publicmtu": row.public_mtu,
        "created": stamp(row.created),
        "restartrequired": bool(row.restart_required),
        "redundantvpcrouter": bool(row.redundant),
        "distributedvpcrouter": False,
        "regionlevelvpc": False,
        "fordisplay": bool(row.for_display),
        "note": row.note or None if admin else None,
        **owner(row),
    }
    answer.pop("domainpath")
    services = networks.services(row.offering_services or {})
    return {**without_empty(answer), "service": services, "network": tiers, "tags": tags}


def acl_list(row: Row) -> dict[str, Any]:
    """One list of rules."""
    return without_empty(
        {
            "id": row.uuid,
            "name": row.name,
            "description": row.description,
            "vpcid": row.vpc_uuid,
            "vpcname": row.vpc_name,
            "fordisplay": bool(row.for_display),
        }
    )


def acl(row: Row, tags: Tags) -> dict[str, Any]:
    """One numbered rule; its ports are strings, as CloudStack has them."""
    icmp = row.protocol == "icmp"
    answer = {
        "id": row.uuid,
        "number": row.number,
        "action": row.action,
        "protocol": row.protocol,
        "startport": _text(row.first_port),
        "endport": _text(row.last_port),
        "icmptype": row.icmp_type if icmp else None,
        "icmpcode": row.icmp_code if icmp else None,
        "cidrlist": ",".join(row.sources or ()),
        "traffictype": row.traffic_type,
        "reason": row.reason or None,
        "state": row.state,
        "aclid": row.list_uuid,
        "aclname": row.list_name,
        "fordisplay": bool(row.for_display),
    }
    return {**without_empty(answer), "tags": tags}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def static_route(row: Row, tags: Tags) -> dict[str, Any]:
    """One static route."""
    answer = {
        "id": row.uuid,
        "cidr": row.cidr,
        "nexthop": unpack_address(row.next_hop),
        "gatewayid": row.gateway_uuid,
        "vpcid": row.vpc_uuid,
        "state": row.state,
        **owner(row),
    }
    answer.pop("domainpath")
    return {**without_empty(answer), "tags": tags}
