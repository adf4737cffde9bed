"""Snapshots of whole guests: create, list, delete, revert.

As in CloudStack a running guest goes back to its memory, a stopped one to its disks: going back changes nothing but what the
guest holds. While a guest has some it keeps its volumes, and its devices where one has its memory (`need_none`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sysvm.api.answers import vm_snapshots as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.guests import guests
from sysvm.api.commands.owned import is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import volumes as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machine_rows, settings, vm_snapshots, volumes
from sysvm.store.store import Row, Tx

ABOUT = "VMSnapshot"


def need_none(tx: Tx, machine_id: int, what: str, *, memory: bool = False) -> None:
    """Refused while the guest has snapshots (`memory`: some with its memory) that `what` would spoil, or is under way."""
    machine = tx.get(tables.machine, machine_id)
    if machine is not None and machine.migrate_host_id is not None:
        raise Refused(f"Unable to {what}: the VM is being migrated to another host; wait for that", Why.IN_USE)
    found = [row for row in vm_snapshots.of_machine(tx, machine_id) if not memory or row.kind == vm_snapshots.MEMORY]
    if found:
        raise Refused(
            f"Unable to {what}: the VM has VM snapshots, such as {found[0].display_name or found[0].name}; delete them"
            " with deleteVMSnapshot",
            Why.IN_USE,
        )


@handler("listVMSnapshot")
def list_vm_snapshots(call: Call) -> Reply:
    """Those that the caller may see."""
    snapshot = tables.vm_snapshot.c

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.vm_snapshot(row) for row in found]

    statement = vm_snapshots.statement()
    if call.get("vmsnapshotid"):
        statement = statement.where(snapshot.uuid == call["vmsnapshotid"])
    if call.get("vmsnapshotids"):
        statement = statement.where(snapshot.uuid.in_(call["vmsnapshotids"]))
    return list_rows(
        call,
        statement,
        tables.vm_snapshot,
        rows,
        equal={"name": snapshot.display_name, "state": snapshot.state},
        refs={"virtualmachineid": (tables.machine, snapshot.machine_id)},
        keyword=(snapshot.display_name,),
    )


# ---------------------------------------------------------------- create
@handler("createVMSnapshot")
def create_vm_snapshot(call: Call) -> Reply:
    """What the guest's volumes, and where wanted its memory, hold now."""
    guest = guests.the_guest(call, "virtualmachineid")
    disks = _check(call, guest)
    memory = bool(call.get("snapshotmemory"))
    if memory and machine_rows.state_of(guest) != "Running":
        raise Refused("Can not snapshot memory when VM is not in Running state")
    last = vm_snapshots.current(call.tx, guest.id)
    name = f"{guest.name}_VS_{datetime.fromtimestamp(call.now, UTC):%Y%m%d%H%M%S}"
    id_ = call.tx.insert(
        tables.vm_snapshot,
        uuid=call.ids.uuid(),
        name=name,
        display_name=(call.get("name") or name)[:255],
        description=(call.get("description") or "")[:255],
        kind=vm_snapshots.MEMORY if memory else vm_snapshots.DISK,
        zone_id=guest.zone_id,
        machine_id=guest.id,
        parent_id=last.id if last is not None else None,
        quiesce=bool(call.get("quiescevm")),
        volumes=[disk.id for disk in disks],
        account_id=guest.account_id,
        domain_id=guest.domain_id,
        domain_path=guest.domain_path,
        created=call.now,
    )
    row = call.tx.get(tables.vm_snapshot, id_)
    assert row is not None
    part = vm_snapshots.want(call.tx, id_)
    return Accepted((part,), call.about(ABOUT, row), f"creating snapshot for VM: {guest.uuid}")


def _check(call: Call, guest: Row) -> Sequence[Row]:
    state = machine_rows.state_of(guest)
    if state not in rules.QUIET:
        raise Refused(f"Creating vm snapshot failed due to VM:{guest.uuid} is not in the running or Stopped state")
    if guest.hypervisor == "LXC":
        raise Refused("The volume of a container is a folder of its host and remembers nothing", Why.UNAVAILABLE)
    there = vm_snapshots.of_machine(call.tx, guest.id)
    if len(there) >= (most := int(settings.value(call.tx, "vmsnapshot.max"))):
        raise Refused(f"Creating vm snapshot failed due to a VM can just have : {most} VM snapshots. Please delete old ones")
    if any(row.state in vm_snapshots.UNDER_WAY for row in there):
        raise Refused("There is other active vm snapshot tasks on the instance, please try again later", Why.IN_USE)
    disks = volumes.of_machine(call.tx, guest.id)
    if why := vm_snapshots.why_not_still(call.tx, guest.id):
        raise Refused(f"Creating vm snapshot failed: {why}; please try again later", Why.IN_USE)
    return disks


@result("createVMSnapshot")
def _created(tx: Tx, job: Row) -> dict[str, Any]:
    return answers.vm_snapshot(vm_snapshots.one(tx, job.instance_id))


# ---------------------------------------------------------------- delete, revert
@handler("deleteVMSnapshot")
def delete_vm_snapshot(call: Call) -> Reply:
    """It is gone at once; the job ends when the volumes have forgotten it."""
    row = call.need(tables.vm_snapshot, "vmsnapshotid")
    if row.state in ("Creating", "Clearing", "Reverting"):
        raise Refused(f"Can't delete the vm snapshot {row.uuid} due to it is not in Ready or Error state", Why.IN_USE)
    part = vm_snapshots.drop(call.tx, row)
    return Accepted((part,), call.about(ABOUT, row), f"Delete VM snapshot: {row.uuid}")


@handler("revertToVMSnapshot")
def revert_to_vm_snapshot(call: Call) -> Reply:
    """The guest is again what it was then."""
    row = call.need(tables.vm_snapshot, "vmsnapshotid")
    guest = call.tx.get(tables.machine, row.machine_id)
    assert guest is not None
    if row.state != "Ready":
        raise Refused(f"VM Snapshot reverting failed due to vmSnapshot is not in Ready state but {row.state}")
    if any(other.state in vm_snapshots.UNDER_WAY for other in vm_snapshots.of_machine(call.tx, guest.id)):
        raise Refused("There is other active vm snapshot tasks on the instance, please try again later", Why.IN_USE)
    wanted = "Running" if row.kind == vm_snapshots.MEMORY else "Stopped"
    if machine_rows.state_of(guest) != wanted:
        raise Refused(
            "VM Snapshot revert not allowed. This will result in VM state change. You can revert running VM to disk and"
            " memory type snapshot and stopped VM to disk type snapshot"
        )
    if why := vm_snapshots.why_not_still(call.tx, guest.id):
        raise Refused(f"VM Snapshot reverting failed: {why}; please try again later", Why.IN_USE)
    call.tx.update(tables.vm_snapshot, row.id, state="Reverting", note="")
    part = vm_snapshots.want(call.tx, row.id)
    return Accepted((part,), call.about(guests.ABOUT, guest), f"Revert from VM snapshot: {row.uuid}")


@result("revertToVMSnapshot")
def _reverted(tx: Tx, job: Row) -> dict[str, Any]:
    return guests.answer(tx, job.instance_id, admin=is_admins(tx, job))
