"""VPCs: their rows with the names around them, their tiers, addresses, routers and static routes.

What a VPC's routers are told is in `documents`; when they are made in the turns of kind "vpc" and "network".
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, owned, private_gateways, rules, turns, vpn_sites
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address

KIND = "vpc"  # of turns
DOOMED = "Inactive"


def statement() -> sa.Select[Any]:
    """Living VPCs with the names around them."""
    vpc, zone, offering = tables.vpc, tables.zone, tables.vpc_offering
    joined = vpc.join(zone, zone.c.id == vpc.c.zone_id).join(offering, offering.c.id == vpc.c.offering_id)
    return (
        sa.select(
            vpc,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            offering.c.uuid.label("offering_uuid"),
            offering.c.name.label("offering_name"),
            offering.c.services.label("offering_services"),
            *owned.names(),
        )
        .select_from(owned.joined(joined, vpc))
        .where(vpc.c.removed.is_(None))
    )


def one(tx: Tx, vpc_id: int) -> Row | None:
    """A VPC with the names around it; None when it is no more."""
    return tx.one(statement().where(tables.vpc.c.id == vpc_id))


def tiers_of(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """Its living networks."""
    return tx.rows(tables.network, "vpc_id = :vpc and removed is null order by id", vpc=vpc_id)


def routers_of(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """Its living routers."""
    return tx.rows(tables.machine, "kind = 'router' and vpc_id = :vpc and removed is null order by id", vpc=vpc_id)


def source_nat(tx: Tx, vpc_id: int) -> Row | None:
    """The address that its tiers leave by."""
    return next(iter(tx.rows(tables.public_ip, "vpc_id = :vpc and source_nat", vpc=vpc_id)), None)


def addresses_of(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """Its public addresses."""
    return tx.rows(tables.public_ip, "vpc_id = :vpc order by id", vpc=vpc_id)


def want(tx: Tx, vpc_id: int, outcome: str = "implemented") -> Part:
    """The VPC shall be there with its router ("implemented"), or no more ("gone"); what to wait for."""
    return Part(KIND, vpc_id, turns.wish(tx, KIND, vpc_id), outcome)


def wish_documents(tx: Tx, vpc_id: int) -> tuple[Part, ...]:
    """What the VPC's routers shall do has changed."""
    found = (router for router in routers_of(tx, vpc_id) if router.wanted == "running")
    return tuple(machines.wish_document(tx, router.id) for router in found)


def doom(tx: Tx, vpc_id: int) -> tuple[Part, ...]:
    """It shall be no more, with its tiers and private gateways."""
    parts = [private_gateways.doom(tx, gateway) for gateway in private_gateways.of_vpc(tx, vpc_id)]
    for tier in tiers_of(tx, vpc_id):
        tx.update(tables.network, tier.id, state="Destroy")
        parts.append(Part("network", tier.id, turns.wish(tx, "network", tier.id), "gone"))
    vpn_sites.remove_of_vpc(tx, vpc_id)
    tx.update(tables.vpc, vpc_id, state=DOOMED)
    return (*parts, want(tx, vpc_id, "gone"))


def leave_tier(tx: Tx, ip: Row) -> None:
    """A public address of a VPC is no tier's any more; it stays the VPC's."""
    rules.remove_of_address(tx, ip.id)
    tx.update(tables.public_ip, ip.id, network_id=None, static_nat=False, machine_id=None, guest_address=None)


def is_used(tx: Tx, ip: Row) -> bool:
    """Whether a tier needs the address: a rule stands on it, or static NAT."""
    return bool(ip.static_nat) or bool(rules.of_address(tx, ip.id))


# ---------------------------------------------------------------- static routes
def routes_statement() -> sa.Select[Any]:
    """Living static routes with the names around them."""
    route, vpc, gateway = tables.static_route, tables.vpc, tables.private_gateway
    joined = route.join(vpc, vpc.c.id == route.c.vpc_id)
    joined = joined.outerjoin(gateway, gateway.c.id == route.c.private_gateway_id)
    names = (vpc.c.uuid.label("vpc_uuid"), gateway.c.uuid.label("gateway_uuid"), *owned.names())
    return sa.select(route, *names).select_from(owned.joined(joined, route)).where(route.c.removed.is_(None))


def routes_of(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """The living static routes of a VPC."""
    return tx.rows(tables.static_route, "vpc_id = :vpc and removed is null order by id", vpc=vpc_id)


def usable_routes(tx: Tx, vpc_id: int, cidrs: Sequence[str]) -> list[tuple[str, str]]:
    """(destination, next hop) of routes whose next hop is in one of these networks: what goes takes them along."""
    homes = [ipaddress.ip_network(cidr) for cidr in cidrs]
    found = [(row.cidr, unpack_address(row.next_hop)) for row in routes_of(tx, vpc_id)]
    return [(cidr, via) for cidr, via in found if any(ipaddress.ip_address(via) in home for home in homes)]
