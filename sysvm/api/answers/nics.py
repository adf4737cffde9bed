"""NICs as answers show them."""

import uuid
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Interface
from typing import Any

from sysvm.store.queries.nics import NicRow
from sysvm.store.queries.routers import NetworkName

TITLES = {"guest": "Guest", "control": "Control", "public": "Public", "private": "Guest"}  # looking is quicker than making
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
    _, id_, _, network_id, traffic, device, mac, gateway, gateway6, netmask, _, _, mtu, _, is_default, addresses = row
    network = networks.get(network_id) if network_id is not None else None
    answer = {
        "id": id_,
        "virtualmachineid": machine_uuid,
        "networkid": network.uuid if network else system_network_id(zone_uuid, traffic),
        "networkname": network.name if network else "",
        "traffictype": TITLES.get(traffic) or traffic.capitalize(),
        "macaddress": mac,
        "isdefault": is_default,
        "deviceid": str(device),
        "mtu": mtu,
        "secondaryip": secondary(row) if len(addresses) > 1 else [],
        "extradhcpoption": [],
    }
    # What is not known is not put in: taking it out again costs twice as much, and lists show thousands of NICs.
    if network is not None:
        answer["type"] = network.guest_type
        if admin and (isolation := broadcast_uri(network.isolation, network.tag)):
            answer["broadcasturi"] = answer["isolationuri"] = isolation
    for held in addresses:
        if held.is_primary:  # at most one of each family
            if ":" in held.text:
                answer["ip6address"] = held.text
                answer["ip6cidr"] = str(IPv6Interface((held.text, held.prefix)).network)
            else:
                answer["ipaddress"] = held.text
    if netmask:
        answer["netmask"] = netmask
    elif traffic == "control":
        answer["netmask"] = LINK_LOCAL_NETMASK
    if gateway:
        answer["gateway"] = gateway
    if gateway6:
        answer["ip6gateway"] = gateway6
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
