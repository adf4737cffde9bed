"""Guest networks: their rows with the names around them, tags on the wire, and who is on them.

Isolated networks belong to an account; shared ones are seen by a domain and those below it. A tag (VLAN id, VXLAN VNI) is
unique among living networks; the unique index lets one of two takers win.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, owned, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

DEFAULT_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
LIVE = ("Implemented", "Setup")


def statement() -> sa.Select[Any]:
    """Living guest networks with the names around them."""
    network, zone, offering = tables.network, tables.zone, tables.network_offering
    physical, vpc, acl = tables.physical_network, tables.vpc, tables.network_acl_list
    six = tables.guest_subnet6
    joined = (
        network.join(zone, zone.c.id == network.c.zone_id)
        .join(offering, offering.c.id == network.c.offering_id)
        .outerjoin(physical, physical.c.id == network.c.physical_network_id)
        .outerjoin(vpc, vpc.c.id == network.c.vpc_id)
        .outerjoin(acl, acl.c.id == network.c.acl_list_id)
        .outerjoin(six, six.c.network_id == network.c.id)
    )
    return (
        sa.select(
            *(column for column in network.c if column.name != "domain_name"),  # that is the owner's in answers
            network.c.domain_name.label("network_domain"),
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            zone.c.dns1.label("zone_dns1"),
            zone.c.dns2.label("zone_dns2"),
            zone.c.ip6dns1.label("zone_ip6dns1"),
            zone.c.ip6dns2.label("zone_ip6dns2"),
            physical.c.uuid.label("physical_network_uuid"),
            vpc.c.uuid.label("vpc_uuid"),
            vpc.c.name.label("vpc_name"),
            acl.c.uuid.label("acl_list_uuid"),
            acl.c.name.label("acl_list_name"),
            offering.c.uuid.label("offering_uuid"),
            offering.c.name.label("offering_name"),
            offering.c.display_text.label("offering_text"),
            offering.c.availability.label("offering_availability"),
            offering.c.conserve_mode.label("offering_conserve_mode"),
            offering.c.is_persistent.label("offering_is_persistent"),
            offering.c.specify_ip_ranges.label("offering_specify_ip_ranges"),
            offering.c.services.label("offering_services"),
            offering.c.details.label("offering_details"),
            six.c.router.label("router6"),
            *owned.names(),
        )
        .select_from(owned.joined(joined, network))
        .where(network.c.removed.is_(None))
    )


def one(tx: Tx, network_id: int) -> Row:
    """A network with the names around it."""
    row = tx.one(statement().where(tables.network.c.id == network_id))
    assert row is not None
    return row


def shared_with(domain_path: str) -> sa.ColumnElement[bool]:
    """Networks of a domain on this path, or of one above it, that are for everybody there."""
    above = [int(part) for part in domain_path.split("/") if part]
    return sa.and_(tables.network.c.acl_type == "Domain", tables.network.c.domain_id.in_(above))


def services(tx: Tx, network: Row) -> frozenset[str]:
    """What the network's offering has."""
    offering = tx.get(tables.network_offering, network.offering_id)
    return frozenset((offering.services or {}) if offering is not None else {})


def guests_on(tx: Tx, network_id: int) -> int:
    """How many living guests have a NIC there."""
    nic, machine = tables.nic, tables.machine
    count: int = tx.value(
        sa.select(sa.func.count(sa.distinct(machine.c.id)))
        .join(nic, nic.c.machine_id == machine.c.id)
        .where(
            nic.c.network_id == network_id,
            nic.c.removed.is_(None),
            machine.c.removed.is_(None),
            machine.c.kind == "guest",
        )
    )
    return count


def is_needed(tx: Tx, network: Row) -> bool:
    """Whether it has, or shall have, routers: a guest is wanted running, a router is, or its offering is persistent."""
    nic, machine = tables.nic, tables.machine
    wanted = (
        sa.select(machine.c.id)
        .join(nic, nic.c.machine_id == machine.c.id)
        .where(
            nic.c.network_id == network.id,
            nic.c.removed.is_(None),
            machine.c.removed.is_(None),
            machine.c.wanted == "running",
        )
    )
    offering = tx.get(tables.network_offering, network.offering_id)
    return bool(offering is not None and offering.is_persistent) or tx.one(wanted.limit(1)) is not None


