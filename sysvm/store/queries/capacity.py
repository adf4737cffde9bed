"""How much the cloud has and how much of it is in use, counted when it is asked.

Memory and CPU count what machines on a host are promised, not what they use; storage both.
"""

from enum import IntEnum
from typing import NamedTuple

from sysvm.store.store import Tx

MIB = 1 << 20


class Capacity(IntEnum):
    """CloudStack's numbers."""

    MEMORY = 0
    CPU = 1
    STORAGE = 2
    STORAGE_ALLOCATED = 3
    PUBLIC_IP = 4
    PRIVATE_IP = 5
    SECONDARY_STORAGE = 6
    VLAN = 7
    CPU_CORE = 90


NAMES = {
    Capacity.MEMORY: "MEMORY", Capacity.CPU: "CPU", Capacity.STORAGE: "STORAGE",
    Capacity.STORAGE_ALLOCATED: "STORAGE_ALLOCATED", Capacity.PUBLIC_IP: "VIRTUAL_NETWORK_PUBLIC_IP",
    Capacity.PRIVATE_IP: "PRIVATE_IP", Capacity.SECONDARY_STORAGE: "SECONDARY_STORAGE", Capacity.VLAN: "VLAN",
    Capacity.CPU_CORE: "CPU_CORE",
}  # fmt: skip


class Amount(NamedTuple):
    """How much of a kind a place has."""

    kind: Capacity
    total: int
    used: int


class Place(NamedTuple):
    """Where to count: a zone, or a pod or cluster of it."""

    zone_id: int
    pod_id: int | None = None
    cluster_id: int | None = None


# Placeholders are filled for the place: hosts and pools are of a cluster, a pod or a zone; the rest only of a zone.
HOSTS = """
select coalesce(sum(memory_bytes), 0), coalesce(sum(cpus * cpu_mhz), 0), coalesce(sum(cpus), 0)
from host h where removed is null and state = 'Up' and {place}"""
MACHINES = """
select coalesce(sum(coalesce(m.memory_mb, o.memory_mb, 0)), 0),
    coalesce(sum(coalesce(m.cpus, o.cpus, 0) * coalesce(m.cpu_mhz, o.cpu_mhz, 0)), 0),
    coalesce(sum(coalesce(m.cpus, o.cpus, 0)), 0)
from machine m join host h on h.id = m.host_id left join service_offering o on o.id = m.service_offering_id
where m.removed is null and h.{place}"""
POOLS = """
select coalesce(sum(capacity_bytes), 0), coalesce(sum(used_bytes), 0)
from storage_pool where removed is null and state = 'Up' and {place}"""
VOLUMES = """
select coalesce(sum(v.size_bytes), 0)
from volume v join storage_pool p on p.id = v.pool_id where v.removed is null and p.{place}"""
PUBLIC = (
    "select count(*), coalesce(sum(case when state <> 'Free' then 1 else 0 end), 0) from public_ip where zone_id = :id"
    " and ip_range_id not in (select id from ip_range where traffic = 'Portable')"
)
RANGES = "select first, last from ip_range where removed is null and traffic = 'Management' and {place}"
PRIVATE = """
select count(*) from private_ip p join ip_range r on r.id = p.ip_range_id
where r.removed is null and r.traffic = 'Management' and r.{place}"""
STORES = """
select coalesce(sum(capacity_bytes), 0), coalesce(sum(used_bytes), 0)
from image_store where removed is null and (zone_id = :id or zone_id is null)"""
TAGS = "select vlan from physical_network where removed is null and zone_id = :id and vlan is not null and vlan <> ''"
TAGGED = "select count(*) from network where removed is null and zone_id = :id and tag is not null"


def amounts(tx: Tx, place: Place) -> list[Amount]:
    """What a place has; a pod or cluster has no addresses of the public, no image stores and no VLANs of its own."""
    found = [*_compute(tx, place), *_storage(tx, place)]
    if place.cluster_id is None:
        found.append(_private(tx, place))
    if place.cluster_id is None and place.pod_id is None:
        found += _of_zone(tx, place.zone_id)
    return sorted(found)


def _filled(text: str, place: Place) -> tuple[str, int]:
    if place.cluster_id is not None:
        return text.replace("{place}", "cluster_id = :id"), place.cluster_id
    if place.pod_id is not None:
        return text.replace("{place}", "pod_id = :id"), place.pod_id
    return text.replace("{place}", "zone_id = :id"), place.zone_id


def _numbers(tx: Tx, text: str, place: Place) -> tuple[int, ...]:
    filled, id_ = _filled(text, place)
    return tuple(int(number) for number in tx.sql(filled, id=id_)[0])


def _compute(tx: Tx, place: Place) -> list[Amount]:
    memory, mhz, cores = _numbers(tx, HOSTS, place)
    memory_used, mhz_used, cores_used = _numbers(tx, MACHINES, place)
    return [
        Amount(Capacity.MEMORY, memory, memory_used * MIB),
        Amount(Capacity.CPU, mhz, mhz_used),
        Amount(Capacity.CPU_CORE, cores, cores_used),
    ]


def _storage(tx: Tx, place: Place) -> list[Amount]:
    total, used = _numbers(tx, POOLS, place)
    (allocated,) = _numbers(tx, VOLUMES, place)
    return [Amount(Capacity.STORAGE, total, used), Amount(Capacity.STORAGE_ALLOCATED, total, allocated)]


def _private(tx: Tx, place: Place) -> Amount:
    filled, id_ = _filled(RANGES, place)
    total = sum(
        int.from_bytes(bytes(last), "big") - int.from_bytes(bytes(first), "big") + 1 for first, last in tx.sql(filled, id=id_)
    )
    return Amount(Capacity.PRIVATE_IP, total, _numbers(tx, PRIVATE, place)[0])


def _of_zone(tx: Tx, zone_id: int) -> list[Amount]:
    zone = Place(zone_id)
    tags = sum(_tags_in(row[0]) for row in tx.sql(TAGS, id=zone_id))
    return [
        Amount(Capacity.PUBLIC_IP, *_numbers(tx, PUBLIC, zone)),
        Amount(Capacity.SECONDARY_STORAGE, *_numbers(tx, STORES, zone)),
        Amount(Capacity.VLAN, tags, _numbers(tx, TAGGED, zone)[0]),
    ]


def _tags_in(ranges: str) -> int:
    """How many tags `100-200,300-300` has."""
    total = 0
    for word in ranges.split(","):
        first, _, last = word.strip().partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            total += int(last or first) - int(first) + 1
    return total
