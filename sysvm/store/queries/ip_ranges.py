"""Ranges of addresses: their rows, what overlaps them, and which of their addresses are in use."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row, Tx

FILLED = ("Public", "Portable")  # each of their addresses has a row


def listing() -> sa.Select[Any]:
    """Ranges with the names around them."""
    pool, zone, pod, physical = tables.ip_range, tables.zone, tables.pod, tables.physical_network
    network, domain, account = tables.network, tables.domain, tables.account
    return (
        sa.select(
            pool,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
            physical.c.uuid.label("physical_network_uuid"),
            network.c.uuid.label("network_uuid"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.path.label("domain_text"),
            account.c.name.label("account_name"),
        )
        .join(zone, zone.c.id == pool.c.zone_id)
        .outerjoin(pod, pod.c.id == pool.c.pod_id)
        .outerjoin(physical, physical.c.id == pool.c.physical_network_id)
        .outerjoin(network, network.c.id == pool.c.network_id)
        .outerjoin(domain, domain.c.id == pool.c.domain_id)
        .outerjoin(account, account.c.id == pool.c.account_id)
        .where(pool.c.removed.is_(None))
        .order_by(pool.c.id)
    )


def operators(tx: Tx, but: int | None = None) -> Sequence[Row]:
    """Every public, portable, management and storage range of the cloud, with its zone if it is of one; `but` this one."""
    pool, zone = tables.ip_range, tables.zone
    found = (
        sa.select(pool, zone.c.name.label("zone_name"))
        .outerjoin(zone, zone.c.id == pool.c.zone_id)
        .where(pool.c.removed.is_(None), pool.c.traffic != "Guest", pool.c.first.is_not(None))
    )
    return tx.all(found if but is None else found.where(pool.c.id != but))


def of_network(tx: Tx, network_id: int) -> Sequence[Row]:
    """The ranges of a shared network."""
    pool = tables.ip_range
    return tx.all(sa.select(pool).where(pool.c.network_id == network_id, pool.c.removed.is_(None)).order_by(pool.c.id))


def of_pods(tx: Tx) -> dict[int, list[Row]]:
    """Management ranges by pod."""
    pool = tables.ip_range
    found: dict[int, list[Row]] = {}
    wanted = sa.select(pool).where(pool.c.traffic == "Management", pool.c.removed.is_(None)).order_by(pool.c.id)
    for row in tx.all(wanted):
        found.setdefault(row.pod_id, []).append(row)
    return found


def used(tx: Tx, pool: Row) -> int:
    """How many addresses of the range somebody has."""
    if pool.traffic in FILLED:
        ip = tables.public_ip
        mine = sa.select(sa.func.count()).select_from(ip).where(ip.c.ip_range_id == pool.id, ip.c.state != "Free")
        six = tables.guest_subnet6  # whose routers have an address of it
        routers = sa.select(sa.func.count()).select_from(six).where(six.c.ip_range_id == pool.id).scalar_subquery()
        mine = sa.select(mine.scalar_subquery() + routers)
    elif pool.traffic == "Guest":
        at = tables.nic_address
        mine = (
            sa.select(sa.func.count())
            .select_from(at)
            .where(at.c.network_id == pool.network_id, at.c.removed.is_(None), _inside(at.c.address, pool))
        )
    else:
        taken = tables.private_ip
        mine = sa.select(sa.func.count()).select_from(taken).where(taken.c.ip_range_id == pool.id)
    count: int = tx.value(mine)
    return count


def _inside(address: sa.Column[Any], pool: Row) -> sa.ColumnElement[bool]:
    ends = [(pool.first, pool.last), (pool.first6, pool.last6)]
    return sa.or_(*(address.between(first, last) for first, last in ends if first is not None))


def outside(tx: Tx, pool: Row, first: bytes, last: bytes) -> int:
    """How many used addresses of the range a new first and last would leave outside."""
    if pool.traffic in FILLED:
        table, mine = tables.public_ip, tables.public_ip.c.state != "Free"
    else:
        table, mine = tables.private_ip, sa.true()
    lost = sa.or_(table.c.address < first, table.c.address > last)
    count: int = tx.value(sa.select(sa.func.count()).select_from(table).where(table.c.ip_range_id == pool.id, mine, lost))
    return count


def missing(tx: Tx, range_id: int, first: bytes, last: bytes) -> list[bytes]:
    """Addresses from `first` to `last` that a public range has no row for yet."""
    ip = tables.public_ip
    there = {bytes(row.address) for row in tx.all(sa.select(ip.c.address).where(ip.c.ip_range_id == range_id))}
    numbers = range(int.from_bytes(first, "big"), int.from_bytes(last, "big") + 1)
    return [packed for number in numbers if (packed := number.to_bytes(16, "big")) not in there]


def remove(tx: Tx, pool: Row) -> None:
    """The range with its free addresses; the caller has seen that none is in use."""
    if pool.traffic in FILLED:
        ip = tables.public_ip
        tx.change(sa.delete(ip).where(ip.c.ip_range_id == pool.id))
    tx.update(tables.ip_range, pool.id, removed=tx.now)


def subnet(pool: Row) -> ipaddress.IPv4Network:
    """The subnet of an IPv4 range."""
    return ipaddress.IPv4Network(f"{pool.gateway}/{pool.netmask}", strict=False)
