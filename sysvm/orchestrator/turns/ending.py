"""The ends of a machine's ways: it has reached what was wanted, left a host, or is gone. Writes only."""

from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import (
    addresses,
    alerts,
    consoles,
    events,
    internal_lbs,
    nics,
    private_gateways,
    turns,
    volumes,
)
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.machines import INTERNAL_LB
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Kind

ALERT_OF = {
    Kind.ROUTER: AlertType.DOMAIN_ROUTER,
    Kind.CONSOLE_PROXY: AlertType.CONSOLE_PROXY,
    Kind.SECONDARY_STORAGE: AlertType.SSVM,
    Kind.GUEST: AlertType.USERVM,
}


@dataclass(frozen=True, slots=True)
class Words:
    """How events and alerts speak of a machine."""

    event: str
    resource: str
    title: str
    remedy: str


ANOTHER = "destroy it with destroySystemVm: the zone makes a new one"
WORDS = {
    Kind.ROUTER: Words("ROUTER", "DomainRouter", "Router", "restart its network with cleanup=true, or stop it with stopRouter"),
    Kind.CONSOLE_PROXY: Words("PROXY", "ConsoleProxy", "Console proxy", ANOTHER),
    Kind.SECONDARY_STORAGE: Words("SSVM", "SecondaryStorageVm", "Secondary Storage Vm", ANOTHER),
    Kind.GUEST: Words("VM", "VirtualMachine", "Virtual machine", "stop it with stopVirtualMachine"),
}
OF_INTERNAL_LB = Words(
    "INTERNALLBVM",
    "InternalLbVm",
    "Internal load balancer VM",
    "restart its VPC with cleanup=true, or stop it with stopInternalLoadBalancerVM",
)


def words_of(machine: Row) -> Words:
    """An internal load balancer is a router by kind, and none by name."""
    return OF_INTERNAL_LB if machine.role == INTERNAL_LB else WORDS[Kind(machine.kind)]


def about(machine: Row) -> About:
    """What an event is about when it is about a machine."""
    return About(words_of(machine).resource, machine.id, machine.uuid, machine.name)


def actor(machine: Row) -> Actor:
    """The system, on behalf of the machine's owner."""
    return Actor(1, machine.account_id, machine.domain_id, machine.domain_path)


def reached(tx: Tx, machine: Row, outcome: str) -> None:
    """It is running (or stopped) as wanted: said once, when it was not so before."""
    if machine.vpc_id is not None:
        _tell_tiers(tx, machine.vpc_id)
    shown = (machine.details or {}).get("reached")
    mark = f"{outcome} {machine.incarnation}"
    if shown == mark:
        tx.update(tables.machine, machine.id, note="", error="", deadline=None)
        return
    details = {**(machine.details or {}), "reached": mark}
    tx.update(tables.machine, machine.id, note="", error="", deadline=None, details=details)
    kind, words = Kind(machine.kind), words_of(machine)
    verb = "START" if outcome == "running" else "STOP"
    events.record(
        tx,
        f"{words.event}.{verb}",
        f"{words.title} {machine.name} is {outcome}",
        actor=actor(machine),
        about=about(machine),
    )
    if kind in (Kind.CONSOLE_PROXY, Kind.SECONDARY_STORAGE) and outcome == "running":
        turns.wish(tx, "zone", machine.zone_id)
        _say_up(tx, machine, kind)
        if kind is Kind.CONSOLE_PROXY:
            consoles.tell_neighbours(tx, machine)
    for nic in nics.of_machine(tx, machine.id):
        if nic.network_id is not None:
            turns.wish(tx, "network", nic.network_id)
    if machine.vpc_id is not None:
        turns.wish(tx, "vpc", machine.vpc_id)
    if machine.role == INTERNAL_LB:
        turns.look_again(tx, internal_lbs.KIND, machine.network_id)


CHANGING = """
select 'network', id from network where vpc_id = :vpc and removed is null and state not in ('Implemented', 'Setup')
union all
select 'private_gateway', id from private_gateway where vpc_id = :vpc and removed is null and state <> 'Ready'
"""


def _tell_tiers(tx: Tx, vpc_id: int) -> None:
    """Tiers and private gateways that wait until the router has them, or has forgotten them."""
    for kind, id_ in tx.sql(CHANGING, vpc=vpc_id):
        turns.look_again(tx, kind, id_)


def _say_up(tx: Tx, machine: Row, kind: Kind) -> None:
    zone = tx.get(tables.zone, machine.zone_id)
    held = {nic.traffic: nic.primary.text for nic in nics.of_machine(tx, machine.id) if nic.primary is not None}
    alerts.raise_alert(
        tx,
        ALERT_OF[kind],
        f"{words_of(machine).title} up in zone: {zone.name if zone is not None else machine.zone_id}, "
        f"proxy: {machine.name}, public IP: {held.get('public', 'none')}, private IP: {held.get('management', 'none')}",
        zone=machine.zone_id,
    )


