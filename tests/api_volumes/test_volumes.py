"""Volumes by the API: what is made, attached, detached, grown and deleted; what is refused."""

from typing import Any

import pytest

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_volumes.disks import made, offering, row, volume

GIB = 1 << 30


async def test_a_volume_is_a_row_until_it_is_attached(land: Land):
    found = await volume(land)
    assert ("data", "DATADISK", "Allocated", GIB) == (found["name"], found["type"], found["state"], found["size"])
    assert_row_matches_catalogue("listVolumes", found)
    assert "virtualmachineid" not in found
    ((listed),) = await land.admin("listVolumes", id=found["id"])
    assert found["id"] == listed["id"]


async def test_a_custom_offering_takes_its_size_from_the_call(land: Land):
    custom = await offering(land, 0, name="custom")
    assert 5 * GIB == (await volume(land, diskofferingid=custom, size=5))["size"]
    for params, text in (
        ({"diskofferingid": custom}, "requires size parameter"),
        ({"diskofferingid": await offering(land), "size": 3}, "is not a custom one"),
    ):
        with refusal(431, text):
            await volume(land, **params)
    with refusal(431, "give diskofferingid or snapshotid"):
        await land.admin("createVolume", name="x", zoneid=land.zone)


async def test_limits_count_volumes_and_their_bytes(land: Land):
    user = await land.stage.user("small")
    (account,) = await land.admin("listAccounts", name="small", listall=True)
    domain = account["domainid"]
    await land.admin("updateResourceLimit", resourcetype=10, max=2, account="small", domainid=domain)
    mine = await volume(land, user)
    three = await offering(land, 3)
    with refusal(535, "primary_storage"):
        await volume(land, user, diskofferingid=three)
    with refusal(535, "primary_storage"):
        await user("resizeVolume", id=mine["id"], diskofferingid=three)
    await land.admin("updateResourceLimit", resourcetype=2, max=1, account="small", domainid=domain)
    with refusal(535, "volume"):
        await volume(land, user, diskofferingid=await offering(land, 1, name="again"))


async def test_a_stopped_guest_gets_disks_in_order_and_gives_them_up(land: Land):
    guest = await land.deploy()
    disk = await offering(land)
    ids = [(await volume(land, diskofferingid=disk))["id"] for _ in range(3)]
    devices = [(await land.job("attachVolume", id=id_, virtualmachineid=guest["id"]))["deviceid"] for id_ in ids]
    assert [1, 2, 4] == devices, "3 is the drive"
    (one, *_) = await land.admin("listVolumes", virtualmachineid=guest["id"], type="DATADISK")
    assert (guest["id"], "Stopped") == (one["virtualmachineid"], one["vmstate"])
    with refusal(431, "not attached to any VM"):
        await land.admin("attachVolume", id=ids[0], virtualmachineid=guest["id"])
    free = await land.job("detachVolume", id=ids[0])
    assert "virtualmachineid" not in free
    assert 1 == (await land.job("attachVolume", id=ids[0], virtualmachineid=guest["id"], deviceid=1))["deviceid"]
    await land.job("detachVolume", virtualmachineid=guest["id"], deviceid=2)
    assert [0, 1, 4] == sorted(v["deviceid"] for v in await land.admin("listVolumes", virtualmachineid=guest["id"]))


async def test_a_running_guest_is_told(land: Land):
    guest = await land.deploy()
    await land.set_machine(guest["id"], wanted="running", power="running")
    found = await volume(land)
    for command, params in (
        ("attachVolume", {"id": found["id"], "virtualmachineid": guest["id"]}),
        ("resizeVolume", {"id": found["id"], "diskofferingid": await offering(land, 2)}),
        ("detachVolume", {"id": found["id"]}),
    ):
        if command == "resizeVolume":
            await made(land, found["id"])
        accepted = await land.admin(command, **params)
        assert [("machine", "live")] == await land.open_parts(accepted["jobid"]), command


async def test_a_volume_that_nobody_runs_on_grows_on_its_host(land: Land):
    found = await volume(land, diskofferingid=await offering(land, 0), size=1)
    assert 2 * GIB == (await land.job("resizeVolume", id=found["id"], size=2))["size"], "nothing has been made yet"
    await made(land, found["id"])
    accepted = await land.admin("resizeVolume", id=found["id"], size=4)
    assert [("volume", "ready")] == await land.open_parts(accepted["jobid"])
    assert ("Resizing", 4 * GIB) == ((await row(land, tables.volume, found["id"])).state, 4 * GIB)
    with refusal(431, "should be in ready or allocated state"):
        await land.admin("resizeVolume", id=found["id"], size=5)
    await made(land, found["id"])
    with refusal(431, "volumes can only grow"):
        await land.admin("resizeVolume", id=found["id"], size=3)
    with refusal(431, "give the new size"):
        await land.admin("resizeVolume", id=found["id"])


