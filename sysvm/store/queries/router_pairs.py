"""Pairs of routers: who belongs together, what each is told of the other one, which of them serves, and which may stop.

A network is redundant by its offering or by `restartNetwork makeredundant=true`; each of its routers has an address of its own
on it, and the gateway and the public addresses are the serving one's (wire/redundancy.py). Which one serves is decided by the two
alone. Here it is written down when a host tells of it.

Not here: when a second router is made (systemvms/network.py). Races: both routers of a pair may be about to stop at the same
moment. Who stops is asked in the transaction that says so, and reads what is said about the other one's placements: of two such
transactions the second sees the first.
"""

from collections.abc import Sequence

from sysvm.store import tables
from sysvm.store.queries import addresses, alerts, events, machines, nics, settings, specs, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.networks import LIVE
from sysvm.store.store import Row, Tx
from sysvm.systemvms.affinity import FREE, Near
from sysvm.wire.machines import Kind, Traffic
from sysvm.wire.redundancy import Redundancy, RedundantState

FIRST_PRIORITY = 250  # a high one makes the time short in which a backup notices that the other one has left
BOTH = "More than one redundant virtual router is in PRIMARY state! "
ONE_HOST = "cannot stand in for each other when that host fails"


# ---------------------------------------------------------------- who
def is_one(machine: Row) -> bool:
    """Whether it is a router of a pair, also while it is alone."""
    return machine.kind == Kind.ROUTER and bool(machine.redundant)


def of_network(tx: Tx, network_id: int) -> Sequence[Row]:
    """The routers of a redundant network, also those that are going: they serve until they are gone."""
    return tx.rows(tables.machine, "kind = 'router' and redundant and network_id = :id and removed is null", id=network_id)


def others(tx: Tx, machine: Row) -> list[Row]:
    """The other router of its pair; none while it is alone."""
    return [row for row in of_network(tx, machine.network_id) if row.id != machine.id]


def join(tx: Tx, machine: Row) -> None:
    """A router that was alone with the gateway's address has one of its own, and serves as the first of a pair."""
    network = tx.get(tables.network, machine.network_id)
    assert network is not None
    for nic in nics.of_machine(tx, machine.id):
        if nic.traffic == Traffic.GUEST:
            nics.set_primary(tx, nic.id, addresses.take_guest_ip(tx, network), _prefix(network), "")
    tx.update(tables.machine, machine.id, redundant=True, redundant_state=str(RedundantState.UNKNOWN))
    if machine.wanted == "running":
        machines.wish_document(tx, machine.id)


def _prefix(network: Row) -> int:
    return int(network.cidr.rpartition("/")[2])


# ---------------------------------------------------------------- where
HOSTS = """
select h.id, h.pod_id, h.cluster_id from host h where h.zone_id = :zone and h.removed is null
"""


def near(tx: Tx, machine: Row) -> Near:
    """Another pod than the other router's, else another cluster, else another host, else anywhere."""
    if not is_one(machine):
        return FREE
    theirs = {row.host_id for row in others(tx, machine) if row.host_id is not None}
    if not theirs:
        return FREE
    hosts = tx.sql(HOSTS, zone=machine.zone_id)
    pods, clusters = ({row[place] for row in hosts if row[0] in theirs} for place in (1, 2))
    away = [{row[0] for row in hosts if row[1] not in pods}, {row[0] for row in hosts if row[2] not in clusters}]
    return Near(rather_not=frozenset(theirs), rather=frozenset(next(filter(None, away), ())))


# ---------------------------------------------------------------- what it is told
def gateway(tx: Tx, machine: Row) -> tuple[str, int]:
    """The address that guests of the pair's network send to, with its prefix."""
    network = tx.get(tables.network, machine.network_id)
    assert network is not None
    return network.gateway, _prefix(network)


def facts(tx: Tx, machine: Row) -> Redundancy | None:
    """What the document of one of a pair says of the other one; None for a router that is no one of a pair."""
    if not is_one(machine):
        return None
    guest = _guest_nic(tx, machine)
    other = next(iter(others(tx, machine)), None)
    peer = _guest_nic(tx, other) if other is not None else None
    shared = (gateway(tx, machine), *specs.public_addresses(tx, machine))
    return Redundancy(
        device=f"eth{guest.device}",
        own=guest.primary.text if guest.primary is not None else "",
        peer=peer.primary.text if peer is not None and peer.primary is not None else "",
        priority=FIRST_PRIORITY - (other is not None and other.id < machine.id),
        interval_s=int(settings.value(tx, "router.redundant.vrrp.interval")),
        shared=tuple(f"{text}/{prefix}" for text, prefix in shared),
    )


