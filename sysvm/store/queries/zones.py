"""Zones, pods and clusters: their rows with the names around them, and what still stands in the way of removing them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Row, Tx

ADVANCED, BASIC = "Advanced", "Basic"


def listing() -> sa.Select[Any]:
    """Zones with the domain that they are dedicated to."""
    zone, domain = tables.zone, tables.domain
    return (
        sa.select(zone, domain.c.uuid.label("domain_uuid"), domain.c.name.label("domain_name"))
        .outerjoin(domain, domain.c.id == zone.c.domain_id)
        .where(zone.c.removed.is_(None))
        .order_by(zone.c.sort_key, zone.c.id)
    )


def pods() -> sa.Select[Any]:
    """Pods with their zone."""
    pod, zone = tables.pod, tables.zone
    return (
        sa.select(pod, zone.c.uuid.label("zone_uuid"), zone.c.name.label("zone_name"))
        .join(zone, zone.c.id == pod.c.zone_id)
        .where(pod.c.removed.is_(None))
        .order_by(pod.c.id)
    )


def clusters() -> sa.Select[Any]:
    """Clusters with their pod and zone."""
    cluster, pod, zone = tables.cluster, tables.pod, tables.zone
    return (
        sa.select(
            cluster,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
        )
        .join(zone, zone.c.id == cluster.c.zone_id)
        .join(pod, pod.c.id == cluster.c.pod_id)
        .where(cluster.c.removed.is_(None))
        .order_by(cluster.c.id)
    )


def named(tx: Tx, table: sa.Table, name: str, *within: sa.ColumnElement[bool]) -> Row | None:
    """The living row of this name (without regard to case), of those `within`."""
    same = sa.func.lower(table.c.name) == name.lower()
    return tx.one(sa.select(table).where(same, table.c.removed.is_(None), *within))


def basic_network(tx: Tx, zone_id: int) -> Row | None:
    """The network of a basic zone, on which its guests are, and its system VMs by their default NICs."""
    shared = "zone_id = :zone and guest_type = 'Shared' and removed is null and state <> 'Destroy' order by id"
    return next(iter(tx.rows(tables.network, shared, zone=zone_id)), None)


def living(tx: Tx, table: sa.Table, *which: sa.ColumnElement[bool]) -> int:
    """How many rows of a table there are that have not been removed."""
    count: int = tx.value(sa.select(sa.func.count()).select_from(table).where(table.c.removed.is_(None), *which))
    return count


def changed(tx: Tx, zone_id: int) -> None:
    """What is wanted of a zone's system VMs may be different now."""
    turns.wish(tx, "zone", zone_id)


def has_traffic(tx: Tx, zone_id: int, traffic: str) -> bool:
    """Whether some physical network of the zone carries it."""
    kind, network = tables.traffic_type, tables.physical_network
    found = (
        sa.select(kind.c.id)
        .join(network, network.c.id == kind.c.physical_network_id)
        .where(network.c.zone_id == zone_id, network.c.removed.is_(None), kind.c.removed.is_(None))
        .where(kind.c.traffic_type == traffic)
    )
    return tx.value(found.limit(1)) is not None


def hypervisors(tx: Tx, zone_id: int | None) -> list[str]:
    """What the clusters of a zone, or of all, run."""
    cluster = tables.cluster
    found = sa.select(cluster.c.hypervisor).where(cluster.c.removed.is_(None)).distinct()
    if zone_id is not None:
        found = found.where(cluster.c.zone_id == zone_id)
    return sorted(row.hypervisor for row in tx.all(found))
