"""Private gateways as answers show them."""

import ipaddress
from typing import Any

from sysvm.api.answers.nics import broadcast_uri
from sysvm.api.answers.owners import owner, without_empty
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def gateway(row: Row, *, admin: bool) -> dict[str, Any]:
    """One private gateway. What it is plugged into is for administrators."""
    answer = {
        "id": row.uuid,
        "gateway": row.gateway,
        "netmask": str(ipaddress.IPv4Network(row.cidr).netmask),
        "ipaddress": unpack_address(row.address),
        "sourcenatsupported": bool(row.source_nat),
        "state": row.state,
        "vpcid": row.vpc_uuid,
        "vpcname": row.vpc_name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "aclid": row.acl_list_uuid,
        "aclname": row.acl_list_name,
        **owner(row),
    }
    answer.pop("domainpath")
    if admin:
        answer |= {
            "vlan": broadcast_uri(row.isolation, row.tag) or "vlan://untagged",
            "physicalnetworkid": row.physical_network_uuid,
            "associatednetworkid": row.network_uuid,
            "associatednetwork": row.network_name,
        }
    return without_empty(answer)
