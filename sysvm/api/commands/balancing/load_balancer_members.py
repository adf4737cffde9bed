"""Members of load balancer rules: guests that stand behind them, and how the router finds them.

A member that leaves gets no new connections and keeps those that it has.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import guests as guest_answers
from sysvm.api.answers import load_balancers as answers
from sysvm.api.call import Call, Reply, Rows
from sysvm.api.commands.balancing.load_balancers import changed, the_rule
from sysvm.api.commands.networks.guest_addresses import guest_address, named_guest
from sysvm.api.commands.owned import is_admin
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.api.rules import load_balancers as judge
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.prepared import rare
from sysvm.store.queries import guests, load_balancers
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address

LIST_KEY = "lbrulevmidip"


@handler("assignToLoadBalancerRule")
def assign_to_load_balancer_rule(call: Call) -> Reply:
    """These guests stand behind the rule, too."""
    row = the_rule(call)
    network = call.tx.get(tables.network, row.network_id)
    assert network is not None
    there = {(each.machine_id, bytes(each.address)) for each in load_balancers.members(call.tx, [row.id])}
    wanted = _wanted(call)
    for uuid, named in wanted.items():
        guest = named_guest(call, uuid, "virtualmachineids")
        for address in dict.fromkeys(guest_address(call.tx, guest, network, each) for each in named or (None,)):
            if (guest.id, address) in there:
                at = unpack_address(address)
                raise Refused(f"VM {uuid} with {at} is already mapped to load balancer {row.uuid}")
            load_balancers.add_member(call.tx, row.id, guest.id, address)
    return changed(call, row, f"applying instances for load balancer: {row.uuid} (ids: {', '.join(wanted)})")


@handler("removeFromLoadBalancerRule")
def remove_from_load_balancer_rule(call: Call) -> Reply:
    """These guests get no new connections."""
    row = the_rule(call)
    there = load_balancers.members(call.tx, [row.id])
    wanted = _wanted(call)
    for uuid, named in wanted.items():
        guest = call.find(tables.machine, uuid, "virtualmachineids")
        own = {unpack_address(each.address): each.id for each in there if each.machine_id == guest.id}
        missing = [each for each in named if each not in own]
        if not own or missing:
            what = f"with {missing[0]} " if missing else ""
            raise Refused(f"VM {uuid} {what}is not mapped to load balancer {row.uuid}")
        load_balancers.remove_members(call.tx, [own[each] for each in named or own])
    return changed(call, row, f"removing instances from load balancer: {row.uuid} (ids: {', '.join(wanted)})")


def _wanted(call: Call) -> dict[str, tuple[str, ...]]:
    return judge.wanted_members(call.get("virtualmachineids") or (), call.get("vmidipmap") or ())


@result("assignToLoadBalancerRule", "removeFromLoadBalancerRule")
def _members_result(tx: Tx, job: Row) -> dict[str, Any]:
    load_balancers.set_active(tx, job.instance_id)
    return {}


# ---------------------------------------------------------------- list
@handler("listLoadBalancerRuleInstances")
def list_load_balancer_rule_instances(call: Call) -> Reply:
    """Guests behind a rule with what the router's checks say of them; with applied=false those that could be."""
    row = the_rule(call)
    addresses: dict[int, list[str]] = {}
    states: dict[int, list[bool]] = {}
    for each in load_balancers.members(call.tx, [row.id]):
        addresses.setdefault(each.machine_id, []).append(unpack_address(each.address))
        if each.up is not None:
            states.setdefault(each.machine_id, []).append(each.up)
    behind = call.get("applied", True)
    shown = {}
    for view in _guests(call, set(addresses) if behind else _others(call.tx, row, set(addresses))):
        id_ = view.machine.row.id
        # One address of several that answers is a service.
        state = answers.service_state(any(states[id_]) if id_ in states else None)
        answer = guest_answers.guest(view, admin=is_admin(call.caller))
        shown[id_] = answer | ({"servicestate": state} if state and behind else {})
    if not call.get("lbvmips"):
        return slice_rows(call, list(shown.values()))
    listed = [{"lbvmipaddresses": addresses.get(id_, []), "loadbalancerruleinstance": answer} for id_, answer in shown.items()]
    page = slice_rows(call, listed)
    return Rows(page.rows, page.count, LIST_KEY)


def _guests(call: Call, ids: set[int]) -> list[guests.GuestView]:
    if not ids:
        return []
    machine = tables.machine.c
    conditions = [rare(machine.id.in_(sorted(ids)))]
    if word := call.get("keyword"):
        conditions.append(rare(machine.display_name.icontains(word, autoescape=True)))
    return guests.views(call.tx, guests.living().rows(call.tx, conditions, limit=None, offset=0))


def _others(tx: Tx, row: Row, members: set[int]) -> set[int]:
    nic, machine = tables.nic.c, tables.machine.c
    found = tx.all(
        sa.select(machine.id)
        .join(tables.nic, nic.machine_id == machine.id)
        .where(
            nic.network_id == row.network_id,
            nic.removed.is_(None),
            machine.kind == "guest",
            machine.account_id == row.account_id,
            machine.destroyed.is_(None),
            machine.removed.is_(None),
        )
    )
    return {each.id for each in found} - members
