"""A network's turn when it is a tier of a VPC: the VPC's router has a NIC in it from its first to its last moment.

A container gets and loses NICs while it serves; a VM gets its next incarnation. What the router does for the tier is in its
document. Races: a router that is made at the same moment takes all tiers that are there then; what it has is looked at, not
remembered.
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, network
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, machines, nics, turns, vpcs
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.network import NetworkStep
from sysvm.systemvms.vpc import TierRouterSeen, TierSeen, TierStep
from sysvm.wire.machines import Runtime


async def work(context: Context, turn: Turn) -> Outcome:
    """One step; those of networks that are in no VPC are turns/network's."""
    step = await context.together.look(lambda tx: decide(tx, turn.id))
    match step:
        case plans.WantRouter():
            return Result(plans.WAIT_S, lambda tx: _want_router(tx, turn.id))
        case plans.Plug(router):
            return Result(plans.WAIT_S, lambda tx: _plug(tx, turn.id, router))
        case plans.Unplug(router):
            return Result(plans.WAIT_S, lambda tx: _unplug(tx, turn.id, router))
        case None:
            return Gone()
        case _:
            return await network.take(context, turn, step)


def decide(tx: Tx, id_: int) -> TierStep | NetworkStep | None:
    """The next step, or None for a network that is no more."""
    tier = tx.get(tables.network, id_)
    if tier is None or tier.removed is not None:
        return None
    if tier.vpc_id is None:
        return network.decide(tx, tier)
    doomed = tier.state == "Destroy"
    balancers = internal_lbs.of_network(tx, id_) if doomed else ()
    return plans.plan_without_balancers(tuple(network.router_seen(row) for row in balancers)) or plans.plan_tier(
        TierSeen(
            doomed=doomed,
            live=tier.state in network.LIVE,
            routers=tuple(_router(tx, row, id_) for row in vpcs.routers_of(tx, tier.vpc_id)),
        )
    )


def _router(tx: Tx, row: Row, network_id: int) -> TierRouterSeen:
    plugged = any(nic.network_id == network_id for nic in nics.of_machine(tx, row.id))
    return TierRouterSeen(row.id, row.wanted, plugged, is_settled(tx, row))


WISH = "select wish from turn where kind = 'machine' and id = :machine"


def is_settled(tx: Tx, router: Row) -> bool:
    """Whether its placement has done all that was ever asked of the machine."""
    asked = tx.sql(WISH, machine=router.id)
    return any(
        placement.incarnation == router.incarnation and bool(asked) and placement.settled >= asked[0][0]
        for placement in machines.placements_of(tx, router.id)
    )


def _want_router(tx: Tx, network_id: int) -> None:
    tier = tx.get(tables.network, network_id)
    assert tier is not None
    tx.update(tables.vpc, tier.vpc_id, wanted=True)
    turns.wish(tx, vpcs.KIND, tier.vpc_id)


LAST_DEVICE = "select max(device) from nic where machine_id = :machine"


def next_device(tx: Tx, router_id: int) -> int:
    """Names of NICs are not used twice: what is left of an old one cannot be taken for it."""
    ((last,),) = tx.sql(LAST_DEVICE, machine=router_id)
    return int(last) + 1


def _plug(tx: Tx, network_id: int, router_id: int) -> None:
    tier, router = tx.get(tables.network, network_id), tx.get(tables.machine, router_id)
    assert tier is not None and router is not None
    making.add_guest_nic(tx, router, next_device(tx, router_id), tier, is_gateway=True)
    if tier.state == "Allocated":
        tx.update(tables.network, network_id, state="Implementing")
    tell(tx, router)


def _unplug(tx: Tx, network_id: int, router_id: int) -> None:
    router = tx.get(tables.machine, router_id)
    assert router is not None
    for nic in nics.of_machine(tx, router_id):
        if nic.network_id == network_id:
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
