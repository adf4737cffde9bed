"""A network's turn: routers while guests need them, none when nobody has for `network.gc.wait`. Tiers of VPCs: turns/tier."""

import sqlalchemy as sa

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Outcome, Result
from sysvm.orchestrator.turns import making, placing
from sysvm.orchestrator.turns.making import New
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import (
    addresses,
    events,
    ip_ranges,
    jobs,
    machines,
    portable_ips,
    prefixes6,
    private_gateways,
    router_pairs,
    settings,
    turns,
    vpcs,
    vpns,
    wireguard,
)
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import network as plans
from sysvm.systemvms.network import NetworkSeen, NetworkStep, PairStep, RouterSeen
from sysvm.wire.machines import Kind

ROUTED = "VirtualRouter"
JOIN_S = 2.0  # until a router that becomes one of a pair, or is being replaced first, is looked at again
CONFIRM_S = 5.0  # until who both say that they serve have to have said so again
complain = in_note_of(tables.network)


async def take(context: Context, turn: Turn, step: NetworkStep | PairStep) -> Outcome:
    """The act of one step."""
    match step:
        case plans.AddRouter():
            await making.add_router(context, tables.network, turn.id, lambda tx: _make_router(tx, context, turn.id))
            return Result(60.0)  # the router's first running is a wish of this network
        case plans.Join(id_):
            return Result(JOIN_S, lambda tx: _join(tx, id_))
        case plans.Contended():
            return Result(CONFIRM_S, lambda tx: router_pairs.both_serve(tx, turn.id))
        case plans.RemoveRouter(id_):
            return Result(60.0, lambda tx: _remove_router(tx, id_))
        case plans.Implemented(seconds):
            return Result(seconds, lambda tx: implemented(tx, turn))
        case plans.Shut():
            return Result(600.0, lambda tx: shut(tx, turn))
        case plans.Idle(seconds, why):
            return Result(seconds, lambda tx: complain(tx, turn.id, why))


def decide(tx: Tx, network: Row) -> NetworkStep | PairStep:
    """The next step of a network that has routers of its own."""
    offering = tx.get(tables.network_offering, network.offering_id)
    assert offering is not None
    services = offering.services or {}
    guests = guests_wanted(tx, network.id)
    since = network.unused_since if network.unused_since is not None else tx.now
    return plans.plan_network(
        NetworkSeen(
            state=network.state,
            routed=any(ROUTED in _providers(service) for service in services.values()),
            persistent=offering.is_persistent,
            guests_wanted=guests,
            unused_s=0.0 if guests else tx.now - since,
            collect_after_s=float(settings.value(tx, "network.gc.wait")),
            routers=tuple(router_seen(row) for row in machines.routers_of(tx, network.id)),
            wanted_routers=_routers_wanted(network),
        )
    )


def _providers(service: object) -> tuple[str, ...]:
    provider = service.get("provider", "") if isinstance(service, dict) else service
    return tuple(str(name) for name in provider) if isinstance(provider, list | tuple) else (str(provider),)


def router_seen(row: Row) -> RouterSeen:
    """A router as plans see it."""
    serving = row.power == "running" and row.agent_up and row.document_live and not row.faults
    live = bool(serving and row.document_live == row.document_wanted)
    return RouterSeen(row.id, row.wanted, live, row.power == "running", bool(row.redundant), row.redundant_state)


GUESTS_WANTED = """
select count(distinct m.id) from nic n join machine m on m.id = n.machine_id
where n.network_id = :network and n.removed is null and m.kind = 'guest' and m.removed is null
    and (m.wanted = 'running' or m.power = 'running')
"""


def guests_wanted(tx: Tx, network_id: int) -> int:
    """Guests on the network that are, or shall be, running."""
    return int(tx.sql(GUESTS_WANTED, network=network_id)[0][0])


# ---------------------------------------------------------------- routers
def _make_router(tx: Tx, context: Context, network_id: int) -> None:
    network = tx.get(tables.network, network_id)
    if network is None:
        return
    there = [row for row in machines.routers_of(tx, network_id) if row.wanted != "gone"]
    if len(there) >= _routers_wanted(network):
        return
    zone = tx.get(tables.zone, network.zone_id)
    assert zone is not None
    actor = Actor(1, network.account_id, network.domain_id, network.domain_path)
    paired = _routers_wanted(network) > 1
    router = making.make(tx, context, New(Kind.ROUTER, zone, actor, network, "VIRTUAL_ROUTER", redundant=paired))
    if paired:
        making.add_paired_nics(tx, router, network, _source_nat(tx, network, actor), rate_mbit=_rate(tx, network))
        machines.wish_documents(tx, network.id)  # the other one hears whom it has got
        _begin(tx, context, network, router)
        return
    making.add_guest_nic(tx, router, 0, network, is_gateway=network.guest_type != "Shared")
    making.add_control_nic(tx, router, 1)
    if _has_public(tx, network):
        ip = _source_nat(tx, network, actor)
        six = prefixes6.outside(tx, network, ip.ip_range_id) if network.ip6_cidr else None
        making.add_public_nic(tx, router, 2, ip, rate_mbit=_rate(tx, network), six=six)
    _begin(tx, context, network, router)


def _begin(tx: Tx, context: Context, network: Row, router: Row) -> None:
    if network.state not in plans.LIVE:
        tx.update(tables.network, network.id, state="Implementing")
    placing.place_at_once(tx, context, router.id)


