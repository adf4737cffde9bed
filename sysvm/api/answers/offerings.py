"""Offerings as answers show them. Rows hold ids of domains and zones; answers show their uuids and names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.physical_networks import service
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Places:
    """(uuid, name) of domains and zones by id."""

    domains: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    zones: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def of(self, row: Row) -> dict[str, Any]:
        """Where an offering is for; nothing when it is for everybody everywhere."""
        domains = [self.domains[id_] for id_ in ids_of(row.domain_ids) if id_ in self.domains]
        zones = [self.zones[id_] for id_ in ids_of(row.zone_ids) if id_ in self.zones]
        return {
            "domainid": ",".join(uuid for uuid, _ in domains) or None,
            "domain": ",".join(name for _, name in domains) or None,
            "zoneid": ",".join(uuid for uuid, _ in zones) or None,
            "zone": ",".join(name for _, name in zones) or None,
        }


def ids_of(text: str) -> list[int]:
    """ "1,4" as numbers."""
    return [int(part) for part in text.split(",") if part]


# Parameter of a limit -> field of answers: bytesreadratemax, diskBytesReadRateMax.
_LIMITS = {
    f"{unit.lower()}{way.lower()}rate{tail.lower()}": f"disk{unit}{way}Rate{tail}"
    for unit in ("Bytes", "Iops")
    for way in ("Read", "Write")
    for tail in ("", "Max", "MaxLength")
}


def disk_limits(limits: Mapping[str, int] | None) -> dict[str, int]:
    """How fast disks may be."""
    return {_LIMITS[name]: value for name, value in (limits or {}).items()}


def service_offering(row: Row, places: Places) -> dict[str, Any]:
    """A compute or system offering."""
    details = dict(row.details or {})
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text,
        "created": stamp(row.created),
        "cpunumber": row.cpus,
        "cpuspeed": row.cpu_mhz,
        "memory": row.memory_mb,
        "issystem": row.is_system,
        "systemvmtype": row.system_vm_type or None,
        "defaultuse": row.default_use,
        "offerha": row.offer_ha,
        "limitcpuuse": row.limit_cpu_use,
        "isvolatile": row.is_volatile,
        "iscustomized": row.customized,
        "iscustomizediops": False,
        "dynamicscalingenabled": row.dynamic_scaling,
        "storagetype": row.storage_type,
        "provisioningtype": row.provisioning_type,
        "cacheMode": "none",
        "rootdisksize": row.root_disk_bytes // GIB or None,
        "networkrate": row.network_rate,
        "hosttags": row.host_tags or None,
        "storagetags": row.storage_tags or None,
        "diskofferingstrictness": False,
        "encryptroot": False,
        **disk_limits(row.disk_limits),
        "serviceofferingdetails": details or None,
        "hasannotations": False,
        **places.of(row),
    }
    return without_empty(answer)


def disk_offering(row: Row, places: Places) -> dict[str, Any]:
    """A disk offering; sizes in GB."""
    details = dict(row.details or {})
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text,
        "created": stamp(row.created),
        "disksize": row.size_bytes // GIB,
        "iscustomized": row.customized,
        "iscustomizediops": False,
        "storagetype": row.storage_type,
        "provisioningtype": row.provisioning_type,
        "cacheMode": "none",
        "tags": row.tags or None,
        "displayoffering": details.pop("displayoffering", "true") == "true",
        "disksizestrictness": False,
        "encrypt": False,
        **disk_limits(row.disk_limits),
        "details": details or None,
        "hasannotations": False,
        **places.of(row),
    }
    return without_empty(answer)


def network_offering(row: Row, places: Places) -> dict[str, Any]:
    """A network offering with its services."""
    details = dict(row.details or {})
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text,
        "created": stamp(row.created),
        "state": row.state,
        "guestiptype": row.guest_type,
        "traffictype": row.traffic_type,
        "availability": row.availability,
        "conservemode": row.conserve_mode == "true",
        "isdefault": row.is_default,
        "specifyvlan": row.specify_vlan,
        "specifyipranges": row.specify_ip_ranges,
        "ispersistent": row.is_persistent,
        "forvpc": row.for_vpc,
        "fortungsten": False,
        "egressdefaultpolicy": row.egress_default_allow,
        "internetprotocol": details.pop("internetprotocol", "IPv4"),
        "networkrate": row.network_rate,
        "maxconnections": row.max_connections,
        "serviceofferingid": row.service_offering_uuid,
        "supportspublicaccess": False,
        "supportsstrechedl2subnet": False,
        "tags": row.tags or None,
        "service": _services(row.services),
        "details": details or None,
        "hasannotations": False,
        **places.of(row),
    }
    return without_empty(answer)


def vpc_offering(row: Row, places: Places) -> dict[str, Any]:
    """A VPC offering with its services."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text,
        "created": stamp(row.created),
        "state": row.state,
        "isdefault": row.is_default,
        "distributedvpcrouter": row.distributed,
        "supportsregionLevelvpc": False,
        "internetprotocol": "IPv4",
        "service": _services(row.services),
        **places.of(row),
    }
    return without_empty(answer)


def _services(rows: Mapping[str, Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [
        service(name, [{"name": who} for who in chosen.get("providers") or [chosen["provider"]]], chosen.get("capabilities"))
        for name, chosen in (rows or {}).items()
    ]
