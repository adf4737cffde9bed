"""Public addresses as answers show them."""

from typing import Any

from sysvm.api.answers.nics import system_network_id
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def public_ip(row: Row, *, admin: bool) -> dict[str, Any]:
    """One address, from a row with the names around it."""
    answer = {
        "id": row.uuid,
        "ipaddress": unpack_address(row.address),
        "state": row.state,
        "allocated": stamp(row.allocated),
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "issourcenat": bool(row.source_nat),
        "isstaticnat": bool(row.static_nat),
        "issystem": bool(row.system),
        "isportable": row.range_traffic == "Portable",
        "fordisplay": bool(row.for_display),
        "forvirtualnetwork": True,
        "purpose": "StaticNat" if row.static_nat else None,
        "associatednetworkid": row.network_uuid,
        "associatednetworkname": row.network_name,
        "vpcid": row.vpc_uuid,
        "vpcname": row.vpc_name,
        "networkid": system_network_id(row.zone_uuid, "public"),
        "networkname": "Public",
        "physicalnetworkid": row.physical_network_uuid,
    }
    if row.static_nat:
        answer |= {
            "virtualmachineid": row.machine_uuid,
            "virtualmachinename": row.machine_name,
            "virtualmachinedisplayname": row.machine_display_name,
            "vmipaddress": unpack_address(row.guest_address) if row.guest_address else None,
        }
    if row.account_id is not None:
        answer |= owner(row)
    if admin:
        answer |= {"vlanid": row.range_uuid, "vlanname": _vlan(row.range_vlan)}
    return without_empty(answer)


def _vlan(text: str) -> str:
    return text if text.startswith("vlan://") else f"vlan://{text}"
