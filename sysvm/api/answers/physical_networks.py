"""Physical networks, traffic types, service providers and their elements as answers show them."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.rules import services
from sysvm.store.store import Row

LABELS = ("kvmnetworklabel", "xennetworklabel", "vmwarenetworklabel", "hypervnetworklabel", "ovm3networklabel")


def physical_network(row: Row) -> dict[str, Any]:
    """One physical network."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "state": row.state,
        "isolationmethods": row.isolation_methods or None,
        "vlan": row.vlan or None,
        "networkspeed": row.network_speed or None,
        "broadcastdomainrange": row.broadcast_domain_range,
        "tags": row.tags or None,
        "domainid": row.domain_uuid,
    }
    return without_empty(answer)


def traffic_type(row: Row) -> dict[str, Any]:
    """One traffic type with its labels."""
    labels = row.labels or {}
    answer = {
        "id": row.uuid,
        "traffictype": row.traffic_type,
        "name": row.traffic_type,
        "physicalnetworkid": row.physical_network_uuid,
        "state": "Enabled",
        **{label: labels.get(label) for label in LABELS},
    }
    return without_empty(answer)


def provider(row: Row) -> dict[str, Any]:
    """One service provider."""
    return {
        "id": row.uuid,
        "name": row.name,
        "physicalnetworkid": row.physical_network_uuid,
        "destinationphysicalnetworkid": "0",
        "state": row.state,
        "servicelist": list(row.services or ()),
        "canenableindividualservice": row.name != services.SECURITY_GROUPS,
    }


def element(row: Row) -> dict[str, Any]:
    """The element behind a provider."""
    return {"id": row.element_uuid, "nspid": row.uuid, "enabled": row.element_enabled}


def service(name: str, providers: Sequence[dict[str, Any]], chosen: dict[str, str] | None = None) -> dict[str, Any]:
    """A network service with what it can do; `chosen` are the values of an offering."""
    known = services.CAPABILITIES.get(name, {}) | (chosen or {})
    return {
        "name": name,
        "provider": list(providers),
        "capability": [
            {"name": kind, "value": value, "canchooseservicecapability": kind in services.CHOOSABLE}
            for kind, value in known.items()
        ],
    }
