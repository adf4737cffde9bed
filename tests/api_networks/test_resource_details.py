"""Details of things: what administrators note on them."""

from typing import Any

import pytest

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land


async def things(land: Land) -> dict[str, dict[str, Any]]:
    """One of each kind that a test asks for, by resource type."""
    network = await land.network()
    guest = await land.deploy(networkids=network["id"])
    (volume,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    (zone,) = await land.admin("listZones")
    return {"UserVm": guest, "Volume": volume, "Network": network, "Zone": zone, "Nic": guest["nic"][0],
            "ServiceOffering": land.offering, "Template": land.template}  # fmt: skip


@pytest.mark.parametrize("type_", ["UserVm", "Volume", "Network", "Zone", "Nic", "ServiceOffering", "Template"])
async def test_details_are_set_changed_listed_and_removed(land: Land, type_: str):
    """Those that have a column for them, and those that have not."""
    here = {"resourcetype": type_, "resourceid": (await things(land))[type_]["id"]}
    before = await land.admin("listResourceDetails", **here)
    await land.admin("addResourceDetail", **here, **{"details[0].rack": "7", "details[0].shelf": "top"})
    await land.admin("addResourceDetail", **here, **{"details[0].key": "rack", "details[0].value": "8"})
    rows = await land.admin("listResourceDetails", **here)
    new = {row["key"]: row["value"] for row in rows if row not in before}
    assert {"rack": "8", "shelf": "top"} == new
    assert_row_matches_catalogue("listResourceDetails", rows[0])
    assert ["rack"] == [row["key"] for row in await land.admin("listResourceDetails", **here, key="rack")]
    assert ["rack"] == [row["key"] for row in await land.admin("listResourceDetails", **here, value="8")]
    assert ["shelf"] == [row["key"] for row in await land.admin("listResourceDetails", **here, keyword="shel")]
    await land.admin("removeResourceDetail", **here, key="rack")
    assert ["shelf"] == [row["key"] for row in await land.admin("listResourceDetails", **here) if row not in before]
    await land.admin("removeResourceDetail", **here)
    assert [] == await land.admin("listResourceDetails", **here)


async def test_users_see_details_of_their_own_things_that_are_for_display(land: Land):
    user, other = await land.stage.user("one"), await land.stage.user("two")
    guest = await land.deploy(user)
    (volume,) = await land.admin("listVolumes", virtualmachineid=guest["id"], listall=True)
    here = {"resourcetype": "Volume", "resourceid": volume["id"]}
    await land.admin("addResourceDetail", **here, **{"details[0].seen": "1"})
    await land.admin("addResourceDetail", **here, **{"details[0].hidden": "1"}, fordisplay=False)
    assert ["seen"] == [row["key"] for row in await user("listResourceDetails", **here)]
    assert ["hidden"] == [row["key"] for row in await land.admin("listResourceDetails", **here, fordisplay=False)]
    with refusal(531):
        await other("listResourceDetails", **here)
    with refusal(531):
        await user("listResourceDetails", resourcetype="Nic", resourceid=guest["nic"][0]["id"])
    with refusal(432):
        await user("addResourceDetail", **here, **{"details[0].mine": "1"})


async def test_what_the_cloud_notes_on_a_guest_is_not_an_administrators(land: Land):
    here = {"resourcetype": "UserVm", "resourceid": (await things(land))["UserVm"]["id"]}
    with refusal(431, "The detail reached is this cloud's own"):
        await land.admin("addResourceDetail", **here, **{"details[0].reached": "running 9"})
    await land.set_machine(here["resourceid"], details={"reached": "running 1", "rack": "7"})
    assert ["rack"] == [row["key"] for row in await land.admin("listResourceDetails", **here)]
    await land.admin("removeResourceDetail", **here)
    (row,) = await land.rows(tables.machine.select().where(tables.machine.c.uuid == here["resourceid"]))
    assert {"reached": "running 1"} == row.details


REFUSED = (
    ({"details[0].rack": ""}, "is either null or empty"),
    ({"resourcetype": "Rack", "details[0].rack": "1"}, "Invalid resource type Rack"),
)


@pytest.mark.parametrize(("params", "text"), REFUSED)
async def test_details_that_are_refused(land: Land, params: dict[str, str], text: str):
    given = {"resourcetype": "Zone", "resourceid": land.zone}
    with refusal(431, text):
        await land.admin("addResourceDetail", **{**given, **params})
