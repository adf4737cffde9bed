"""Pods as answers show them, with their management ranges."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers.ip_ranges import vlan_uri
from sysvm.store.queries import ip_ranges
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def pod(row: Row, ranges: Sequence[Row]) -> dict[str, Any]:
    """One pod. The lists beside `ipranges` are the older form of the same facts."""
    shown = [_range(one) for one in ranges]
    return {
        "id": row.uuid,
        "name": row.name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "gateway": row.gateway,
        "netmask": row.netmask,
        "allocationstate": row.allocation_state,
        "ipranges": shown,
        "startip": [one["startip"] for one in shown],
        "endip": [one["endip"] for one in shown],
        "forsystemvms": [one["forsystemvms"] for one in shown],
        "vlanid": [one["vlanid"] for one in shown],
        "hasannotations": False,
    }


def _range(row: Row) -> dict[str, str]:
    return {
        "startip": unpack_address(row.first),
        "endip": unpack_address(row.last),
        "gateway": row.gateway,
        "cidr": str(ip_ranges.subnet(row)),
        "forsystemvms": "1" if row.for_system_vms else "0",
        "vlanid": vlan_uri(row.vlan),
    }
