"""Internal load balancing: its provider's element can be named and switched; machines of it there are none."""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx

PROVIDER = "InternalLbVm"
ABOUT = "InternalLbVmElement"


def _elements() -> sa.Select[Any]:
    provider = tables.service_provider
    return sa.select(provider).where(
        provider.c.name == PROVIDER, provider.c.removed.is_(None), provider.c.element_uuid != ""
    )


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


@handler("listInternalLoadBalancerVMs")
def list_internal_load_balancer_vms(call: Call) -> Reply:
    """There are none."""
    return Rows([], 0)


@handler("startInternalLoadBalancerVM")
@handler("stopInternalLoadBalancerVM")
def refuse_internal_load_balancer_vm(call: Call) -> Reply:
    """There is no such machine."""
    raise Refused(f"Can't find internal lb vm by id {call['id']}")
