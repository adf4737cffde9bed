"""Ranges of addresses as answers show them."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.store.queries import ip_ranges
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address

NOBODY = "system"  # whose CloudStack says a public range is that is dedicated to no account


def vlan_uri(vlan: str) -> str:
    """vlan://untagged or vlan://100."""
    return f"vlan://{vlan}"


def vlan_range(row: Row) -> dict[str, Any]:
    """A public range, or one of a shared network."""
    return without_empty(
        {
            "id": row.uuid,
            "zoneid": row.zone_uuid,
            "podid": row.pod_uuid,
            "podname": row.pod_name,
            "networkid": row.network_uuid,
            "physicalnetworkid": row.physical_network_uuid,
            "vlan": vlan_uri(row.vlan),
            **_addresses(row),
            "forvirtualnetwork": row.traffic == "Public",
            "forsystemvms": row.for_system_vms,
            "description": vlan_uri(row.vlan),
            "account": row.account_name or (NOBODY if row.traffic == "Public" and row.domain_id is None else None),
            "domainid": row.domain_uuid,
            "domain": row.domain_text,
        }
    )


def _addresses(row: Row) -> dict[str, Any]:
    """Of each family that the range is of."""
    found: dict[str, Any] = {}
    if row.first is not None:
        found |= {"gateway": row.gateway, "netmask": row.netmask, "cidr": str(ip_ranges.subnet(row))}
        found |= {"startip": unpack_address(row.first), "endip": unpack_address(row.last)}
    if row.first6 is not None:
        found |= {"ip6gateway": row.ip6_gateway, "ip6cidr": row.ip6_cidr}
        found |= {"startipv6": unpack_address(row.first6), "endipv6": unpack_address(row.last6)}
    return found


def storage_range(row: Row) -> dict[str, Any]:
    """A range of the storage network."""
    answer = {
        "id": row.uuid,
        "zoneid": row.zone_uuid,
        "podid": row.pod_uuid,
        "gateway": row.gateway,
        "netmask": row.netmask,
        "startip": unpack_address(row.first),
        "endip": unpack_address(row.last),
        "vlan": int(row.vlan) if row.vlan.isdecimal() else None,
    }
    return without_empty(answer)
