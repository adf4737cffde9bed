"""Firewall, egress and port forwarding rules as answers show them."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address

WITH_DESTINATIONS = ("Egress", "Firewall6")
Tags = list[dict[str, Any]]


def firewall(row: Row, tags: Tags) -> dict[str, Any]:
    """A firewall or an egress rule, from a row with the names around it."""
    icmp = row.protocol == "icmp"
    answer = {
        "id": row.uuid,
        "protocol": row.protocol,
        "startport": row.first_port,
        "endport": row.last_port,
        "icmptype": row.icmp_type if icmp else None,
        "icmpcode": row.icmp_code if icmp else None,
        "cidrlist": ",".join(row.sources or ()),
        "destcidrlist": ",".join(row.destinations or ()) if row.purpose in WITH_DESTINATIONS else None,
        "networkid": row.network_uuid,
        "ipaddressid": row.ip_uuid,
        "ipaddress": unpack_address(row.ip_address) if row.ip_address else None,
        "state": row.state,
        "traffictype": row.traffic_type,
        "fordisplay": bool(row.for_display),
    }
    return {**without_empty(answer), "tags": tags}


def forwarding(row: Row, tags: Tags) -> dict[str, Any]:
    """A port forwarding rule; its ports are strings, as CloudStack has them."""
    answer = {
        "id": row.uuid,
        "protocol": row.protocol,
        "publicport": str(row.first_port),
        "publicendport": str(row.last_port),
        "privateport": str(row.private_first_port),
        "privateendport": str(row.private_last_port),
        "cidrlist": ",".join(row.sources or ()),
        "networkid": row.network_uuid,
        "ipaddressid": row.ip_uuid,
        "ipaddress": unpack_address(row.ip_address) if row.ip_address else None,
        "virtualmachineid": row.machine_uuid,
        "virtualmachinename": row.machine_name,
        "virtualmachinedisplayname": row.machine_display_name,
        "vmguestip": unpack_address(row.guest_address) if row.guest_address else None,
        "state": row.state,
        "fordisplay": bool(row.for_display),
    }
    return {**without_empty(answer), "tags": tags}
