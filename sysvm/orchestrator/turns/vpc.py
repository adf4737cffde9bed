"""A VPC's turn: its router is made with it, and goes with it. Which NICs the router has is the affair of its tiers (turns/tier)
and private gateways (turns/private_gateway)."""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import making, network, placing
from sysvm.orchestrator.turns.making import New
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import (
    acls,
    addresses,
    events,
    jobs,
    machines,
    portable_ips,
    private_gateways,
    turns,
    vpcs,
    vpns,
)
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import network as steps
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.network import NetworkStep
from sysvm.systemvms.vpc import VpcSeen
from sysvm.wire.machines import Kind

complain = in_note_of(tables.vpc)


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    step = await context.store.read(lambda tx: decide(tx, turn.id))
    match step:
        case None:
            return Gone()
        case steps.AddRouter():
            await making.add_router(context, tables.vpc, turn.id, lambda tx: _make_router(tx, context, turn.id))
            return Result(plans.WAIT_S)  # the router's first running is a wish of this VPC
        case steps.RemoveRouter(id_):
            return Result(plans.WAIT_S, lambda tx: _remove_router(tx, id_))
        case steps.Implemented(seconds):
            return Result(seconds, lambda tx: _implemented(tx, turn))
        case steps.Shut():
            return Gone(lambda tx: _remove(tx, turn))
        case steps.Idle(seconds, why):
            return Result(seconds, lambda tx: complain(tx, turn.id, why))


def decide(tx: Tx, id_: int) -> NetworkStep | None:
    """The next step, or None for a VPC that is no more."""
    vpc = tx.get(tables.vpc, id_)
    if vpc is None or vpc.removed is not None:
        return None
    return plans.plan_vpc(
        VpcSeen(
            doomed=vpc.state == vpcs.DOOMED,
            wanted=vpc.wanted,
            tiers=len(vpcs.tiers_of(tx, id_)) + len(private_gateways.of_vpc(tx, id_)),
            routers=tuple(network.router_seen(row) for row in vpcs.routers_of(tx, id_)),
        )
    )


# ---------------------------------------------------------------- its router
def _make_router(tx: Tx, context: Context, vpc_id: int) -> None:
    vpc = tx.get(tables.vpc, vpc_id)
    if vpc is None or any(row.wanted != "gone" for row in vpcs.routers_of(tx, vpc_id)):
        return
    zone = tx.get(tables.zone, vpc.zone_id)
    assert zone is not None
    actor = _actor(vpc)
    router = making.make(tx, context, New(Kind.ROUTER, zone, actor, role="VIRTUAL_ROUTER", vpc=vpc))
    making.add_control_nic(tx, router, 0)
    making.add_public_nic(tx, router, 1, _source_nat(tx, vpc, actor), mtu=vpc.public_mtu)
    tiers = [tier for tier in vpcs.tiers_of(tx, vpc_id) if tier.state != "Destroy"]
    for device, tier in enumerate(tiers, 2):
        making.add_guest_nic(tx, router, device, tier, is_gateway=True)
    gateways = [row for row in private_gateways.of_vpc(tx, vpc_id) if row.state != private_gateways.DELETING]
    for device, gateway in enumerate(gateways, 2 + len(tiers)):
        making.add_private_nic(tx, router, device, gateway)
    placing.place_at_once(tx, context, router.id)


def _source_nat(tx: Tx, vpc: Row, actor: Actor) -> Row:
    """The VPC's source NAT address: the one it has, else the one that was asked for, else a free one."""
    has = vpcs.source_nat(tx, vpc.id)
    if has is not None:
        return has
    wanted = vpc.source_nat_ip or None
    return addresses.take_public_ip(tx, vpc.zone_id, system=False, actor=actor, vpc_id=vpc.id, source_nat=True, wanted=wanted)


def _remove_router(tx: Tx, id_: int) -> None:
    router = tx.get(tables.machine, id_)
    assert router is not None
    machines.want(tx, router, "gone")


# ---------------------------------------------------------------- states
def _implemented(tx: Tx, turn: Turn) -> None:
    tx.update(tables.vpc, turn.id, note="")
    jobs.settle(tx, vpcs.KIND, turn.id, turn.wish, "implemented")


def _remove(tx: Tx, turn: Turn) -> None:
    vpc = tx.get(tables.vpc, turn.id)
    assert vpc is not None
    if (vpn := vpns.of_vpc(tx, vpc.id)) is not None:
        vpns.remove(tx, vpn)
    for ip in vpcs.addresses_of(tx, vpc.id):
        if addresses.is_portable(tx, ip.id):
            portable_ips.leave(tx, ip)
        else:
            addresses.give_public_ip(tx, ip.id)
    for found in tx.rows(tables.network_acl_list, "vpc_id = :vpc and removed is null", vpc=vpc.id):
        acls.remove_list(tx, found.id)
    for route in vpcs.routes_of(tx, vpc.id):
        tx.update(tables.static_route, route.id, removed=tx.now)
    tx.update(tables.vpc, vpc.id, removed=tx.now)
    about = About("Vpc", vpc.id, vpc.uuid, vpc.name)
    events.record(tx, "VPC.DELETE", f"VPC {vpc.name} is gone", actor=_actor(vpc), about=about)
    jobs.settle(tx, vpcs.KIND, vpc.id, turn.wish, "gone")
    turns.forget(tx, vpcs.KIND, vpc.id)


def _actor(vpc: Row) -> Actor:
    return Actor(1, vpc.account_id, vpc.domain_id, vpc.domain_path)