def _guest_nic(tx: Tx, machine: Row) -> nics.NicRow:
    return next(nic for nic in nics.of_machine(tx, machine.id) if nic.traffic == Traffic.GUEST)


# ---------------------------------------------------------------- which of them serves
def saw(tx: Tx, machine_id: int, state: str) -> None:
    """What its host says of it; empty: nobody could look."""
    machine = tx.get(tables.machine, machine_id)
    if machine is None or not is_one(machine):
        return
    now, before = state or str(RedundantState.UNKNOWN), machine.redundant_state
    if now == before:
        return
    tx.update(tables.machine, machine_id, redundant_state=now)
    turns.look_again(tx, "network", machine.network_id)
    for other in others(tx, machine):
        turns.look_again(tx, "machine", other.id)  # it may have waited for this one
    text = f"Redundant virtual router {machine.name} just switch from {before} to {now}"
    events.record(tx, "ROUTER.HEALTH.CHECKS", text, actor=_actor(machine), about=_about(machine), level=_level(before, now))
    network = tx.get(tables.network, machine.network_id)
    begins = network is None or network.state not in LIVE
    if now == RedundantState.PRIMARY and before == RedundantState.BACKUP and not begins:
        alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, text, zone=machine.zone_id)


def _level(before: str, now: str) -> str:
    return "WARN" if RedundantState.FAULT in (before, now) or before == RedundantState.PRIMARY else "INFO"


def both_serve(tx: Tx, network_id: int) -> None:
    """Both say that they serve. A look at both is asked for; who says so a second time is believed, and there is an alert."""
    network = tx.get(tables.network, network_id)
    assert network is not None
    rows = of_network(tx, network_id)
    text = BOTH + " and ".join(f"Router {row.name}" for row in rows)
    for row in rows:
        for placement in machines.placements_of(tx, row.id):
            turns.look_again(tx, "placement", placement.id)
    if network.note != text:
        tx.update(tables.network, network_id, note=text)
        return
    alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, text, zone=network.zone_id)


def placed(tx: Tx, machine: Row, host_id: int) -> None:
    """Two of a pair on one host are better than one; an operator should know."""
    for other in others(tx, machine) if is_one(machine) else ():
        if other.host_id == host_id and other.wanted == "running":
            host = tx.get(tables.host, host_id)
            name = host.name if host is not None else host_id
            both = " and ".join(row.name for row in sorted((other, machine), key=lambda row: row.id))
            text = f"Redundant virtual routers {both} both run on host {name}: they {ONE_HOST}"
            alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, text, zone=machine.zone_id)


def _actor(machine: Row) -> Actor:
    return Actor(1, machine.account_id, machine.domain_id, machine.domain_path)


def _about(machine: Row) -> About:
    return About("DomainRouter", machine.id, machine.uuid, machine.name)


# ---------------------------------------------------------------- which of them may stop
def must_serve_on(tx: Tx, machine: Row) -> str:
    """Why its incarnation that runs may not stop for the next one yet; empty when it may. The one that waits goes before the
    one that serves."""
    if not is_one(machine) or machine.forced or not _is_well(machine):
        return ""
    network = tx.get(tables.network, machine.network_id)
    pair = [row for row in others(tx, machine) if row.wanted != "gone"]
    if not pair:
        return f"the second router of network {network.name} is not there yet" if network is not None else ""
    other = pair[0]
    if other.wanted != "running":
        return ""  # somebody has stopped it, and knows that there is one left
    if not _is_well(other) or not all(row.wanted == "running" for row in machines.placements_of(tx, other.id)):
        return f"router {other.name} does not stand by yet: they are not both down at once"
    if not _has_to_change(tx, other) or _goes_first(machine, other):
        return ""
    return f"router {other.name} is replaced first"


def _is_well(machine: Row) -> bool:
    serving = machine.power == "running" and machine.agent_up and machine.document_live == machine.document_wanted
    return bool(serving and machine.redundant_state in (RedundantState.PRIMARY, RedundantState.BACKUP))


def _has_to_change(tx: Tx, machine: Row) -> bool:
    return any(row.incarnation != machine.incarnation for row in machines.placements_of(tx, machine.id))


def _goes_first(machine: Row, other: Row) -> bool:
    serves, other_serves = (row.redundant_state == RedundantState.PRIMARY for row in (machine, other))
    return bool(machine.id > other.id) if serves == other_serves else other_serves
