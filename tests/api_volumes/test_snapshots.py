"""Snapshots, policies and private templates by the API: rows, wishes and refusals. What becomes of them is the simulation's."""

from typing import Any

import pytest

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_volumes.disks import backed_up, made, offering, row, volume

GIB = 1 << 30


async def snapshot(land: Land, volume_id: str, **params: Any) -> dict[str, Any]:
    """One that is on the store."""
    found = dict(await land.job("createSnapshot", volumeid=volume_id, **params))
    await backed_up(land, found["id"])
    return found


async def test_a_snapshot_is_wished_and_listed(land: Land):
    disk = await volume(land)
    with refusal(431, "is not in Ready state but Allocated"):
        await land.admin("createSnapshot", volumeid=disk["id"])
    await made(land, disk["id"])
    accepted = await land.admin("createSnapshot", volumeid=disk["id"], name="one", tags__0__key="a", tags__0__value="b")
    assert [("snapshot", "ready")] == await land.open_parts(accepted["jobid"])
    (found,) = await land.admin("listSnapshots", volumeid=disk["id"])
    assert (accepted["id"], "one", "Allocated", "MANUAL", False) == (
        found["id"], found["name"], found["state"], found["snapshottype"], found["revertable"],
    )  # fmt: skip
    assert [("a", "b")] == [(tag["key"], tag["value"]) for tag in found["tags"]]
    await backed_up(land, found["id"])
    (found,) = await land.admin("listSnapshots", snapshottype="manual", keyword="on")
    assert ("BackedUp", True, 1 << 20, GIB) == (
        found["state"], found["revertable"], found["physicalsize"], found["virtualsize"],
    )  # fmt: skip
    assert_row_matches_catalogue("listSnapshots", found)
    assert [] == await land.admin("listSnapshots", intervaltype="DAILY")
    await land.admin("createSnapshot", volumeid=disk["id"])
    with refusal(536, "is being made of the volume"):
        await land.admin("deleteVolume", id=disk["id"])


async def test_a_store_with_a_snapshot_is_kept(land: Land):
    """Also one that nobody sees any more, until its bytes are gone."""
    disk = await volume(land)
    await made(land, disk["id"])
    (store,) = await land.admin("listImageStores")
    found = await snapshot(land, disk["id"])
    await land.cloud.change(tables.snapshot, found["id"], store_id=(await row(land, tables.image_store, store["id"])).id)
    for removed in (None, 1.0):
        await land.cloud.change(tables.snapshot, found["id"], removed=removed)
        with refusal(536, "there are 1 snapshots on it"):
            await land.admin("deleteImageStore", id=store["id"])
    await land.cloud.change(tables.snapshot, found["id"], stored=False)
    assert {"success": True} == await land.admin("deleteImageStore", id=store["id"])


async def test_limits_count_snapshots(land: Land):
    user = await land.stage.user("small")
    (account,) = await land.admin("listAccounts", name="small", listall=True)
    await land.admin("updateResourceLimit", resourcetype=3, max=1, account="small", domainid=account["domainid"])
    disk = await volume(land, user)
    await made(land, disk["id"])
    await land.job("createSnapshot", who=user, volumeid=disk["id"])
    with refusal(535, "snapshot"):
        await user("createSnapshot", volumeid=disk["id"])
    (account,) = await land.admin("listAccounts", name="small", listall=True)
    assert (1, "1") == (account["snapshottotal"], account["snapshotlimit"])


async def test_a_deleted_snapshot_is_seen_no_more_and_its_turn_clears_up(land: Land):
    disk = await volume(land)
    await made(land, disk["id"])
    found = await snapshot(land, disk["id"])
    accepted = await land.admin("deleteSnapshot", id=found["id"])
    assert [("snapshot", "gone")] == await land.open_parts(accepted["jobid"])
    assert [] == await land.admin("listSnapshots")
    with refusal(431, "Invalid parameter id"):
        await land.admin("deleteSnapshot", id=found["id"])


async def test_volumes_and_snapshots_go_with_their_account(land: Land):
    """Nobody could see them any more, and their bytes would stay."""
    user = await land.stage.user("leaving")
    disk = await volume(land, user)
    await made(land, disk["id"])
    found = dict(await land.job("createSnapshot", who=user, volumeid=disk["id"]))
    await backed_up(land, found["id"])
    (account,) = await land.admin("listAccounts", name="leaving", listall=True)
    accepted = await land.admin("deleteAccount", id=account["id"])
    assert [("snapshot", "gone")] == await land.open_parts(accepted["jobid"])
    assert [] == await land.admin("listVolumes", listall=True)
    assert [] == await land.admin("listSnapshots", listall=True)
    assert "Expunged" == (await row(land, tables.volume, disk["id"])).state


async def test_reverting_needs_a_stopped_guest(land: Land):
    guest, disk = await land.deploy(), await volume(land)
    await made(land, disk["id"])
    await land.job("attachVolume", id=disk["id"], virtualmachineid=guest["id"])
    found = await snapshot(land, disk["id"])
    await land.set_machine(guest["id"], wanted="running", power="running")
    with refusal(431, "not in the shutdown state"):
        await land.admin("revertSnapshot", id=found["id"])
    await land.set_machine(guest["id"], wanted="stopped", power="stopped")
    accepted = await land.admin("revertSnapshot", id=found["id"])
    assert [("volume", "ready")] == await land.open_parts(accepted["jobid"])
    assert "RevertSnapshotting" == (await row(land, tables.volume, disk["id"])).state
    for command, params, text in (
        ("revertSnapshot", {"id": found["id"]}, "must be Ready"),
        ("createSnapshot", {"volumeid": disk["id"]}, "Cannot take snapshot"),
    ):
        with refusal(431, text):
            await land.admin(command, **params)


