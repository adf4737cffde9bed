"""Physical networks, what they carry, and who provides the services on them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row, Tx


def listing() -> sa.Select[Any]:
    """Physical networks with their zone."""
    network, zone, domain = tables.physical_network, tables.zone, tables.domain
    return (
        sa.select(
            network,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            domain.c.uuid.label("domain_uuid"),
        )
        .join(zone, zone.c.id == network.c.zone_id)
        .outerjoin(domain, domain.c.id == network.c.domain_id)
        .where(network.c.removed.is_(None))
        .order_by(network.c.id)
    )


def traffic() -> sa.Select[Any]:
    """Traffic types with their physical network."""
    kind, network = tables.traffic_type, tables.physical_network
    return (
        sa.select(kind, network.c.uuid.label("physical_network_uuid"), network.c.zone_id)
        .join(network, network.c.id == kind.c.physical_network_id)
        .where(kind.c.removed.is_(None))
        .order_by(kind.c.id)
    )


def providers() -> sa.Select[Any]:
    """Service providers with their physical network."""
    provider, network = tables.service_provider, tables.physical_network
    return (
        sa.select(provider, network.c.uuid.label("physical_network_uuid"), network.c.zone_id)
        .join(network, network.c.id == provider.c.physical_network_id)
        .where(provider.c.removed.is_(None))
        .order_by(provider.c.id)
    )


def of_zone(tx: Tx, zone_id: int) -> Sequence[Row]:
    """The physical networks of a zone, oldest first."""
    network = tables.physical_network
    return tx.all(sa.select(network).where(network.c.zone_id == zone_id, network.c.removed.is_(None)).order_by(network.c.id))


def carrying(tx: Tx, zone_id: int, traffic_type: str) -> Sequence[Row]:
    """The physical networks of a zone that carry a traffic type."""
    network, kind = tables.physical_network, tables.traffic_type
    return tx.all(
        sa.select(network)
        .join(kind, kind.c.physical_network_id == network.c.id)
        .where(network.c.zone_id == zone_id, network.c.removed.is_(None), kind.c.removed.is_(None))
        .where(kind.c.traffic_type == traffic_type)
        .order_by(network.c.id)
    )


def remove(tx: Tx, network_id: int) -> None:
    """The physical network with its traffic types and providers."""
    for table in (tables.traffic_type, tables.service_provider):
        gone = sa.update(table).where(table.c.physical_network_id == network_id, table.c.removed.is_(None))
        tx.change(gone.values(removed=tx.now))
    tx.update(tables.physical_network, network_id, removed=tx.now)


def tags_in_use(tx: Tx, which: sa.ColumnElement[bool]) -> list[int]:
    """VLANs or VNIs that living networks have."""
    network = tables.network
    found = sa.select(network.c.tag).where(network.c.removed.is_(None), network.c.tag.is_not(None), which)
    return [row.tag for row in tx.all(found)]


def ranges_of(tx: Tx, network_id: int) -> Sequence[Row]:
    """Public ranges on a physical network."""
    pool = tables.ip_range
    return tx.all(sa.select(pool).where(pool.c.physical_network_id == network_id, pool.c.removed.is_(None)))
