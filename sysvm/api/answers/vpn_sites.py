"""Site-to-site VPNs, as answers show them."""

from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def gateway(row: Row) -> dict[str, Any]:
    """The gateway of a VPC."""
    answer = {
        "id": row.uuid,
        "publicip": unpack_address(row.ip_address),
        "vpcid": row.vpc_uuid,
        "vpcname": row.vpc_name,
        "fordisplay": bool(row.for_display),
        **_owner(row),
    }
    return without_empty(answer)


def customer(row: Row, preshared_key: str) -> dict[str, Any]:
    """The other side."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "gateway": row.gateway,
        "cidrlist": ",".join(row.cidrs or ()),
        "ipsecpsk": preshared_key,
        "ikepolicy": row.ike_policy,
        "esppolicy": row.esp_policy,
        "ikelifetime": row.ike_lifetime,
        "esplifetime": row.esp_lifetime,
        "dpd": bool(row.dpd),
        "forceencap": bool(row.force_encap),
        "splitconnections": bool(row.split),
        "ikeversion": row.ike_version,
        **_owner(row),
    }
    return without_empty(answer)


def connection(row: Row, preshared_key: str, *, has_router: bool) -> dict[str, Any]:
    """A connection; without a router that runs nothing is connected."""
    away = not has_router and row.state in ("Connecting", "Connected")
    answer = {
        "id": row.uuid,
        "s2svpngatewayid": row.near_uuid,
        "publicip": unpack_address(row.ip_address),
        "s2scustomergatewayid": row.far_uuid,
        "gateway": row.far_gateway,
        "cidrlist": ",".join(row.far_cidrs or ()),
        "ipsecpsk": preshared_key,
        "ikepolicy": row.far_ike_policy,
        "esppolicy": row.far_esp_policy,
        "ikelifetime": row.far_ike_lifetime,
        "esplifetime": row.far_esp_lifetime,
        "dpd": bool(row.far_dpd),
        "forceencap": bool(row.far_force_encap),
        "splitconnections": bool(row.far_split),
        "ikeversion": row.far_ike_version,
        "passive": bool(row.passive),
        "state": "Disconnected" if away else row.state,
        "note": "the VPC's router does not run" if away else row.note or None,
        "fordisplay": bool(row.for_display),
        "created": stamp(row.created),
        **_owner(row),
    }
    return without_empty(answer)


def _owner(row: Row) -> dict[str, Any]:
    mine = owner(row)
    mine.pop("domainpath")
    return mine
