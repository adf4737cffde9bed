"""A private gateway's turn: the VPC's router has its NIC from its first to its last moment, as it has those of tiers.

What the router does with it is in its document. Races: a router that is made at the same moment takes all gateways that are
there then; what it has is looked at, not remembered. Its state says Ready when a router has been told for the first time, and
stays so: what becomes of the router then is the router's to show.
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, tier
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import events, jobs, nics, private_gateways, turns, vpcs
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.systemvms import network as steps
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.vpc import TierRouterSeen, TierSeen, TierStep

complain = in_note_of(tables.private_gateway)


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    step = await context.store.read(lambda tx: decide(tx, turn.id))
    match step:
        case None:
            return Gone()
        case plans.WantRouter():
            return Result(plans.WAIT_S, lambda tx: _want_router(tx, turn.id))
        case plans.Plug(router):
            return Result(plans.WAIT_S, lambda tx: _plug(tx, turn.id, router))
        case plans.Unplug(router):
            return Result(plans.WAIT_S, lambda tx: _unplug(tx, turn.id, router))
        case steps.Implemented(seconds):
            return Result(seconds, lambda tx: _implemented(tx, turn))
        case steps.Shut():
            return Gone(lambda tx: _remove(tx, turn))
        case steps.Idle(seconds, why):
            return Result(seconds, lambda tx: complain(tx, turn.id, why))


def decide(tx: Tx, id_: int) -> TierStep | None:
    """The next step, or None for a gateway that is no more."""
    gateway = tx.get(tables.private_gateway, id_)
    if gateway is None or gateway.removed is not None:
        return None
    return plans.plan_tier(
        TierSeen(
            doomed=gateway.state == private_gateways.DELETING,
            live=gateway.state == private_gateways.READY,
            routers=tuple(_router(tx, row, id_) for row in vpcs.routers_of(tx, gateway.vpc_id)),
        )
    )


def _router(tx: Tx, row: Row, gateway_id: int) -> TierRouterSeen:
    plugged = private_gateways.is_plugged(tx, row.id, gateway_id)
    return TierRouterSeen(row.id, row.wanted, plugged, tier.is_settled(tx, row))


def _want_router(tx: Tx, id_: int) -> None:
    gateway = tx.get(tables.private_gateway, id_)
    assert gateway is not None
    tx.update(tables.vpc, gateway.vpc_id, wanted=True)
    turns.wish(tx, vpcs.KIND, gateway.vpc_id)


def _plug(tx: Tx, id_: int, router_id: int) -> None:
    gateway, router = tx.get(tables.private_gateway, id_), tx.get(tables.machine, router_id)
    assert gateway is not None and router is not None
    making.add_private_nic(tx, router, tier.next_device(tx, router_id), gateway)
    tier.tell(tx, router)
    private_gateways.tell_neighbours(tx, router)


def _unplug(tx: Tx, id_: int, router_id: int) -> None:
    router = tx.get(tables.machine, router_id)
    assert router is not None
    for nic in nics.of_machine(tx, router_id):
        if nic.private_gateway_id == id_:
            nics.remove_nic(tx, nic.id)
    tier.tell(tx, router)


# ---------------------------------------------------------------- states
def _implemented(tx: Tx, turn: Turn) -> None:
    tx.update(tables.private_gateway, turn.id, state=private_gateways.READY, note="")
    jobs.settle(tx, private_gateways.KIND, turn.id, turn.wish, "implemented")


def _remove(tx: Tx, turn: Turn) -> None:
    gateway = tx.get(tables.private_gateway, turn.id)
    assert gateway is not None
    tx.update(tables.private_gateway, gateway.id, removed=tx.now)
    turns.look_again(tx, vpcs.KIND, gateway.vpc_id)
    text = f"Private gateway {unpack_address(gateway.address)} is gone"
    actor = Actor(1, gateway.account_id, gateway.domain_id, gateway.domain_path)
    about = About("PrivateGateway", gateway.id, gateway.uuid, unpack_address(gateway.address))
    events.record(tx, "PRIVATE.GATEWAY.DELETE", text, actor=actor, about=about)
    jobs.settle(tx, private_gateways.KIND, gateway.id, turn.wish, "gone")
    turns.forget(tx, private_gateways.KIND, gateway.id)