async def test_what_cannot_be_attached(land: Land):
    user = await land.stage.user("other")
    guest, theirs, mine = (
        await land.deploy(),
        await volume(land, user),
        await volume(land, diskofferingid=await offering(land, 2)),
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"id": theirs["id"]}, "different accounts"),
        ({"id": mine["id"], "deviceid": 0}, "deviceId should be one of"),
        ({"id": mine["id"], "deviceid": 3}, "3 the drive"),
        ({"id": mine["id"], "deviceid": 99}, "deviceId should be one of"),
    ]
    for params, text in cases:
        with refusal(431, text):
            await land.admin("attachVolume", virtualmachineid=guest["id"], **params)
    await land.set_machine(guest["id"], hypervisor="LXC")
    with refusal(534, "A container has no disks"):
        await land.admin("attachVolume", id=mine["id"], virtualmachineid=guest["id"])
    with refusal(431, "root volume stays"):
        (root,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
        await land.admin("detachVolume", id=root["id"])
    for params, text in (
        ({}, "either a volume id, or a tuple"),
        ({"id": mine["id"]}, "is not attached to a VM"),
        ({"virtualmachineid": guest["id"]}, "both deviceid and virtualmachineid"),
        ({"virtualmachineid": guest["id"], "deviceid": 9}, "no volume with device id 9"),
    ):
        with refusal(431, text):
            await land.admin("detachVolume", **params)


async def test_a_volume_on_another_host_says_how_to_get_it_here(land: Land):
    guest, found = await land.deploy(), await volume(land)
    other = await land.cloud.add_host("h2")
    (root,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    host = await row(land, tables.host, other["id"])
    await made(land, root["id"])
    await made(land, found["id"], host_id=host.id)
    with refusal(534, "migrateVolume"):
        await land.admin("attachVolume", id=found["id"], virtualmachineid=guest["id"])


async def test_deleting(land: Land):
    guest, found = await land.deploy(), await volume(land)
    await land.job("attachVolume", id=found["id"], virtualmachineid=guest["id"])
    for command in ("deleteVolume", "destroyVolume"):
        with refusal(431, "not attached to any VM"):
            await land.admin(command, id=found["id"])
    await land.job("detachVolume", id=found["id"])
    await made(land, found["id"])
    await land.admin("deleteVolume", id=found["id"])
    gone = await row(land, tables.volume, found["id"])
    assert ("Expunged", True) == (gone.state, gone.removed is not None)
    assert [gone.id] == await land.cloud.turns("volume")
    second = await volume(land, diskofferingid=await offering(land, 2))
    assert "Expunged" == (await land.job("destroyVolume", id=second["id"], expunge=True))["state"]


async def test_names_and_ids_change(land: Land):
    found = await volume(land)
    changed = await land.job("updateVolume", id=found["id"], name="new", displayvolume=False)
    assert ("new", False) == (changed["name"], changed["displayvolume"])
    assert [] == await land.admin("listVolumes", displayvolume=True)
    with refusal(431, "can't be set"):
        await land.admin("updateVolume", id=found["id"], path="/etc/passwd")


async def test_data_volumes_go_with_their_guest_when_named(land: Land):
    guest, keep, lose = (
        await land.deploy(),
        await volume(land),
        await volume(land, diskofferingid=await offering(land, 2)),
    )
    for one in (keep, lose):
        await land.job("attachVolume", id=one["id"], virtualmachineid=guest["id"])
    (root,) = await land.admin("listVolumes", virtualmachineid=guest["id"], type="ROOT")
    with refusal(431, "names only such"):
        await land.admin("destroyVirtualMachine", id=guest["id"], volumeids=root["id"])
    await land.admin("destroyVirtualMachine", id=guest["id"], volumeids=lose["id"], expunge=True)
    assert {keep["id"], root["id"]} == {one["id"] for one in await land.admin("listVolumes")}


async def test_a_restored_guest_that_has_a_host_gets_its_new_root_there(land: Land):
    guest, data = await land.deploy(), await volume(land)
    await land.job("attachVolume", id=data["id"], virtualmachineid=guest["id"])
    (root,) = await land.admin("listVolumes", virtualmachineid=guest["id"], type="ROOT")
    for one in (root, data):
        await made(land, one["id"])
    await land.job("restoreVirtualMachine", virtualmachineid=guest["id"])
    (fresh,) = await land.admin("listVolumes", virtualmachineid=guest["id"], type="ROOT")
    assert fresh["id"] != root["id"]
    new, old = await row(land, tables.volume, fresh["id"]), await row(land, tables.volume, root["id"])
    assert (new.host_id, True) == (old.host_id, new.host_id is not None)
    assert old.id in await land.cloud.turns("volume"), "its bytes go"


@pytest.mark.parametrize("running", [False, True])
async def test_isos_come_and_go(land: Land, running: bool):
    guest = await land.deploy()
    if running:
        await land.set_machine(guest["id"], wanted="running", power="running")
    (iso,) = await land.admin("registerIso", name="cd", url="http://example.org/cd.iso", zoneid=land.zone)
    with refusal(431, "is not ready in zone"):
        await land.admin("attachIso", id=iso["id"], virtualmachineid=guest["id"])
    await land.cloud.downloaded(iso["id"])
    parts = [("machine", "live")] if running else []
    accepted = await land.admin("attachIso", id=iso["id"], virtualmachineid=guest["id"])
    assert parts == await land.open_parts(accepted["jobid"])
    (shown,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert (iso["id"], "cd") == (shown["isoid"], shown["isoname"])
    await land.admin("detachIso", virtualmachineid=guest["id"])
    with refusal(431, "no ISO attached"):
        await land.admin("detachIso", virtualmachineid=guest["id"])
    with refusal(431, "Invalid parameter id"):
        await land.admin("attachIso", id=land.template["id"], virtualmachineid=guest["id"])