def found_dead(tx: Tx, placement: Row, how: str) -> None:
    """It was running, and nobody had asked it to stop. It is being started again."""
    machine = tx.get(tables.machine, placement.machine_id)
    assert machine is not None
    kind, words = Kind(machine.kind), words_of(machine)
    text = f"{words.title} {machine.name} died ({how}) and is being started again"
    events.record(tx, f"{words.event}.HA", text, actor=actor(machine), about=about(machine), level="WARN")
    alerts.raise_alert(tx, ALERT_OF[kind], text, zone=machine.zone_id)


def keeps_dying(tx: Tx, placement: Row, how: str) -> None:
    """It has died so often in a row that somebody should look."""
    machine = tx.get(tables.machine, placement.machine_id)
    assert machine is not None
    kind, words = Kind(machine.kind), words_of(machine)
    text = (
        f"{words.title} {machine.name} keeps dying (last: {how}). It is started again after growing pauses; look at "
        f"its console and the host's log, then {words.remedy}"
    )
    alerts.raise_alert(tx, ALERT_OF[kind], text, zone=machine.zone_id)


def not_replaced(tx: Tx, machine: Row, why: str) -> str:
    """Its next incarnation did not come to serve, so that the old one goes on; what is said about it."""
    kind, words = Kind(machine.kind), words_of(machine)
    text = f"{words.title} {machine.name} was not replaced, and its old incarnation serves on: {why}"
    events.record(tx, f"{words.event}.START", text, actor=actor(machine), about=about(machine), level="ERROR")
    alerts.raise_alert(tx, ALERT_OF[kind], text, zone=machine.zone_id)
    return text


def found_restarted(tx: Tx, placement: Row) -> None:
    """Another agent process answers than before: it (or the whole machine) died between two looks."""
    machine = tx.get(tables.machine, placement.machine_id)
    assert machine is not None
    words = words_of(machine)
    text = f"The agent of {words.title} {machine.name} was restarted"
    events.record(tx, f"{words.event}.HA", text, actor=actor(machine), about=about(machine), level="WARN")


def leave_host(tx: Tx, placement: Row) -> None:
    """Nothing of the machine is on the placement's host any more: its control address is free."""
    table = tables.placement
    still = sa.select(table.c.id).where(
        table.c.machine_id == placement.machine_id,
        table.c.host_id == placement.host_id,
        table.c.removed.is_(None),
        table.c.id != placement.id,
    )
    if tx.one(still) is None:
        addresses.give_control_ip(tx, placement.host_id, placement.machine_id)


def end(tx: Tx, machine: Row) -> None:
    """The machine is gone: its addresses are free, its row stays for the records."""
    for nic in nics.of_machine(tx, machine.id):
        addresses.give_private_ips(tx, nic.id)
        if nic.network_id is not None:
            turns.wish(tx, "network", nic.network_id)
        if nic.private_gateway_id is not None:
            turns.wish(tx, private_gateways.KIND, nic.private_gateway_id)
    if machine.kind in (Kind.CONSOLE_PROXY, Kind.SECONDARY_STORAGE):
        _give_public(tx, machine)
        turns.wish(tx, "zone", machine.zone_id)
    if machine.vpc_id is not None:
        turns.wish(tx, "vpc", machine.vpc_id)
    if machine.role == INTERNAL_LB:
        turns.look_again(tx, internal_lbs.KIND, machine.network_id)
    nics.remove_of_machine(tx, machine.id)
    tx.update(tables.machine, machine.id, removed=tx.now, power="absent", agent_up=False, note="")
    for volume in tx.all(sa.select(tables.volume).where(tables.volume.c.machine_id == machine.id)):
        if volume.type == "ROOT":
            volumes.remove(tx, volume)
    kind, words = Kind(machine.kind), words_of(machine)
    if kind is Kind.CONSOLE_PROXY:
        consoles.tell_neighbours(tx, machine)
    events.record(
        tx,
        f"{words.event}.{'EXPUNGE' if kind is Kind.GUEST else 'DESTROY'}",
        f"{words.title} {machine.name} is gone",
        actor=actor(machine),
        about=about(machine),
    )


def _give_public(tx: Tx, machine: Row) -> None:
    """System VMs hold public addresses of their own; routers' belong to the network."""
    table = tables.public_ip
    for row in tx.all(sa.select(table).where(table.c.machine_id == machine.id, table.c.system.is_(True))):
        addresses.give_public_ip(tx, row.id)
