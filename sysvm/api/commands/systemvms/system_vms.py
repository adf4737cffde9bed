"""Console proxies and secondary storage VMs: list, start, stop, reboot, destroy, patch, scale, move.

They are made by their zone's turn, which also starts a stopped one again and replaces a destroyed one; hence each change
here stirs it. Moving works on routers, too.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import system_vms as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows
from sysvm.api.commands.systemvms import routers as router_commands
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, fetch
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.prepared import Condition, equals, rare
from sysvm.store.queries import consoles, machine_rows, machines, routers, system_vms, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.routers import MachineView
from sysvm.store.store import Row, Tx

ABOUT = "SystemVm"
WORDS = {"consoleproxy": "console proxy", "secstorage": "secondary storage"}


def the_system_vm(call: Call, name: str = "id", *, also_routers: bool = False) -> Row:
    """The console proxy or secondary storage VM that a parameter names."""
    row = call.need(tables.machine, name)
    if row.kind not in WORDS and not (also_routers and row.kind == "router"):
        raise Refused(f"Unable to find a system vm: {call[name]}")
    return row


def answer(tx: Tx, machine_id: int) -> dict[str, Any]:
    """One of them, whatever became of it; a router as a router."""
    view = routers.one(tx, machine_id)
    assert view is not None
    if view.row.kind == "router":
        return router_commands.answer(tx, view.row, admin=True)
    return _answer(tx, view)


@handler("listSystemVms")
def list_system_vms(call: Call) -> Reply:
    """All of the cloud: they belong to nobody but it."""
    rows, count = fetch(call, system_vms.living(), _filters(call))
    return Rows(_answers(call.tx, rows), count)


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [_answer(tx, view) for view in routers.views(tx, rows)]


def _answer(tx: Tx, view: MachineView) -> dict[str, Any]:
    far = consoles.round_trip_ms(tx, view.row.id) if view.row.kind == "consoleproxy" else None
    return answers.system_vm(view, far)


def _filters(call: Call) -> list[Condition]:
    machine = tables.machine.c
    found: list[Condition] = []
    if (of := call.row(tables.machine, "id")) is not None:
        found.append(equals("id", machine.id, of.id))
    if call.get("name"):
        found.append(equals("name", machine.name, call["name"]))
    if call.get("state"):
        found.append(equals("state", machine_rows.state_column, call["state"]))
    if kind := call.get("systemvmtype"):
        found.append(equals("systemvmtype", machine.kind, system_vms.KINDS.get(kind.lower(), kind)))
    for name, table, column in (
        ("zoneid", tables.zone, machine.zone_id),
        ("podid", tables.pod, tables.host.c.pod_id),
        ("hostid", tables.host, machine.host_id),
    ):
        if (of := call.row(table, name)) is not None:
            found.append(equals(name, column, of.id))
    if call.get("storageid"):
        found.append(rare(sa.false()))  # their root is the template itself, on no primary storage
    if word := call.get("keyword"):
        found.append(rare(contains(machine.name, word)))
    return found


def _accepted(call: Call, row: Row, what: str, *parts: Part) -> Accepted:
    word = WORDS.get(row.kind, "router")
    event = call.command.event
    if row.kind == "secstorage":
        event = event.replace("PROXY.", "SSVM.")
    return Accepted(parts, call.about(ABOUT, row), f"{what} {word} Vm Id: {row.uuid}", event=event)


@handler("startSystemVm")
def start_system_vm(call: Call) -> Reply:
    """Running afterwards."""
    row = the_system_vm(call)
    if machine_rows.state_of(row) == "Running":
        return _accepted(call, row, "starting")
    return _accepted(call, row, "starting", machines.want(call.tx, row, "running"))


@handler("stopSystemVm")
def stop_system_vm(call: Call) -> Reply:
    """Stopped afterwards; its zone starts it again unless a setting forbids it."""
    row = the_system_vm(call)
    if machine_rows.state_of(row) == "Stopped":
        return _accepted(call, row, "stopping")
    part = machines.want(call.tx, row, "stopped", forced=bool(call.get("forced")))
    turns.wish(call.tx, "zone", row.zone_id)
    return _accepted(call, row, "stopping", part)


@handler("rebootSystemVm")
def reboot_system_vm(call: Call) -> Reply:
    """Running: a new incarnation with the same addresses. Stopped: started."""
    row = the_system_vm(call)
    if machine_rows.state_of(row) == "Running":
        part = machines.replace(call.tx, row, forced=bool(call.get("forced")))
    else:
        part = machines.want(call.tx, row, "running")
    return _accepted(call, row, "rebooting", part)


@handler("destroySystemVm")
def destroy_system_vm(call: Call) -> Reply:
    """Gone afterwards; its zone makes another one with a new id."""
    row = the_system_vm(call)
    part = machines.want(call.tx, row, "gone")
    turns.wish(call.tx, "zone", row.zone_id)
    return _accepted(call, row, "destroying", part)


@handler("patchSystemVm")
def patch_system_vm(call: Call) -> Reply:
    """Replaced in place: an incarnation with the present template and agent."""
    if not call.get("id"):
        raise Refused("Please provide a valid ID of a system VM to be patched")
    row = call.need(tables.machine, "id")
    if row.kind not in WORDS:
        raise Refused("patchSystemVm API can be used to patch CPVM / SSVM only.")
    state = machine_rows.state_of(row)
    if state != "Running":
        raise Refused(
            f"Unable to patch SystemVM: {row.name} as it is not in Running state. Please destroy and recreate the SystemVM."
        )
    part = machines.replace(call.tx, row, forced=bool(call.get("forced")))
    return _accepted(call, row, "patching", part)


@result("migrateSystemVm")
def _moved(tx: Tx, job: Row) -> dict[str, Any]:
    tx.update(tables.machine, job.instance_id, wanted_host_id=None)  # it is there: from now on any host is as good
    return answer(tx, job.instance_id)


@result("startSystemVm", "stopSystemVm", "rebootSystemVm", "destroySystemVm", "scaleSystemVm")
def _system_vm_result(tx: Tx, job: Row) -> dict[str, Any]:
    return answer(tx, job.instance_id)


# ---------------------------------------------------------------- offering
@handler("changeServiceForSystemVm")
def change_service_for_system_vm(call: Call) -> Reply:
    """Another system offering for a stopped one."""
    row = the_system_vm(call)
    router_commands.change_offering(call, row, system_vms.api_type(row.kind))
    return One(answer(call.tx, row.id), call.about(ABOUT, row), f"changing offering of {row.name}")


@handler("scaleSystemVm")
def scale_system_vm(call: Call) -> Reply:
    """Another system offering, also while it runs: then upwards only, and with a new incarnation."""
    row = the_system_vm(call, also_routers=True)
    type_ = router_commands.offering_type(row) if row.kind == "router" else system_vms.api_type(row.kind)
    if machine_rows.state_of(row) != "Running":
        router_commands.change_offering(call, row, type_)
        return _accepted(call, row, "scaling")
    offering = router_commands.system_offering(call, row, type_)
    if offering.id == row.service_offering_id:
        return _accepted(call, row, "scaling")
    _refuse_shrinking(call.tx, row, offering)
    call.tx.update(tables.machine, row.id, service_offering_id=offering.id)
    return _accepted(call, row, "scaling", machines.replace(call.tx, row))


def _refuse_shrinking(tx: Tx, row: Row, offering: Row) -> None:
    current = tx.get(tables.service_offering, row.service_offering_id)
    assert current is not None
    if not (current.dynamic_scaling and offering.dynamic_scaling):
        raise Refused("Unable to scale a running vm: dynamic scaling is off in one of the offerings; stop it first")
    for name, word in (("cpus", "CPU cores"), ("cpu_mhz", "CPU speed"), ("memory_mb", "memory")):
        if (getattr(offering, name) or 0) < (getattr(current, name) or 0):
            raise Refused(f"Only scaling up the vm is supported while it runs; {offering.name} has less {word}")


# ---------------------------------------------------------------- moving
@handler("migrateSystemVm")
def migrate_system_vm(call: Call) -> Reply:
    """Its next incarnation runs on another host."""
    row = the_system_vm(call, "virtualmachineid", also_routers=True)
    if call.get("hostid") and call.get("storageid"):
        raise Refused("Only one of hostId and storageId can be specified")
    if not (call.get("hostid") or call.get("storageid") or call.get("autoselect")):
        raise Refused("Please specify a host or storage as destination, or pass 'autoselect=true' to choose a host")
    if call.get("storageid"):
        raise Refused("A system VM has no volume on primary storage that could be migrated; give a host")
    state = machine_rows.state_of(row)
    if state != "Running":
        raise Refused(f"Unable to migrate {row.name}: it is {state}, it must be Running")
    host = call.row(tables.host, "hostid") or other_host(call.tx, row)
    _check_target(row, host)
    part = machines.replace(call.tx, row, host_id=host.id)
    return _accepted(call, row, "migrating", part)


def other_host(tx: Tx, row: Row) -> Row:
    """The host of the machine's zone with the fewest machines that is not its own; refused when there is none."""
    host, machine = tables.host, tables.machine
    busy = sa.select(sa.func.count()).where(machine.c.host_id == host.c.id, machine.c.removed.is_(None)).scalar_subquery()
    found = tx.one(
        sa.select(host)
        .where(
            host.c.zone_id == row.zone_id,
            host.c.removed.is_(None),
            host.c.state == "Up",
            host.c.resource_state == "Enabled",
            host.c.id != row.host_id,
        )
        .order_by(busy, host.c.id)
        .limit(1)
    )
    if found is None:
        raise Refused(f"Unable to find another host for {row.name} in its zone", Why.CAPACITY)
    return found


def _check_target(row: Row, host: Row) -> None:
    if host.zone_id != row.zone_id:
        raise Refused(f"Host {host.name} is in another zone than {row.name}")
    if host.id == row.host_id:
        raise Refused(f"Cannot migrate {row.name}, it is already on host {host.name}")
    if host.state != "Up" or host.resource_state != "Enabled":
        raise Refused(f"Cannot migrate {row.name}: host {host.name} is {host.state}, {host.resource_state}")


@handler("listSystemVmsUsageHistory")
def list_system_vms_usage_history(call: Call) -> Reply:
    """No history of their usage is kept."""
    return Rows([], 0)
