"""NICs that a VPC's router gets and loses while it is there: what the turns of tiers and of private gateways have in common.

A container gets and loses NICs while it serves; a VM gets its next incarnation. Races: a router that is made at the same moment
takes all that are there then; what it has is looked at, not remembered.
"""

from collections.abc import Callable

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, nics, turns, vpcs
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx
from sysvm.systemvms.vpc import TierRouterSeen
from sysvm.wire.machines import Runtime

Its = Callable[[NicRow], bool]  # whether a NIC is the one of this tier or gateway


def routers_seen(tx: Tx, vpc_id: int, is_its: Its) -> tuple[TierRouterSeen, ...]:
    """The VPC's routers, and which of them have the NIC."""
    return tuple(_router(tx, row, is_its) for row in vpcs.routers_of(tx, vpc_id))


def _router(tx: Tx, router: Row, is_its: Its) -> TierRouterSeen:
    plugged = any(map(is_its, nics.of_machine(tx, router.id)))
    return TierRouterSeen(router.id, router.wanted, plugged, _is_settled(tx, router))


WISH = "select wish from turn where kind = 'machine' and id = :machine"


def _is_settled(tx: Tx, router: Row) -> bool:
    """Whether its placement has done all that was ever asked of the machine."""
    asked = tx.sql(WISH, machine=router.id)
    return any(
        placement.incarnation == router.incarnation and bool(asked) and placement.settled >= asked[0][0]
        for placement in machines.placements_of(tx, router.id)
    )


def want_router(tx: Tx, table: sa.Table, id_: int) -> None:
    """The VPC of this tier or gateway shall have its router now."""
    row = tx.get(table, id_)
    assert row is not None
    tx.update(tables.vpc, row.vpc_id, wanted=True)
    turns.wish(tx, vpcs.KIND, row.vpc_id)


LAST_DEVICE = "select max(device) from nic where machine_id = :machine"


def next_device(tx: Tx, router_id: int) -> int:
    """Names of NICs are not used twice: what is left of an old one cannot be taken for it."""
    ((last,),) = tx.sql(LAST_DEVICE, machine=router_id)
    return int(last) + 1


def unplug(tx: Tx, router_id: int, is_its: Its) -> None:
    """The router's NIC goes."""
    router = tx.get(tables.machine, router_id)
    assert router is not None
    for nic in filter(is_its, nics.of_machine(tx, router_id)):
        nics.remove_nic(tx, nic.id)
    tell(tx, router)


def tell(tx: Tx, router: Row) -> None:
    """Its NICs are others: a container gets and loses them, a VM begins its next life."""
    if router.wanted != "running":
        return  # it has them when it is started
    if router.runtime == Runtime.VM:
        machines.replace(tx, router)
    else:
        machines.wish_document(tx, router.id)
