"""NICs as answers show them."""

import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sysvm.store.queries.nics import NicRow
from sysvm.store.queries.routers import NetworkName

LINK_LOCAL_NETMASK = "255.255.0.0"


@lru_cache(maxsize=4096)
def system_network_id(zone_uuid: str, traffic: str) -> str:
    """The id of a zone's public, management, control or storage network: these have no row, but always the same id."""
    return str(uuid.uuid5(uuid.UUID(zone_uuid), f"network/{traffic}"))


def broadcast_uri(isolation: str, tag: int | None) -> str | None:
    """vxlan://5001, vlan://120, or None for a plain bridge."""
    return f"{isolation}://{tag}" if tag is not None and isolation != "none" else None


def nic(
    row: NicRow, networks: Mapping[int, NetworkName], zone_uuid: str, machine_uuid: str, *, admin: bool = False
) -> dict[str, Any]:
    """One NIC; isolation and device are for administrators."""
    network = networks.get(row.network_id) if row.network_id is not None else None
    answer = {
        "id": row.uuid,
        "virtualmachineid": machine_uuid,
        "networkid": network.uuid if network else system_network_id(zone_uuid, row.traffic),
        "networkname": network.name if network else "",
        "traffictype": row.traffic.capitalize(),
        "macaddress": row.mac,
        "isdefault": row.is_default,
        "deviceid": str(row.device),
        "mtu": row.mtu,
        "secondaryip": secondary(row) if len(row.addresses) > 1 else [],
        "extradhcpoption": [],
    }
    # What is not known is not put in: taking it out again costs twice as much, and lists show thousands of NICs.
    if network is not None:
        answer["type"] = network.guest_type
        if admin and (isolation := broadcast_uri(network.isolation, network.tag)):
            answer["broadcasturi"] = answer["isolationuri"] = isolation
    if (primary := row.primary) is not None:
        answer["ipaddress"] = primary.text
    if (primary6 := row.primary6) is not None:
        answer["ip6address"] = primary6.text
    if netmask := row.netmask or (LINK_LOCAL_NETMASK if row.traffic == "control" else ""):
        answer["netmask"] = netmask
    if row.gateway:
        answer["gateway"] = row.gateway
    if row.gateway6:
        answer["ip6gateway"] = row.gateway6
    return answer


def secondary(row: NicRow) -> list[dict[str, str]]:
    """Its further addresses."""
    return [{"id": held.uuid, "ipaddress": held.text} for held in row.addresses if not held.is_primary]


def secondary_ip(nic_uuid: str, network_uuid: str, machine_uuid: str, address_uuid: str, text: str) -> dict[str, Any]:
    """What addIpToNic made."""
    return {
        "id": address_uuid,
        "ipaddress": text,
        "nicid": nic_uuid,
        "networkid": network_uuid,
        "virtualmachineid": machine_uuid,
        "secondaryip": [{"id": address_uuid, "ipaddress": text}],
    }
