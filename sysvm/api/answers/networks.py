"""Networks as answers show them."""

import ipaddress
from typing import Any

from sysvm.api.answers.nics import broadcast_uri
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.queries import networks
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address

BROADCAST_TYPES = {"vlan": "Vlan", "vxlan": "Vxlan", "none": "Native"}
DEPLOYABLE = (*networks.LIVE, "Allocated", "Implementing")


def network(row: Row, *, admin: bool) -> dict[str, Any]:
    """One network, from a row with the names around it. Tags on the wire are for administrators."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text or row.name,
        "displaynetwork": True,
        "state": row.state,
        "type": row.guest_type,
        "traffictype": row.traffic_type,
        "acltype": row.acl_type,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "physicalnetworkid": row.physical_network_uuid,
        "related": row.uuid,
        "created": stamp(row.created),
        "issystem": False,
        "isdefault": False,
        "canusefordeploy": row.state in DEPLOYABLE,
        "restartrequired": bool(row.restart_required),
        "redundantrouter": bool(row.redundant),
        "ispersistent": bool(row.offering_is_persistent),
        "specifyipranges": bool(row.offering_specify_ip_ranges),
        "strechedl2subnet": False,
        "supportsvmautoscaling": False,
        "subdomainaccess": row.acl_type == "Domain",
        "egressdefaultpolicy": bool(row.egress_default_allow) if row.guest_type == "Isolated" and row.vpc_id is None else None,
        "networkofferingid": row.offering_uuid,
        "networkofferingname": row.offering_name,
        "networkofferingdisplaytext": row.offering_text or row.offering_name,
        "networkofferingavailability": row.offering_availability,
        "networkofferingconservemode": str(row.offering_conserve_mode or "true").lower() != "false",
        "vpcid": row.vpc_uuid,
        "vpcname": row.vpc_name,
        "aclid": row.acl_list_uuid,
        "aclname": row.acl_list_name,
        "privatemtu": row.mtu,
        "publicmtu": 1500,
        **_addresses(row),
        **owner(row),
    }
    if admin:
        answer |= _on_the_wire(row)
    return {**without_empty(answer), "service": services(row.offering_services or {})}


def _addresses(row: Row) -> dict[str, Any]:
    netmask = str(ipaddress.ip_network(row.cidr).netmask) if row.cidr else None
    return {
        "cidr": row.cidr or None,
        "networkcidr": row.cidr if row.reserved_range else None,
        "reservediprange": row.reserved_range or None,
        "gateway": row.gateway or None,
        "netmask": netmask,
        "internetprotocol": (row.offering_details or {}).get("internetprotocol", "IPv4"),
        **(_six(row) if row.ip6_cidr else {}),
        "networkdomain": row.network_domain or None,
        "dns1": row.dns1 or row.zone_dns1 or None,
        "dns2": row.dns2 or row.zone_dns2 or None,
    }


def _six(row: Row) -> dict[str, Any]:
    """Its IPv6; of an isolated network also what the operator routes, and to whom, from its router's first start on."""
    found = {
        "ip6cidr": row.ip6_cidr,
        "ip6gateway": row.ip6_gateway,
        "ip6dns1": row.zone_ip6dns1 or None,
        "ip6dns2": row.zone_ip6dns2 or None,
    }
    if row.guest_type != "Isolated":
        return found
    routes = [{"subnet": row.ip6_cidr, "gateway": unpack_address(row.router6)}] if row.router6 is not None else None
    return {**found, "ip6routing": "Static", "ip6routes": routes}


def _on_the_wire(row: Row) -> dict[str, Any]:
    return {
        "broadcastdomaintype": BROADCAST_TYPES.get(row.isolation, "Native"),
        "broadcasturi": broadcast_uri(row.isolation, row.tag),
        "vlan": str(row.tag) if row.tag is not None else None,
        "note": row.note or None,
    }


def services(offered: dict[str, Any]) -> list[dict[str, Any]]:
    """The services of an offering, each with its provider and capabilities."""
    found = []
    for name, service in offered.items():
        provider = service.get("provider", "VirtualRouter")
        capabilities = service.get("capabilities") or {}
        found.append(
            {
                "name": name,
                "provider": [{"name": provider}],
                "capability": [
                    {"name": key, "value": str(value), "canchooseservicecapability": False} for key, value in capabilities.items()
                ],
            }
        )
    return found
