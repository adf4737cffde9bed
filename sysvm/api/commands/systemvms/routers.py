"""Virtual routers: list, start, stop, reboot, destroy, change of offering.

Routers are made and removed by the turns of their networks; commands here only change what is wanted of one. A stopped
router keeps the rules of its network: they are made true when it starts.
"""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import routers as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.prepared import Condition, Prepared, rare
from sysvm.store.queries import machine_rows, machines, router_health, router_versions, routers
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.router_health import NOTHING
from sysvm.store.store import Row, Tx

ABOUT = "DomainRouter"


def the_router(call: Call, name: str = "id") -> Row:
    """The router that a parameter names."""
    row = call.need(tables.machine, name)
    if row.kind != "router" or row.role == machines.INTERNAL_LB:
        raise Refused(f"Unable to find router by id {call[name]}")
    return row


def answer(tx: Tx, row: Row, *, admin: bool) -> dict[str, Any]:
    """One router, whatever became of it."""
    view = routers.one(tx, row.id)
    assert view is not None
    found = router_health.of(tx, [row.id]).get(row.id, NOTHING)
    return answers.router(view, admin=admin, minimum_version=router_versions.minimum(tx, row.zone_id), health=found)


@handler("listRouters")
def list_routers(call: Call) -> Reply:
    """Routers of networks; hosts and control addresses only for administrators."""
    return page_of(call, routers.living(), _filters(call))


def page_of(call: Call, statement: Prepared, conditions: Sequence[Condition]) -> Rows:
    """The page of machines of kind router that the caller asks for and may see."""
    machine = tables.machine.c
    admin = call.caller.is_root or call.caller.role_type == "ResourceAdmin"
    with_results = bool(call.get("fetchhealthcheckresults"))

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        views = routers.views(tx, found)
        minimum = {zone_id: router_versions.minimum(tx, zone_id) for zone_id in {view.row.zone_id for view in views}}
        health = (router_health.of if with_results else router_health.counts)(tx, [row.id for row in found])
        shown = []
        for view in views:
            checked = health.get(view.row.id, NOTHING)
            row = answers.router(view, admin=admin, minimum_version=minimum[view.row.zone_id], health=checked)
            shown.append({**row, "healthcheckresults": answers.checks(checked)} if with_results else row)
        return shown

    return list_rows(
        call,
        statement,
        tables.machine,
        rows,
        where=conditions,
        equal={"name": machine.name, "state": machine_rows.state_column},
        refs={
            "zoneid": (tables.zone, machine.zone_id),
            "podid": (tables.pod, tables.host.c.pod_id),
            "clusterid": (tables.cluster, tables.host.c.cluster_id),
            "hostid": (tables.host, machine.host_id),
            "networkid": (tables.network, machine.network_id),
        },
        keyword=(machine.name, machine.display_name),
    )


def _filters(call: Call) -> list[Condition]:
    machine = tables.machine.c
    found: list[Condition] = []
    if call.get("version"):
        found.append(rare(machine.template_version.startswith(call["version"], autoescape=True)))
    if "forvpc" in call:
        found.append(rare(machine.vpc_id.is_not(None) if call["forvpc"] else machine.vpc_id.is_(None)))
    if "healthchecksfailed" in call:
        failing = router_health.failing()
        found.append(rare(machine.id.in_(failing) if call["healthchecksfailed"] else machine.id.not_in(failing)))
    if (vpc := call.row(tables.vpc, "vpcid")) is not None:
        found.append(rare(machine.vpc_id == vpc.id))
    return found


def _accepted(call: Call, row: Row, what: str, *parts: Part) -> Accepted:
    return Accepted(parts, call.about(ABOUT, row), f"{what} router Vm Id: {row.uuid}")


@handler("startRouter")
def start_router(call: Call) -> Reply:
    """Running afterwards; at once when it runs already."""
    row = the_router(call)
    if machine_rows.state_of(row) == "Running":
        return _accepted(call, row, "starting")
    return _accepted(call, row, "starting", machines.want(call.tx, row, "running"))


@handler("stopRouter")
def stop_router(call: Call) -> Reply:
    """Stopped afterwards; guests are without its services, rules stay."""
    row = the_router(call)
    if machine_rows.state_of(row) == "Stopped":
        return _accepted(call, row, "stopping")
    return _accepted(call, row, "stopping", machines.want(call.tx, row, "stopped", forced=bool(call.get("forced"))))


@handler("rebootRouter")
def reboot_router(call: Call) -> Reply:
    """A new incarnation with the same addresses."""
    row = the_router(call)
    state = machine_rows.state_of(row)
    if state != "Running":
        raise Refused(f"Unable to reboot domR, it is not in right state {state}", Why.UNAVAILABLE)
    return _accepted(call, row, "rebooting", machines.replace(call.tx, row, forced=bool(call.get("forced"))))


@handler("destroyRouter")
def destroy_router(call: Call) -> Reply:
    """Gone afterwards. Its network gets another one with restartNetwork or its next guest."""
    row = the_router(call)
    return _accepted(call, row, "destroying", machines.want(call.tx, row, "gone", forced=True))


@result("startRouter", "stopRouter", "rebootRouter", "destroyRouter")
def _router_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.machine, job.instance_id)
    assert row is not None
    return answer(tx, row, admin=True)


# ---------------------------------------------------------------- offering
@handler("changeServiceForRouter")
def change_service_for_router(call: Call) -> Reply:
    """Another system offering; it works from the next start."""
    row = the_router(call)
    change_offering(call, row, "domainrouter")
    return One(answer(call.tx, row, admin=True), call.about(ABOUT, row), f"changing offering of router {row.name}")


def offering_type(row: Row) -> str:
    """For which kind of system VM the offerings of a router are."""
    return "internalloadbalancervm" if row.role == machines.INTERNAL_LB else "domainrouter"


def system_offering(call: Call, row: Row, type_: str) -> Row:
    """The system offering that a call names, if this kind of machine may have it."""
    offering = call.need(tables.service_offering, "serviceofferingid")
    if not offering.is_system:
        raise Refused(f"Service offering {offering.name} is not a system offering; system VMs need one")
    if offering.system_vm_type and offering.system_vm_type.lower() != type_:
        raise Refused(f"Service offering {offering.name} is for a {offering.system_vm_type}, not for a {type_}")
    current = call.tx.get(tables.service_offering, row.service_offering_id)
    if current is not None and current.storage_type != offering.storage_type:
        raise Refused(
            f"Unable to change offering: {current.name} uses {current.storage_type} storage,"
            f" {offering.name} uses {offering.storage_type} storage"
        )
    return offering


def change_offering(call: Call, row: Row, type_: str) -> None:
    """Gives a stopped system VM another offering."""
    offering = system_offering(call, row, type_)
    if offering.id == row.service_offering_id:
        return
    state = machine_rows.state_of(row)
    if state != "Stopped":
        raise Refused(f"Unable to upgrade {row.name} to another offering in state {state}; it must be Stopped")
    call.tx.update(tables.machine, row.id, service_offering_id=offering.id)
