"""Internal load balancing, for operators: its provider's element, and the machines that balance in tiers of VPCs.

The machines come and go with rules (commands/tier_load_balancers); here they are listed, started and stopped.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.systemvms import routers as router_commands
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.prepared import Condition, rare
from sysvm.store.queries import machine_rows, machines, routers
from sysvm.store.queries.events import About
from sysvm.store.queries.internal_lbs import PROVIDER
from sysvm.store.store import Row, Tx

ABOUT, VM = "InternalLbVmElement", "InternalLbVm"


def _elements() -> sa.Select[Any]:
    provider = tables.service_provider
    return sa.select(provider).where(provider.c.name == PROVIDER, provider.c.removed.is_(None), provider.c.element_uuid != "")


def _answer(row: Row) -> dict[str, Any]:
    return {"id": row.element_uuid, "nspid": row.uuid, "enabled": bool(row.element_enabled)}


def _element(call: Call) -> Row:
    found = call.tx.one(_elements().where(tables.service_provider.c.element_uuid == call["id"]))
    if found is None:
        raise errors.unknown_entity(call.command.name, "id", call["id"])
    return found


@handler("listInternalLoadBalancerElements")
def list_internal_load_balancer_elements(call: Call) -> Reply:
    """The elements of the physical networks."""
    provider = tables.service_provider.c
    statement = _elements()
    if "enabled" in call:
        statement = statement.where(provider.element_enabled.is_(call["enabled"]))
    if call.get("id"):
        statement = statement.where(provider.element_uuid == call["id"])
    if (of := call.row(tables.service_provider, "nspid")) is not None:
        statement = statement.where(provider.id == of.id)
    return slice_rows(call, [_answer(row) for row in call.tx.all(statement.order_by(provider.id))])


@handler("configureInternalLoadBalancerElement")
def configure_internal_load_balancer_element(call: Call) -> Reply:
    """Switches the element on or off."""
    row = _element(call)
    call.tx.update(tables.service_provider, row.id, element_enabled=call["enabled"])
    about = About(ABOUT, row.id, row.element_uuid, row.name)
    return Accepted((), about, f"Configuring the element of {row.name}")


@handler("createInternalLoadBalancerElement")
def create_internal_load_balancer_element(call: Call) -> Reply:
    """The element of a provider; made with the first call."""
    row = call.need(tables.service_provider, "nspid")
    if row.name != PROVIDER:
        raise Refused(f"The provider {row.name} has no internal load balancer element")
    uuid = row.element_uuid or call.ids.uuid()
    call.tx.update(tables.service_provider, row.id, element_uuid=uuid)
    return Accepted((), About(ABOUT, row.id, uuid, row.name), f"Creating the element of {row.name}")


@result("configureInternalLoadBalancerElement", "createInternalLoadBalancerElement")
def _element_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.service_provider, job.instance_id)
    return _answer(row) if row is not None else {}


# ---------------------------------------------------------------- machines
def the_vm(call: Call) -> Row:
    """The machine that `id` names."""
    row = call.need(tables.machine, "id")
    if row.role != machines.INTERNAL_LB:
        raise Refused(f"Can't find internal lb vm by id {call['id']}")
    return row


@handler("listInternalLoadBalancerVMs")
def list_internal_load_balancer_vms(call: Call) -> Reply:
    """Machines that balance inside tiers of VPCs."""
    return router_commands.page_of(call, routers.internal_balancers(), _filters(call))


def _filters(call: Call) -> list[Condition]:
    vpc_id = tables.network.c.vpc_id
    found: list[Condition] = []
    if "forvpc" in call:
        found.append(rare(vpc_id.is_not(None) if call["forvpc"] else vpc_id.is_(None)))
    if (vpc := call.row(tables.vpc, "vpcid")) is not None:
        found.append(rare(vpc_id == vpc.id))
    return found


@handler("startInternalLoadBalancerVM")
def start_internal_load_balancer_vm(call: Call) -> Reply:
    """Running afterwards, with the rules of its address."""
    row = the_vm(call)
    parts = () if machine_rows.state_of(row) == "Running" else (machines.want(call.tx, row, "running"),)
    return Accepted(parts, call.about(VM, row), f"starting internal lb vm: {row.uuid}")


@handler("stopInternalLoadBalancerVM")
def stop_internal_load_balancer_vm(call: Call) -> Reply:
    """Stopped afterwards; nobody balances at its address, its rules stay."""
    row = the_vm(call)
    stopped = machine_rows.state_of(row) == "Stopped"
    parts = () if stopped else (machines.want(call.tx, row, "stopped", forced=bool(call.get("forced"))),)
    return Accepted(parts, call.about(VM, row), f"stopping internal lb vm: {row.uuid}")


@result("startInternalLoadBalancerVM", "stopInternalLoadBalancerVM")
def _vm_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.machine, job.instance_id)
    assert row is not None
    return router_commands.answer(tx, row, admin=True)
