"""IPv6 of isolated networks: each has a /64 of a prefix of its zone, and its router an address of a public range.

Guests make their addresses of the /64 and their MACs. The operator routes the /64 to the router's address, so that stays the
network's over all its routers while its source NAT address is on the same VLAN.

Races: two networks may see the same /64 or address as free; a unique constraint lets one of them win.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, machines, nics, security_groups, turns
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.machines import Traffic

PROTOCOL, DUAL = "internetprotocol", "DualStack"  # a detail of network offerings
LENGTH = 64
_HOSTS = 128 - LENGTH


@dataclass(frozen=True, slots=True)
class Outside:
    """What a router has on its public NIC."""

    address: str
    gateway: str
    prefix: int = LENGTH


def is_dual(offering: Row) -> bool:
    """Whether networks of the offering get IPv6 by themselves; shared ones get it with a range."""
    return (offering.details or {}).get(PROTOCOL) == DUAL and offering.guest_type == "Isolated"


# ---------------------------------------------------------------- prefixes
def statement() -> sa.Select[Any]:
    """Living prefixes with their zones and how many of their subnets are taken."""
    prefix, subnet, zone = tables.guest_prefix6, tables.guest_subnet6, tables.zone
    used = sa.select(sa.func.count()).where(subnet.c.prefix_id == prefix.c.id).scalar_subquery()
    found = sa.select(prefix, zone.c.uuid.label("zone_uuid"), used.label("used"))
    return found.join(zone, zone.c.id == prefix.c.zone_id).where(prefix.c.removed.is_(None)).order_by(prefix.c.id)


def total(prefix: Row) -> int:
    """How many networks fit into it."""
    return 1 << (LENGTH - ipaddress.IPv6Network(prefix.cidr).prefixlen)


def living(tx: Tx) -> list[ipaddress.IPv6Network]:
    """Every prefix of the cloud."""
    return [ipaddress.IPv6Network(row.cidr) for row in tx.rows(tables.guest_prefix6, "removed is null order by id")]


# ---------------------------------------------------------------- of one network
TAKEN = "select count(*) from guest_subnet6 where subnet >= :first and subnet <= :last"
PUBLIC = "zone_id = :zone and traffic = 'Public' and first6 is not null and removed is null order by id"


def join(tx: Tx, network_id: int) -> None:
    """The network has IPv6 from now on, and so has everybody on it. Refused when its zone has none, or no more."""
    network = tx.get(tables.network, network_id)
    assert network is not None
    if not tx.rows(tables.ip_range, PUBLIC, zone=network.zone_id):
        raise Refused(
            "The network's offering is dual stack, and its zone has no public IPv6 range; add one with createVlanIpRange"
            " (ip6gateway, ip6cidr)",
            Why.CAPACITY,
        )
    subnet = _take(tx, network)
    tx.update(tables.network, network.id, ip6_cidr=str(subnet), ip6_gateway=str(subnet.network_address + 1))
    _tell(tx, network.id)


def _take(tx: Tx, network: Row) -> ipaddress.IPv6Network:
    def count(first: int, last: int) -> int:
        ends = {"first": addresses.packed_of(first << _HOSTS), "last": addresses.packed_of(last << _HOSTS)}
        return int(tx.sql(TAKEN, **ends)[0][0])

    for prefix in tx.rows(tables.guest_prefix6, "zone_id = :zone and removed is null order by id", zone=network.zone_id):
        first = int(ipaddress.IPv6Network(prefix.cidr).network_address) >> _HOSTS
        free = addresses.lowest_free(count, first, first + total(prefix) - 1)
        if free is not None:
            packed = addresses.packed_of(free << _HOSTS)
            tx.insert(tables.guest_subnet6, prefix_id=prefix.id, network_id=network.id, subnet=packed)
            return ipaddress.IPv6Network((free << _HOSTS, LENGTH))
    raise Refused(
        "The network's offering is dual stack, and no IPv6 subnet is free in its zone; add a prefix with"
        " createGuestNetworkIpv6Prefix",
        Why.CAPACITY,
    )


def _tell(tx: Tx, network_id: int) -> None:
    """Everybody who is on the network already has an address of it; its router also one outside."""
    network = tx.get(tables.network, network_id)
    assert network is not None
    there = tx.rows(tables.nic, "network_id = :network and removed is null order by id", network=network_id)
    for nic in there:
        machine = tx.get(tables.machine, nic.machine_id)
        if machine is not None and machine.kind == "router":
            nics.add_address(tx, nic.id, network.ip6_gateway, LENGTH, network_id=network_id, is_primary=True)
            _outside_of(tx, network, machine)
        else:
            address = addresses.take_guest_ip6(tx, network, nic.mac)
            nics.add_address(tx, nic.id, address, LENGTH, network_id=network_id, is_primary=True)
            tx.update(tables.nic, nic.id, gateway6=network.ip6_gateway)
            security_groups.moved(tx, nic.machine_id)
        turns.wish(tx, "machine", nic.machine_id)
    if there:
        machines.wish_documents(tx, network_id)


def _outside_of(tx: Tx, network: Row, router: Row) -> None:
    """The address on the public NIC of a router that is there already."""
    for nic in nics.of_machine(tx, router.id):
        if nic.traffic == Traffic.PUBLIC and nic.public_range_id is not None:
            held = outside(tx, network, nic.public_range_id)
            nics.add_address(tx, nic.id, held.address, held.prefix, is_primary=True)
            tx.update(tables.nic, nic.id, gateway6=held.gateway)


def leave(tx: Tx, network_id: int) -> None:
    """What the network had is free for others."""
    table = tables.guest_subnet6
    tx.change(sa.delete(table).where(table.c.network_id == network_id))


# ---------------------------------------------------------------- routers
ROUTERS = "select count(*) from guest_subnet6 where ip_range_id = :book and router >= :first and router <= :last"
SAME_WIRE = f"vlan = :vlan and {PUBLIC}"


def outside(tx: Tx, network: Row, range_id: int) -> Outside:
    """The address of the network's router on the wire of a public range: the one it has, else the lowest free one.

    Refused when no IPv6 range is on that wire, or when all its addresses are taken; the network's turn waits with that reason.
    """
    (row,) = tx.rows(tables.guest_subnet6, "network_id = :network", network=network.id)
    wire = tx.get(tables.ip_range, range_id)
    assert wire is not None
    pools = tx.rows(tables.ip_range, SAME_WIRE, zone=network.zone_id, vlan=wire.vlan)
    for pool in pools:
        if pool.id == row.ip_range_id:
            return Outside(unpack_address(row.router), pool.ip6_gateway)
    for pool in pools:
        ends = addresses.number_of(pool.first6), addresses.number_of(pool.last6)
        free = addresses.lowest_but(tx, ROUTERS, pool.id, ends, pool.ip6_gateway)
        if free is not None:
            tx.update(tables.guest_subnet6, row.id, ip_range_id=pool.id, router=addresses.packed_of(free))
            return Outside(unpack_address(addresses.packed_of(free)), pool.ip6_gateway)
    raise Refused(
        f"The public VLAN {wire.vlan} has no free IPv6 address for the router of network {network.name}; add a range there with"
        " createVlanIpRange (ip6gateway, ip6cidr)"
    )
