"""Portable addresses: those of ranges that belong to no zone. An account keeps one until it gives it back, whatever network it
serves, and that may change.

A router has one public NIC, so such an address can serve only where the public addresses are on its range's VLAN.
Races: an address that moves is in two documents for a moment, in that of the router which still has it and in that of the next
one; who comes second announces it, so neighbours know that one.
"""

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, machines, rules, vpcs
from sysvm.store.queries.events import Actor
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

PORTABLE = "Portable"
RANGES = "traffic = 'Portable' and removed is null order by id"
VLANS = "select distinct vlan from ip_range where zone_id = :zone and traffic = 'Public' and removed is null"


def take(tx: Tx, zone_id: int, actor: Actor, *, network_id: int | None, vpc_id: int | None, wanted: str | None) -> Row:
    """A free portable address, now the actor's; for a network or a VPC."""
    vlans = _vlans(tx, zone_id, network_id, vpc_id)
    found = [pool for pool in tx.rows(tables.ip_range, RANGES) if vlans == {pool.vlan}]
    for pool in found:
        free = addresses.free_in(tx, pool.id, wanted)
        if free is not None:
            return addresses.allocate(tx, free, actor, zone_id=zone_id, network_id=network_id, vpc_id=vpc_id)
    if wanted is not None:
        raise Refused(f"Portable IP address {wanted} is not free, or its range is on another VLAN than the public addresses")
    raise Refused(
        "Insufficient address capacity: no free portable IP address on the VLAN of the zone's public addresses"
        f" ({', '.join(sorted(vlans)) or 'there are none'}); add a range with createPortableIpRange",
        Why.CAPACITY,
    )


def _vlans(tx: Tx, zone_id: int, network_id: int | None, vpc_id: int | None) -> frozenset[str]:
    """The VLAN of the router's public NIC; as long as it has none, all that it could be."""
    own = addresses.public_vlans(tx, network_id, vpc_id)
    return own or frozenset(str(vlan) for (vlan,) in tx.sql(VLANS, zone=zone_id))


# ---------------------------------------------------------------- from network to network
def why_not_to(tx: Tx, ip: Row, network: Row) -> str:
    """Why the address can't serve that network instead; empty when it can."""
    if ip.source_nat:
        return "it is the source NAT address of its network"
    if ip.static_nat or rules.of_address(tx, ip.id):
        return "rules stand on it, or static NAT; remove them first"
    if network.account_id != ip.account_id:
        return f"network {network.name} is of another account"
    pool = tx.get(tables.ip_range, ip.ip_range_id)
    assert pool is not None
    if _vlans(tx, network.zone_id, network.id, network.vpc_id) != {pool.vlan}:
        return f"its range is on VLAN {pool.vlan}, and the public addresses of network {network.name} are not"
    return ""


def move(tx: Tx, ip: Row, network: Row) -> Row:
    """The address serves that network, and no longer the one that it served; whose routers are told."""
    machines.need_reachable(tx, _routers(tx, ip))
    tx.update(tables.public_ip, ip.id, network_id=network.id, vpc_id=network.vpc_id, zone_id=network.zone_id)
    _tell(tx, ip)
    moved = tx.get(tables.public_ip, ip.id)
    assert moved is not None
    return moved


def _routers(tx: Tx, ip: Row) -> list[Row]:
    if ip.vpc_id is not None:
        return list(vpcs.routers_of(tx, ip.vpc_id))
    return list(machines.routers_of(tx, ip.network_id)) if ip.network_id is not None else []


def _tell(tx: Tx, ip: Row) -> tuple[Part, ...]:
    if ip.vpc_id is not None:
        return vpcs.wish_documents(tx, ip.vpc_id)
    return machines.wish_documents(tx, ip.network_id) if ip.network_id is not None else ()


def leave(tx: Tx, ip: Row) -> None:
    """Its network or VPC is no more: its account keeps the address, if that is there still."""
    account = tx.get(tables.account, ip.account_id) if ip.account_id is not None else None
    if account is None or account.removed is not None or ip.state != "Allocated":
        addresses.give_public_ip(tx, ip.id)
        return
    rules.remove_of_address(tx, ip.id)
    tx.update(tables.public_ip, ip.id, network_id=None, vpc_id=None, static_nat=False, machine_id=None, guest_address=None)


def give_unused(tx: Tx, account_id: int) -> None:
    """What an account that goes has on no network: nobody else gives it back."""
    ip = tables.public_ip
    loose = (ip.c.account_id == account_id, ip.c.network_id.is_(None), ip.c.vpc_id.is_(None), ip.c.system.is_(False))
    for row in tx.all(sa.select(ip.c.id).where(*loose)):
        addresses.give_public_ip(tx, row.id)
