"""Snapshots of whole guests by the API: rows, wishes, who may go back to what, and what a guest with some keeps."""

from typing import Any

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_volumes.disks import made, volume


async def a_guest(land: Land, power: str) -> str:
    """A guest whose root is there."""
    guest = await land.deploy()
    await land.set_machine(guest["id"], wanted=power, power=power)
    (root,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    await made(land, root["id"])
    return str(guest["id"])


async def kept(land: Land, guest: str, **params: Any) -> str:
    """One that is there; its id."""
    accepted = await land.admin("createVMSnapshot", virtualmachineid=guest, **params)
    assert [("vmsnapshot", "ready")] == await land.open_parts(accepted["jobid"])
    await land.cloud.change(tables.vm_snapshot, accepted["id"], state="Ready", current=True)
    return str(accepted["id"])


async def test_it_is_wished_listed_and_deleted(land: Land):
    guest = await a_guest(land, "running")
    first = await kept(land, guest, name="before", description="the update", snapshotmemory=True)
    (shown,) = await land.admin("listVMSnapshot", virtualmachineid=guest)
    assert ("before", "the update", "Ready", "DiskAndMemory", True) == (
        shown["displayname"], shown["description"], shown["state"], shown["type"], shown["current"],
    )  # fmt: skip
    assert_row_matches_catalogue("listVMSnapshot", shown)
    await land.cloud.change(tables.vm_snapshot, first, current=True)
    second = await kept(land, guest)
    (shown,) = await land.admin("listVMSnapshot", vmsnapshotid=second)
    assert (first, "before", "Disk") == (shown["parent"], shown["parentName"], shown["type"])
    accepted = await land.admin("deleteVMSnapshot", vmsnapshotid=first)
    assert [("vmsnapshot", "gone")] == await land.open_parts(accepted["jobid"])
    (shown,) = await land.admin("listVMSnapshot")
    assert (second, None) == (shown["id"], shown.get("parent"))


async def test_a_guest_goes_back_to_what_it_is(land: Land):
    """A running one to its memory, a stopped one to its disks."""
    guest = await a_guest(land, "running")
    memory, disk = await kept(land, guest, snapshotmemory=True), await kept(land, guest)
    with refusal(431, "VM Snapshot revert not allowed"):
        await land.admin("revertToVMSnapshot", vmsnapshotid=disk)
    accepted = await land.admin("revertToVMSnapshot", vmsnapshotid=memory)
    assert [("vmsnapshot", "ready")] == await land.open_parts(accepted["jobid"])
    with refusal(431, "not in Ready state but Reverting"):
        await land.admin("revertToVMSnapshot", vmsnapshotid=memory)
    with refusal(536, "other active vm snapshot tasks"):
        await land.admin("createVMSnapshot", virtualmachineid=guest)
    await land.cloud.change(tables.vm_snapshot, memory, state="Ready")
    await land.set_machine(guest, wanted="stopped", power="stopped")
    with refusal(431, "VM Snapshot revert not allowed"):
        await land.admin("revertToVMSnapshot", vmsnapshotid=memory)
    await land.admin("revertToVMSnapshot", vmsnapshotid=disk)


async def test_what_cannot_be_kept(land: Land):
    guest = await a_guest(land, "stopped")
    with refusal(431, "Can not snapshot memory"):
        await land.admin("createVMSnapshot", virtualmachineid=guest, snapshotmemory=True)
    (root,) = await land.admin("listVolumes", virtualmachineid=guest)
    await made(land, root["id"], state="Resizing")
    with refusal(536, "is Resizing"):
        await land.admin("createVMSnapshot", virtualmachineid=guest)
    await made(land, root["id"])
    await land.admin("updateConfiguration", name="vmsnapshot.max", value="1")
    await kept(land, guest)
    with refusal(431, "just have : 1 VM snapshots"):
        await land.admin("createVMSnapshot", virtualmachineid=guest)
    await land.set_machine(guest, hypervisor="LXC")
    with refusal(534, "remembers nothing"):
        await land.admin("createVMSnapshot", virtualmachineid=guest)


async def test_a_guest_with_some_keeps_its_volumes(land: Land):
    guest, disk = await a_guest(land, "stopped"), await volume(land)
    (root,) = await land.admin("listVolumes", virtualmachineid=guest)
    await kept(land, guest)
    for command, params in (
        ("attachVolume", {"id": disk["id"], "virtualmachineid": guest}),
        ("resizeVolume", {"id": root["id"], "size": 90}),
    ):
        with refusal(536, "deleteVMSnapshot"):
            await land.admin(command, **params)
    parts = (await land.admin("destroyVirtualMachine", id=guest, expunge=True))["jobid"]
    assert await land.open_parts(parts)
    assert [] == await land.admin("listVMSnapshot", listall=True)