def default_ones(tx: Tx, account_id: int, zone_id: int) -> list[Row]:
    """The account's isolated networks with source NAT in a zone: one of them is the default for its guests."""
    network = tables.network
    found = tx.all(
        sa.select(network)
        .where(
            network.c.account_id == account_id,
            network.c.zone_id == zone_id,
            network.c.guest_type == "Isolated",
            network.c.vpc_id.is_(None),
            network.c.removed.is_(None),
            network.c.state != "Destroy",
        )
        .order_by(network.c.id)
    )
    return [row for row in found if "SourceNat" in services(tx, row)]


def shared_ones(tx: Tx, domain_path: str, zone_id: int) -> list[Row]:
    """Shared networks of a zone that everybody in the domain may use."""
    network = tables.network
    living = (network.c.zone_id == zone_id, network.c.guest_type == "Shared", network.c.removed.is_(None))
    found = sa.select(network).where(*living, network.c.state != "Destroy", shared_with(domain_path))
    return list(tx.all(found.order_by(network.c.id)))


def hostname_taken(tx: Tx, network_id: int, hostname: str, but: int | None = None) -> bool:
    """Whether a living guest of the network has that name."""
    nic, machine = tables.nic, tables.machine
    found = sa.select(machine.c.id).join(nic, nic.c.machine_id == machine.c.id)
    found = found.where(
        nic.c.network_id == network_id,
        nic.c.removed.is_(None),
        machine.c.removed.is_(None),
        machine.c.kind == "guest",
        sa.func.lower(machine.c.hostname) == hostname.lower(),
    )
    if but is not None:
        found = found.where(machine.c.id != but)
    return tx.one(found.limit(1)) is not None


def guest_physical_network(tx: Tx, zone_id: int, tags: str = "") -> Row | None:
    """The physical network of a zone that carries guests. The offering's tags choose among several; the only one is it."""
    physical, traffic = tables.physical_network, tables.traffic_type
    found = tx.all(
        sa.select(physical)
        .join(traffic, traffic.c.physical_network_id == physical.c.id)
        .where(
            physical.c.zone_id == zone_id,
            physical.c.removed.is_(None),
            physical.c.state == "Enabled",
            traffic.c.traffic_type == "Guest",
            traffic.c.removed.is_(None),
        )
        .order_by(physical.c.id)
    )
    if len(found) == 1:
        return found[0]
    wanted = set(filter(None, (tags or "").split(",")))
    return next((row for row in found if wanted <= set((row.tags or "").split(","))), None)


# Private gateways on a guest network have its tag; what others have is no network's.
TAGS_TAKEN = """
select (
    select count(*) from network where isolation = :isolation and removed is null and tag >= :first and tag <= :last
) + (
    select count(distinct tag) from private_gateway
    where isolation = :isolation and network_id is null and removed is null and tag >= :first and tag <= :last
)
"""


def take_tag(tx: Tx, isolation: str, ranges: Iterable[tuple[int, int]]) -> int:
    """The lowest tag of the ranges that no living network and no private gateway has."""

    def count(first: int, last: int) -> int:
        ((number,),) = tx.sql(TAGS_TAKEN, isolation=isolation, first=first, last=last)
        return int(number)

    for first, last in ranges:
        found = addresses.lowest_free(count, first, last)
        if found is not None:
            return found
    raise Refused(
        f"Insufficient virtual network capacity: every {isolation} tag of the physical network is in use;"
        " widen its vlan range with updatePhysicalNetwork",
        Why.CAPACITY,
    )


def tag_in_use(tx: Tx, isolation: str, tag: int) -> bool:
    """Whether a living network has the tag."""
    network = tables.network
    found = sa.select(network.c.id).where(network.c.isolation == isolation, network.c.tag == tag, network.c.removed.is_(None))
    return tx.one(found) is not None


def implement(tx: Tx, network_id: int) -> Part:
    """The network shall be there, with its routers; what to wait for."""
    return Part("network", network_id, turns.wish(tx, "network", network_id), "implemented")