async def test_a_volume_is_made_of_a_snapshot_where_it_will_be_needed(land: Land):
    guest, disk = await land.deploy(), await volume(land)
    await made(land, disk["id"])
    found = dict(await land.job("createSnapshot", volumeid=disk["id"]))
    with refusal(431, "is not in BackedUp state yet"):
        await land.admin("createVolume", name="copy", snapshotid=found["id"])
    await backed_up(land, found["id"])
    await land.cloud.change(tables.host, (await row(land, tables.host, land.cloud.host["id"])).uuid, state="Up")
    accepted = await land.admin("createVolume", name="copy", snapshotid=found["id"])
    assert [("volume", "ready")] == await land.open_parts(accepted["jobid"])
    copy = await row(land, tables.volume, accepted["id"])
    assert ("Creating", GIB) == (copy.state, copy.size_bytes)
    (shown,) = await land.admin("listVolumes", id=accepted["id"])
    assert found["id"] == shown["snapshotid"]
    with refusal(431, "must be Allocated, Ready or Uploaded"):
        await land.admin("attachVolume", id=accepted["id"], virtualmachineid=guest["id"])
    accepted = await land.admin("createVolume", name="plugged", snapshotid=found["id"], virtualmachineid=guest["id"])
    plugged = await row(land, tables.volume, accepted["id"])
    assert (1, True) == (plugged.device, plugged.machine_id is not None)
    with refusal(431, "give a larger size"):
        big = await row(land, tables.snapshot, found["id"])
        await land.cloud.change(tables.snapshot, big.uuid, virtual_bytes=3 * GIB)
        await land.admin("createVolume", name="x", snapshotid=found["id"], diskofferingid=await offering(land, 2))


async def test_templates_of_volumes_and_snapshots_are_private(land: Land):
    user = await land.stage.user("maker")
    disk = await volume(land, user)
    await made(land, disk["id"])
    os = (await user("listOsTypes"))[0]["id"]
    accepted = await user("createTemplate", name="mine", ostypeid=os, volumeid=disk["id"])
    assert [("snapshot", "ready")] == await land.open_parts(accepted["jobid"])
    assert [] == await user("listSnapshots"), "what becomes a template is no snapshot"
    (found,) = await user("listTemplates", templatefilter="self", id=accepted["id"])
    assert ("QCOW2", False, False) == (found["format"], found["ispublic"], found["isready"])
    assert_row_matches_catalogue("listTemplates", found)
    for params, text in (
        ({}, "specify one of volume and snapshot id"),
        ({"volumeid": disk["id"], "url": "http://x/y"}, "url goes with registerTemplate"),
    ):
        with refusal(431, text):
            await user("createTemplate", name="x", ostypeid=os, **params)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"intervaltype": "YEARLY"}, "Unsupported interval type"),
        ({"schedule": "60"}, "it is written MM"),
        ({"schedule": "1:2"}, "it is written MM"),
        ({"timezone": "Mars/Olympus"}, "Invalid time zone"),
        ({"timezone": "../../etc/passwd"}, "Invalid time zone"),
        ({"maxsnaps": 0}, "maxSnaps exceeds limit"),
        ({"maxsnaps": 9}, "maxSnaps exceeds limit: 8"),
    ],
)
async def test_a_policy_that_cannot_be(land: Land, params: dict[str, Any], text: str):
    disk = await volume(land)
    given = {
        "intervaltype": "HOURLY",
        "schedule": "5",
        "timezone": "UTC",
        "maxsnaps": 2,
        "volumeid": disk["id"],
        **params,
    }
    with refusal(431, text):
        await land.admin("createSnapshotPolicy", **given)
    assert [] == await land.admin("listSnapshotPolicies", volumeid=disk["id"])


async def test_policies_one_for_each_interval(land: Land):
    user = await land.stage.user("planner")
    disk = await volume(land, user)
    given = {"timezone": "Europe/Berlin", "maxsnaps": 2, "volumeid": disk["id"]}
    hourly = await user("createSnapshotPolicy", intervaltype="HOURLY", schedule="5", **given)
    assert_row_matches_catalogue("listSnapshotPolicies", hourly)
    again = await user("createSnapshotPolicy", intervaltype="hourly", schedule="7", **given)
    await user("createSnapshotPolicy", intervaltype="MONTHLY", schedule="0:3:28", **given)
    assert (hourly["id"], "7") == (again["id"], again["schedule"])
    assert [0, 3] == [one["intervaltype"] for one in await user("listSnapshotPolicies", volumeid=disk["id"])]
    assert 2 == len(await land.cloud.turns("policy"))
    stranger = await land.stage.user("stranger")
    with refusal(531):
        await stranger("listSnapshotPolicies", volumeid=disk["id"])
    with refusal(531):
        await stranger("deleteSnapshotPolicies", id=hourly["id"])
    await user("deleteSnapshotPolicies", id=hourly["id"])
    await land.admin("deleteVolume", id=disk["id"])
    assert [] == [p for p in await land.rows(tables.snapshot_policy.select()) if p.removed is None]
