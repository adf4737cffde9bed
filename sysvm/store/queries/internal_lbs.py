"""Internal load balancers of tiers: their machines, and who hears of a change of their rules.

A machine is found by the tier that it serves and the address of its NIC there. When one is made and when it goes is in the
turns of kind "internal_lb"; rules and members are those of `load_balancers`.

Races: a rule that comes while the machine before is being removed finds its address taken by a machine that is "gone"; the
turn makes the next one when that has left.
"""

from collections.abc import Sequence

from sysvm.store import tables
from sysvm.store.queries import load_balancers, machines, nics, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.machines import INTERNAL_LB
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address

KIND = "internal_lb"  # of turns; their ids are those of networks
PROVIDER = "InternalLbVm"
OF_NETWORK = "kind = 'router' and network_id = :network and role = :role and removed is null order by id"


def is_provided(tx: Tx, network: Row) -> bool:
    """Whether the network's load balancing is internal."""
    offering = tx.get(tables.network_offering, network.offering_id)
    return offering is not None and is_offered(offering)


def is_offered(offering: Row) -> bool:
    """The same of networks of an offering."""
    return bool(((offering.services or {}).get(load_balancers.SERVICE) or {}).get("provider") == PROVIDER)


def of_network(tx: Tx, network_id: int) -> Sequence[Row]:
    """The machines of a tier that are not yet removed."""
    return tx.rows(tables.machine, OF_NETWORK, network=network_id, role=INTERNAL_LB)


def address_of(tx: Tx, machine: Row) -> str:
    """Where it is reached, in its tier."""
    held = (nic.primary for nic in nics.of_machine(tx, machine.id) if nic.network_id == machine.network_id)
    return next((primary.text for primary in held if primary is not None), "")


def at(tx: Tx, network_id: int, address: bytes) -> Row | None:
    """The machine that has the address and is not on its way out."""
    text = unpack_address(address)
    found = (row for row in of_network(tx, network_id) if row.wanted != "gone")
    return next((row for row in found if address_of(tx, row) == text), None)


def holds(tx: Tx, network_id: int, text: str) -> bool:
    """Whether a machine has the address, be it on its way out."""
    return any(address_of(tx, row) == text for row in of_network(tx, network_id))


def ruled(tx: Tx, network_id: int) -> tuple[frozenset[str], frozenset[str]]:
    """The tier's addresses that have a rule, and those of them whose rules have members."""
    rules = load_balancers.internal_of(tx, network_id)
    of = {row.id: unpack_address(row.source_address) for row in rules}
    members = load_balancers.members(tx, of) if of else ()
    return frozenset(of.values()), frozenset(of[row.rule_id] for row in members)


# ---------------------------------------------------------------- changes
def changed(tx: Tx, rule: Row) -> tuple[Part, ...]:
    """What a rule says has changed: whom it takes to make that true, and what to wait for. A public rule is its network's
    routers' affair. Raises Refused when no machine that serves it can be told anything."""
    if rule.source_address is None:
        machines.need_reachable_router(tx, rule.network_id)
        return machines.wish_documents(tx, rule.network_id)
    machine = at(tx, rule.network_id, rule.source_address)
    if machine is not None:
        machines.need_reachable(tx, [machine])
        return (machines.wish_document(tx, machine.id),) if machine.wanted == "running" else ()
    if unpack_address(rule.source_address) not in ruled(tx, rule.network_id)[1]:
        return ()  # nobody stands behind it yet
    return (Part(KIND, rule.network_id, turns.wish(tx, KIND, rule.network_id), "serving"),)


def removed(tx: Tx, rule: Row) -> tuple[Part, ...]:
    """A rule is no more; of internal ones the machine goes with the last one of its address."""
    if rule.source_address is None or load_balancers.internal_of(tx, rule.network_id, rule.source_address):
        return changed(tx, rule)
    machine = at(tx, rule.network_id, rule.source_address)
    return (machines.want(tx, machine, "gone"),) if machine is not None else ()


def wish_documents(tx: Tx, network_id: int) -> tuple[Part, ...]:
    """Who stands behind the tier's rules has changed."""
    running = (row for row in of_network(tx, network_id) if row.wanted == "running")
    return tuple(machines.wish_document(tx, row.id) for row in running)


def restart(tx: Tx, network_id: int, *, cleanup: bool) -> tuple[Part, ...]:
    """All of a tier's machines run afterwards and do what they shall; with `cleanup` in their next incarnation."""
    found = [row for row in of_network(tx, network_id) if row.wanted != "gone"]
    turns.wish(tx, KIND, network_id)
    if cleanup:
        return tuple(machines.replace(tx, row) for row in found)
    started = tuple(machines.want(tx, row, "running") for row in found if row.wanted == "stopped")
    return started + wish_documents(tx, network_id)
