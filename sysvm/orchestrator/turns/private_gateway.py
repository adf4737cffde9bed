"""A private gateway's turn: the VPC's router has its NIC from its first to its last moment, as it has those of tiers.

What the router does with it is in its document; how NICs come and go is in `plugging`. Its state says Ready when a router has
been told for the first time, and stays so: what becomes of the router then is the router's to show.
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, plugging
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import events, jobs, private_gateways, turns, vpcs
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx
from sysvm.store.tables import unpack_address
from sysvm.systemvms import network as steps
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.vpc import TierSeen, TierStep

complain = in_note_of(tables.private_gateway)


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    step = await context.store.read(lambda tx: decide(tx, turn.id))
    match step:
        case None:
            return Gone()
        case plans.WantRouter():
            return Result(plans.WAIT_S, lambda tx: plugging.want_router(tx, tables.private_gateway, turn.id))
        case plans.Plug(router):
            return Result(plans.WAIT_S, lambda tx: _plug(tx, turn.id, router))
        case plans.Unplug(router):
            return Result(plans.WAIT_S, lambda tx: plugging.unplug(tx, router, _nic_of(turn.id)))
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
            routers=plugging.routers_seen(tx, gateway.vpc_id, _nic_of(id_)),
        )
    )


def _nic_of(gateway_id: int) -> plugging.Its:
    return lambda nic: nic.private_gateway_id == gateway_id


def _plug(tx: Tx, id_: int, router_id: int) -> None:
    gateway, router = tx.get(tables.private_gateway, id_), tx.get(tables.machine, router_id)
    assert gateway is not None and router is not None
    making.add_private_nic(tx, router, plugging.next_device(tx, router_id), gateway)
    plugging.tell(tx, router)
    private_gateways.tell_neighbours(tx, router)


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
