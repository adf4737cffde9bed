"""A network's turn when it is a tier of a VPC: the VPC's router has a NIC in it from its first to its last moment.

What the router does for the tier is in its document; how NICs come and go is in `plugging`.
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, network, plugging
from sysvm.store import tables
from sysvm.store.queries import internal_lbs
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.network import LIVE, NetworkStep, PairStep
from sysvm.systemvms.vpc import TierSeen, TierStep


async def work(context: Context, turn: Turn) -> Outcome:
    """One step; those of networks that are in no VPC are turns/network's."""
    step = await context.together.look(lambda tx: decide(tx, turn.id))
    match step:
        case plans.WantRouter():
            return Result(plans.WAIT_S, lambda tx: plugging.want_router(tx, tables.network, turn.id))
        case plans.Plug(router):
            return Result(plans.WAIT_S, lambda tx: _plug(tx, turn.id, router))
        case plans.Unplug(router):
            return Result(plans.WAIT_S, lambda tx: plugging.unplug(tx, router, _nic_of(turn.id)))
        case None:
            return Gone()
        case _:
            return await network.take(context, turn, step)


def decide(tx: Tx, id_: int) -> TierStep | NetworkStep | PairStep | None:
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
            live=tier.state in LIVE,
            routers=plugging.routers_seen(tx, tier.vpc_id, _nic_of(id_)),
        )
    )


def _nic_of(network_id: int) -> plugging.Its:
    return lambda nic: nic.network_id == network_id


def _plug(tx: Tx, network_id: int, router_id: int) -> None:
    tier, router = tx.get(tables.network, network_id), tx.get(tables.machine, router_id)
    assert tier is not None and router is not None
    making.add_guest_nic(tx, router, plugging.next_device(tx, router_id), tier, is_gateway=True)
    if tier.state == "Allocated":
        tx.update(tables.network, network_id, state="Implementing")
    plugging.tell(tx, router)
