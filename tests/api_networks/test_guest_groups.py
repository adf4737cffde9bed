"""Affinity groups and instance groups by the API, in the words of Ansible, libcloud and Terraform; and what becomes of guests."""

from typing import Any

import pytest

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud

APART = "host anti-affinity"


async def group(land: Land, who: Any = None, **params: Any) -> dict[str, Any]:
    """An affinity group, as the job's result shows it."""
    asker = who or land.admin
    accepted = await asker("createAffinityGroup", **{"name": "apart", "type": APART, **params})
    over = await asker("queryAsyncJobResult", jobid=accepted["jobid"])
    made: dict[str, Any] = over["jobresult"]["affinitygroup"]
    assert accepted["id"] == made["id"]
    return made


# ---------------------------------------------------------------- affinity groups
async def test_a_group_is_made_named_at_deployment_and_listed_with_its_guests(land: Land):
    types = [row["type"] for row in await land.admin("listAffinityGroupTypes")]
    assert ["host affinity", APART] == types[:2]
    made = await group(land, description="never two on one host")
    guest = await land.deploy(affinitygroupnames="apart")
    assert [("apart", APART)] == [(row["name"], row["type"]) for row in guest["affinitygroup"]]
    assert_row_matches_catalogue("listVirtualMachines", guest)
    for filter_ in ({"name": "apart"}, {"id": made["id"]}, {"virtualmachineid": guest["id"]}, {"type": APART}):
        (row,) = await land.admin("listAffinityGroups", **filter_)
        assert ([guest["id"]], "never two on one host") == (row["virtualmachineIds"], row["description"])
        assert_row_matches_catalogue("listAffinityGroups", row)
    assert [guest["id"]] == [row["id"] for row in await land.admin("listVirtualMachines", affinitygroupid=made["id"])]


async def test_the_groups_of_a_stopped_guest_are_changed(land: Land):
    first = await group(land)
    second = await group(land, name="together", type="host affinity")
    guest = await land.deploy(affinitygroupids=first["id"])
    accepted = await land.admin("updateVMAffinityGroup", id=guest["id"], affinitygroupids=second["id"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    assert ["together"] == [row["name"] for row in over["jobresult"]["virtualmachine"]["affinitygroup"]]
    await land.admin("updateVMAffinityGroup", id=guest["id"])
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert [] == guest["affinitygroup"]
    await land.admin("startVirtualMachine", id=guest["id"])
    with refusal(431, "Unable update affinity groups of the virtual machine"):
        await land.admin("updateVMAffinityGroup", id=guest["id"], affinitygroupids=second["id"])


async def test_a_group_goes_and_leaves_its_guests_alone(land: Land):
    await group(land)
    guest = await land.deploy(affinitygroupnames="apart")
    await land.admin("deleteAffinityGroup", name="apart")
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert ([], []) == (guest["affinitygroup"], await land.admin("listAffinityGroups"))
    await group(land)  # its name is free again


REFUSED = (
    ({"type": "rack affinity"}, "invalid affinity group type rack affinity"),
    ({"name": "taken"}, "a group with name taken already exists"),
)


@pytest.mark.parametrize(("params", "text"), REFUSED)
async def test_groups_that_are_refused(land: Land, params: dict[str, str], text: str):
    await group(land, name="taken")
    with refusal(431, text):
        await group(land, **params)


async def test_a_group_takes_guests_of_its_owner_only(land: Land):
    user, other = await land.stage.user("one"), await land.stage.user("other")
    made = await group(land, user)
    with refusal(531, ""):
        await land.deploy(other, affinitygroupids=made["id"])
    with refusal(431, "Unable to find affinity group by name apart"):
        await land.deploy(other, affinitygroupnames="apart")
    with refusal(531, "doesn't belong to the owner of the vm"):
        await land.deploy(affinitygroupids=made["id"])  # an administrator's guest in a user's group
    assert [] == await other("listAffinityGroups")


# ---------------------------------------------------------------- instance groups
async def test_a_group_of_instances_comes_with_its_name_and_goes_without_its_guests(land: Land):
    empty = await land.admin("createInstanceGroup", name="empty")
    guest = await land.deploy(group="web")
    groups = {row["name"]: row for row in await land.admin("listInstanceGroups")}
    assert {"empty", "web"} == set(groups)
    assert_row_matches_catalogue("listInstanceGroups", groups["web"])
    assert ("web", groups["web"]["id"]) == (guest["group"], guest["groupid"])
    assert [guest["id"]] == [row["id"] for row in await land.admin("listVirtualMachines", groupid=guest["groupid"])]
    assert [] == await land.admin("listVirtualMachines", groupid=empty["id"])
    with refusal(431, "a group with name web already exists"):
        await land.admin("createInstanceGroup", name="web")
    renamed = await land.admin("updateInstanceGroup", id=guest["groupid"], name="front")
    assert (groups["web"]["id"], "front") == (renamed["id"], renamed["name"])
    await land.admin("updateVirtualMachine", id=guest["id"], group="empty")
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert empty["id"] == guest["groupid"]
    await land.admin("deleteInstanceGroup", id=empty["id"])
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert "group" not in guest and "groupid" not in guest
    assert ["front"] == [row["name"] for row in await land.admin("listInstanceGroups")]


# ---------------------------------------------------------------- where guests run
def test_guests_in_groups_run_where_their_groups_let_them():
    """On two hosts, by a whole server: apart, a third that waits until one of them stops, and together."""
    tell(lambda tale: story(tale.cloud), hosts=2, guests_only=True)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    zone = await client.one("listZones")
    offering = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    networks = await client.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    network = await client.ask("createNetwork", zoneid=zone["id"], name="n", displaytext="n", networkofferingid=networks["id"])
    given = {"zoneid": zone["id"], "serviceofferingid": offering["id"], "networkids": network["id"],
             "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip
    for name, type_ in (("apart", APART), ("close", "host affinity")):
        await client.job("createAffinityGroup", name=name, type=type_)
    one, two = [await client.job("deployVirtualMachine", name=name, affinitygroupnames="apart", **given) for name in ("a", "b")]
    assert one["hostid"] != two["hostid"]

    waiting = await client.ask("deployVirtualMachine", name="c", affinitygroupnames="apart", **given)
    await cloud.until(lambda tx: "affinity groups forbid" in note(tx, waiting["id"]))
    await client.job("stopVirtualMachine", id=one["id"])
    three = await client.one("listVirtualMachines", id=waiting["id"])
    while three["state"] != "Running":
        await cloud.clock.sleep(1)
        three = await client.one("listVirtualMachines", id=waiting["id"])
    assert one["hostid"] == three["hostid"]

    close = await client.job("deployVirtualMachine", name="d", affinitygroupnames="close", **given)
    again = await client.job("deployVirtualMachine", name="e", affinitygroupnames="close", **given)
    third = await client.job("deployVirtualMachine", name="f", affinitygroupnames="close", **given)
    assert {close["hostid"]} == {again["hostid"], third["hostid"]}


def note(tx: Any, uuid: str) -> str:
    """What the guest's row says of it."""
    (row,) = tx.rows(tables.machine, "uuid = :uuid", uuid=uuid)
    return str(row.note)
