"""Machines: what is wanted of them. Changes of wishes only; making them true is the orchestrator's."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import router_versions, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

DEADLINE_S = 1800.0
INTERNAL_LB = "INTERNAL_LB_VM"  # the role of a router that only balances, inside a tier
PLACED = "machine_id = :machine and removed is null order by incarnation, id"
OF_VPC = "kind = 'router' and removed is null and vpc_id = :vpc order by id"
OF_NETWORK = "kind = 'router' and network_id = :network and role <> :internal and removed is null"


def want(tx: Tx, machine: Row, wanted: str, *, forced: bool = False, host_id: int | None = None) -> Part:
    """The machine shall be running, stopped or gone; `host_id` says where. What a job has to wait for."""
    changes = {"wanted": wanted, "forced": forced, "error": "", "note": "", "deadline": tx.now + DEADLINE_S}
    if host_id is not None:
        changes["wanted_host_id"] = host_id
    tx.update(tables.machine, machine.id, **changes)
    return Part("machine", machine.id, turns.wish(tx, "machine", machine.id), wanted)


@dataclass(frozen=True, slots=True)
class Within:
    """Where a guest may be placed: on one host, in a cluster or in a pod. The narrowest that is named counts; none: anywhere in
    its zone."""

    host_id: int | None = None
    cluster_id: int | None = None
    pod_id: int | None = None


ANYWHERE = Within()


def confine(tx: Tx, machine_id: int, within: Within) -> None:
    """Where the guest may be placed until its start is over. It replaces what was said for an earlier start."""
    columns = {"wanted_host_id": within.host_id, "wanted_cluster_id": within.cluster_id, "wanted_pod_id": within.pod_id}
    tx.update(tables.machine, machine_id, **columns)


def replace(tx: Tx, machine: Row, *, forced: bool = False, host_id: int | None = None) -> Part:
    """The machine shall live its next incarnation (reboot, upgrade, move)."""
    begin_next(tx, machine)
    return want(tx, machine, "running", forced=forced, host_id=host_id)


def begin_next(tx: Tx, machine: Row) -> None:
    """A new incarnation is the wanted one: one higher than all that ever were, also those that did not come to serve."""
    table = tables.placement
    highest = tx.value(sa.select(sa.func.max(table.c.incarnation)).where(table.c.machine_id == machine.id))
    tx.update(tables.machine, machine.id, incarnation=max(machine.incarnation, highest or 0) + 1)


def routers_of(tx: Tx, network_id: int) -> Sequence[Row]:
    """The living routers of a network: its own, or those of the VPC that it is a tier of."""
    own = tx.rows(tables.machine, OF_NETWORK, network=network_id, internal=INTERNAL_LB)
    network = tx.get(tables.network, network_id)
    if own or network is None or network.vpc_id is None:
        return own
    return tx.rows(tables.machine, OF_VPC, vpc=network.vpc_id)


def need_reachable_router(tx: Tx, network_id: int) -> None:
    """Raises Refused when no running router of the network can be told anything."""
    need_reachable(tx, routers_of(tx, network_id))


def need_reachable(tx: Tx, routers: Sequence[Row]) -> None:
    """Raises Refused when the evidence says that none of these routers which runs can be told anything: its host has been
    without a link for so long that it is an alert, or it runs a template that is too old. One that starts, moves or is
    replaced takes what is new when it is there; one that is stopped, when it starts."""
    found = [router for router in routers if router.wanted == "running" and router.power == "running"]
    router_versions.need_young_enough(tx, found)
    hosts = [tx.get(tables.host, router.host_id) for router in found if router.host_id is not None]
    if hosts and all(host is not None and host.state == "Alert" for host in hosts):
        names = ", ".join(host.name for host in hosts if host is not None)
        text = f"Unable to apply rules on disconnected router {found[0].name}: host {names} is unreachable"
        raise Refused(f"{text}. Bring it back, or remove it with deleteHost forced=true when it is lost", Why.UNAVAILABLE)


def wish_documents(tx: Tx, network_id: int) -> tuple[Part, ...]:
    """What the network's routers shall do has changed. Nothing to wait for where no router is wanted."""
    return tuple(_wish_document(tx, router) for router in routers_of(tx, network_id) if router.wanted == "running")


def wish_document(tx: Tx, machine_id: int) -> Part:
    """What one system VM shall do has changed."""
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    return _wish_document(tx, machine)


def _wish_document(tx: Tx, machine: Row) -> Part:
    wish = turns.wish(tx, "machine", machine.id)
    # Where it runs already its placement is told at once: a rule is live two transactions earlier.
    for placement in placements_of(tx, machine.id):
        if placement.incarnation == machine.incarnation and placement.wanted == "running":
            tell(tx, machine, placement, "running", wish)
    return Part("machine", machine.id, wish, "live")


def tell(tx: Tx, machine: Row, placement: Row, wanted: str, wish: int) -> None:
    """The placement shall serve the machine's wish."""
    # What it has settled for is no answer to another wish, also where both are of one number.
    anew = {"settled": 0} if wanted != placement.wanted else {}
    tx.update(tables.placement, placement.id, wanted=wanted, told=wish, **anew)
    turns.wish(tx, "placement", placement.id, host=placement.host_id, fence=machine.fence)


def placements_of(tx: Tx, machine_id: int) -> Sequence[Row]:
    """Where incarnations of the machine are or shall be, oldest first."""
    return tx.once((PLACED, machine_id), lambda: tuple(tx.rows(tables.placement, PLACED, machine=machine_id)), tables.placement)


def current_placement(tx: Tx, machine: Row) -> Row | None:
    """Where its wanted incarnation is."""
    placed = placements_of(tx, machine.id)
    return next((row for row in placed if row.incarnation == machine.incarnation), None)


def machine_by_uuid(tx: Tx, uuid: str) -> Row | None:
    """The living machine with this UUID."""
    return next(iter(tx.rows(tables.machine, "uuid = :uuid and removed is null", uuid=uuid)), None)