def _routers_wanted(network: Row) -> int:
    return 2 if network.redundant else 1


def _has_public(tx: Tx, network: Row) -> bool:
    offering = tx.get(tables.network_offering, network.offering_id)
    assert offering is not None
    return network.guest_type == "Isolated" and "SourceNat" in (offering.services or {})


def _rate(tx: Tx, network: Row) -> int:
    """What the network's offering says about traffic to and from outside; 0: as fast as it goes."""
    offering = tx.get(tables.network_offering, network.offering_id)
    return int(offering.network_rate or 0) if offering is not None else 0


def _source_nat(tx: Tx, network: Row, actor: Actor) -> Row:
    """The network's source NAT address: the one it has, else a free one. It stays the network's over all routers."""
    for row in addresses.of_network(tx, network.id):
        if row.source_nat:
            return row
    return addresses.take_public_ip(tx, network.zone_id, system=False, actor=actor, network_id=network.id, source_nat=True)


def _join(tx: Tx, id_: int) -> None:
    router = tx.get(tables.machine, id_)
    if router is None or router.wanted == "gone" or router.redundant:
        return
    # What begins beside the one that serves shares its addresses, as one of a pair does not.
    if all(row.incarnation == router.incarnation for row in machines.placements_of(tx, id_)):
        router_pairs.join(tx, router)


def _remove_router(tx: Tx, id_: int) -> None:
    router = tx.get(tables.machine, id_)
    assert router is not None
    machines.want(tx, router, "gone")


# ---------------------------------------------------------------- states
def implemented(tx: Tx, turn: Turn) -> None:
    """Its routers serve."""
    network = tx.get(tables.network, turn.id)
    assert network is not None
    unused = None if guests_wanted(tx, network.id) else (network.unused_since or tx.now)
    begins = {} if network.state in plans.LIVE else {"state": "Implemented", "restart_required": False}
    tx.update(tables.network, network.id, unused_since=unused, note="", **begins)
    if begins:
        _stir_guests(tx, network.id)
        _say(tx, network, "NETWORK.CREATE", f"Network {network.name} is implemented")
    jobs.settle(tx, "network", network.id, turn.wish, "implemented")


GUESTS_ON = """
select distinct n.machine_id from nic n join machine m on m.id = n.machine_id
where n.network_id = :network and n.removed is null and m.kind = 'guest'
"""


def _stir_guests(tx: Tx, network_id: int) -> None:
    for (machine_id,) in tx.sql(GUESTS_ON, network=network_id):
        turns.look_again(tx, "machine", machine_id)


def shut(tx: Tx, turn: Turn) -> None:
    """It has no routers any more."""
    network = tx.get(tables.network, turn.id)
    assert network is not None
    if network.state == "Destroy":
        _remove(tx, network)
        jobs.settle(tx, "network", network.id, turn.wish, "gone")
        turns.forget(tx, "network", network.id)
        return
    if network.state != "Allocated":
        _give_source_nat(tx, network.id)
        tx.update(tables.network, network.id, state="Allocated", unused_since=None, note="")
        _say(tx, network, "NETWORK.UPDATE", f"Network {network.name} is shut down: no guest has used it")
    jobs.settle(tx, "network", network.id, turn.wish, "shut")


def _give_source_nat(tx: Tx, network_id: int) -> None:
    """Only an address that nothing was built on is given back."""
    table, rule = tables.public_ip, tables.firewall_rule
    for row in tx.all(sa.select(table).where(table.c.network_id == network_id, table.c.source_nat.is_(True))):
        if tx.one(sa.select(rule.c.id).where(rule.c.public_ip_id == row.id, rule.c.removed.is_(None))) is None:
            addresses.give_public_ip(tx, row.id)


def _remove(tx: Tx, network: Row) -> None:
    table, rule = tables.public_ip, tables.firewall_rule
    if (vpn := vpns.of_network(tx, network.id)) is not None:
        vpns.remove(tx, vpn)
    wireguard.remove(tx, network.id)
    for row in tx.all(sa.select(table).where(table.c.network_id == network.id)):
        if row.vpc_id is not None:
            vpcs.leave_tier(tx, row)
        elif addresses.is_portable(tx, row.id):
            portable_ips.leave(tx, row)
        else:
            addresses.give_public_ip(tx, row.id)
    tx.change(
        sa.update(rule).where(rule.c.network_id == network.id, rule.c.removed.is_(None)).values(state="Deleting", removed=tx.now)
    )
    for gateway in private_gateways.of_network(tx, network.id):
        private_gateways.doom(tx, gateway)  # its network goes with its account
    for pool in ip_ranges.of_network(tx, network.id):
        ip_ranges.remove(tx, pool)
    prefixes6.leave(tx, network.id)
    tx.update(tables.network, network.id, removed=tx.now)
    if network.vpc_id is not None:
        turns.look_again(tx, vpcs.KIND, network.vpc_id)
    _say(tx, network, "NETWORK.DELETE", f"Network {network.name} is gone")


def _say(tx: Tx, network: Row, type_: str, text: str) -> None:
    actor = Actor(1, network.account_id, network.domain_id, network.domain_path)
    events.record(tx, type_, text, actor=actor, about=About("Network", network.id, network.uuid, network.name))
