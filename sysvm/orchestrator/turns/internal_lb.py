"""The turn of a tier's internal load balancers: a machine for each address with members, and none for one without a rule.

Its id is that of the tier's network. What a machine does is in its document, which changes without this turn. Not here: a
tier that goes takes its machines along (turns/tier).
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, network, placing
from sysvm.orchestrator.turns.making import New
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, jobs, machines
from sysvm.store.queries.events import Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from sysvm.systemvms import internal_lb as plans
from sysvm.systemvms.internal_lb import BalancerSeen, BalancersSeen, BalancersStep
from sysvm.wire.machines import Kind

complain = network.complain  # the reason stands in the network's note


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    step = await context.together.look(lambda tx: decide(tx, turn.id))
    match step:
        case None:
            return Gone(lambda tx: jobs.fail(tx, internal_lbs.KIND, turn.id, "its network is gone"))
        case plans.Add(address):
            await context.together.look(lambda tx: _make(tx, context, turn.id, address))
            return Result(0.0)
        case plans.Remove(id_):
            return Result(0.0, lambda tx: _remove(tx, id_))
        case plans.Serving():
            return Result(plans.LOOK_S, lambda tx: _serving(tx, turn))
        case plans.Idle(why):
            return Result(plans.WAIT_S, lambda tx: complain(tx, turn.id, why))


def decide(tx: Tx, id_: int) -> BalancersStep | None:
    """The next step, or None for a network that is no more."""
    tier = tx.get(tables.network, id_)
    if tier is None or tier.removed is not None:
        return None
    ruled, needed = internal_lbs.ruled(tx, id_)
    found = tuple(_seen(tx, row) for row in internal_lbs.of_network(tx, id_))
    return plans.plan(BalancersSeen(tier.state == "Destroy", ruled, needed, found))


def _seen(tx: Tx, row: Row) -> BalancerSeen:
    serving = row.power == "running" and bool(row.document_live)
    return BalancerSeen(row.id, internal_lbs.address_of(tx, row), row.wanted, serving)


def _make(tx: Tx, context: Context, network_id: int, address: str) -> None:
    tier = tx.get(tables.network, network_id)
    if tier is None or internal_lbs.at(tx, network_id, pack_address(address)) is not None:
        return
    zone = tx.get(tables.zone, tier.zone_id)
    assert zone is not None
    actor = Actor(1, tier.account_id, tier.domain_id, tier.domain_path)
    machine = making.make(tx, context, New(Kind.ROUTER, zone, actor, tier, machines.INTERNAL_LB))
    making.add_guest_nic(tx, machine, 0, tier, is_gateway=False, address=address)
    making.add_control_nic(tx, machine, 1)
    placing.place_at_once(tx, context, machine.id)


def _remove(tx: Tx, id_: int) -> None:
    machine = tx.get(tables.machine, id_)
    assert machine is not None
    machines.want(tx, machine, "gone")


def _serving(tx: Tx, turn: Turn) -> None:
    complain(tx, turn.id, "")
    jobs.settle(tx, internal_lbs.KIND, turn.id, turn.wish, "serving")
