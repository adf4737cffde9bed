"""Zones as answers show them. Who is no administrator sees neither resolvers nor ranges."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.store.store import Row

MTU = 1500


def zone(row: Row, *, admin: bool) -> dict[str, Any]:
    """One zone."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "description": row.description or None,
        "displaytext": row.description or row.name,
        "networktype": row.network_type,
        "type": "Core",
        "securitygroupsenabled": row.security_groups,
        "localstorageenabled": row.local_storage,
        "allocationstate": row.allocation_state,
        "dhcpprovider": row.dhcp_provider,
        "domain": row.network_domain or None,
        "domainid": row.domain_uuid,
        "domainname": row.domain_name,
        "dns1": row.dns1 or None,
        "dns2": row.dns2 or None,
        "ip6dns1": row.ip6dns1 or None,
        "ip6dns2": row.ip6dns2 or None,
        "allowuserspecifyvrmtu": False,
        "routerprivateinterfacemaxmtu": MTU,
        "routerpublicinterfacemaxmtu": MTU,
        "hasannotations": False,
        "tags": [],
        **(_for_admins(row) if admin else {}),
    }
    return without_empty(answer)


def _for_admins(row: Row) -> dict[str, Any]:
    return {
        "internaldns1": row.internal_dns1 or None,
        "internaldns2": row.internal_dns2 or None,
        "guestcidraddress": row.guest_cidr or None,
        "zonetoken": row.zone_token or None,
        "resourcedetails": dict(row.details) if row.details else None,
    }
