"""Which guest VLANs (or VNIs) of a physical network an account's networks may have."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned
from sysvm.store.store import Row, Tx

Tags = tuple[int, int]  # first and last of a range


def statement() -> sa.Select[Any]:
    """Living dedicated ranges with their physical networks and owners."""
    table, physical = tables.guest_vlan_range, tables.physical_network
    rows = owned.joined(table, table).join(physical, physical.c.id == table.c.physical_network_id)
    names = (physical.c.zone_id.label("zone_id"), *owned.names())
    return sa.select(table, *names).select_from(rows).where(table.c.removed.is_(None))


def of_physical_network(tx: Tx, physical_network_id: int) -> list[Row]:
    """Living dedicated ranges of a physical network, lowest first."""
    mine = "physical_network_id = :physical and removed is null order by first"
    return tx.rows(tables.guest_vlan_range, mine, physical=physical_network_id)


def choice(tx: Tx, physical_network_id: int, account_id: int, ranges: Iterable[Tags]) -> tuple[list[Tags], list[Tags]]:
    """(the account's own ranges, what is nobody's) of the physical network's."""
    dedicated = of_physical_network(tx, physical_network_id)
    own = [(row.first, row.last) for row in dedicated if row.account_id == account_id]
    return own, without(ranges, [(row.first, row.last) for row in dedicated])


def without(ranges: Iterable[Tags], taken: Iterable[Tags]) -> list[Tags]:
    """What is left of the ranges."""
    left = list(ranges)
    for first, last in taken:
        pieces = [((low, min(high, first - 1)), (max(low, last + 1), high)) for low, high in left]
        left = [piece for pair in pieces for piece in pair if piece[0] <= piece[1]]
    return sorted(set(left))
