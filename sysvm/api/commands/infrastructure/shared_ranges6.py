"""IPv6 of shared networks: what a range adds to its network, and who gets an address when it comes.

A network has one IPv6 subnet and one gateway there, whatever the number of its ranges. When the first one comes, everybody
who is on the network gets an address at once: routers answer for it, guests hear of it with the next advertisement.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api.rules.ranges6 import PREFIX, Span6
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import addresses, ip_ranges, machines, nics, prefixes6, security_groups, turns
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address


def columns(tx: Tx, network: Row, span: Span6 | None) -> dict[str, Any]:
    """Of the range's row. Refused when it does not fit to what is there."""
    if span is None:
        return {}
    if network.ip6_cidr and (network.ip6_cidr, network.ip6_gateway) != (str(span.subnet), str(span.gateway)):
        raise Refused(
            f"The IPv6 ranges of network {network.name} are of {network.ip6_cidr} with gateway {network.ip6_gateway}, not"
            f" of {span.subnet} with {span.gateway}"
        )
    for prefix in prefixes6.living(tx):
        if span.subnet.overlaps(prefix):
            raise Refused(f"The IPv6 subnet {span.subnet} overlaps the prefix {prefix}, which is for isolated networks")
    first, last = pack_address(span.first), pack_address(span.last)
    _refuse_overlap(tx, network, span, first, last)
    return {"ip6_gateway": str(span.gateway), "ip6_cidr": str(span.subnet), "first6": first, "last6": last}


def _refuse_overlap(tx: Tx, network: Row, span: Span6, first: bytes, last: bytes) -> None:
    """Networks of one segment of a physical network share its addresses."""
    pool, other = tables.ip_range.c, tables.network.c
    overlapping = (
        sa.select(pool.first6, pool.last6)
        .join(tables.network, other.id == pool.network_id)
        .where(
            other.physical_network_id == network.physical_network_id,
            other.isolation == network.isolation,
            other.tag.is_(None) if network.tag is None else other.tag == network.tag,
            pool.removed.is_(None),
            pool.first6 <= last,
            pool.last6 >= first,
        )
    )
    if (found := tx.one(overlapping.limit(1))) is not None:
        there = f"{unpack_address(found.first6)}-{unpack_address(found.last6)}"
        raise Refused(f"The IPv6 range {span} overlaps with {there} of the same VLAN")


def join(tx: Tx, network: Row, span: Span6) -> None:
    """The network has IPv6, and so has everybody on it."""
    if network.ip6_cidr:
        return
    tx.update(tables.network, network.id, ip6_cidr=str(span.subnet), ip6_gateway=str(span.gateway))
    fresh = tx.get(tables.network, network.id)
    assert fresh is not None
    there = sa.select(tables.nic).where(tables.nic.c.network_id == network.id, tables.nic.c.removed.is_(None))
    for nic in tx.all(there.order_by(tables.nic.c.id)):
        address = addresses.take_guest_ip6(tx, fresh, nic.mac)
        nics.add_address(tx, nic.id, address, PREFIX, network_id=network.id, is_primary=True)
        tx.update(tables.nic, nic.id, gateway6=str(span.gateway))
        turns.wish(tx, "machine", nic.machine_id)
        security_groups.moved(tx, nic.machine_id)
    machines.wish_documents(tx, network.id)


def leave(tx: Tx, network_id: int) -> None:
    """The network has IPv6 no longer when its last range is gone; nobody has an address of it."""
    if not any(pool.first6 is not None for pool in ip_ranges.of_network(tx, network_id)):
        tx.update(tables.network, network_id, ip6_cidr="", ip6_gateway="")
        machines.wish_documents(tx, network_id)
