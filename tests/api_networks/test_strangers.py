"""What strangers' clients trip over, call by call: answers whose names and shapes they read without looking twice."""

from typing import Any

import pytest

from tests.api_networks.land import Land
from tests.api_volumes import disks

BRIEF = {"key": "kind", "value": "test"}


async def tag(land: Land, type_: str, id_: str) -> None:
    """The tag that Ansible gives."""
    given = {"tags[0].key": BRIEF["key"], "tags[0].value": BRIEF["value"]}
    await land.admin("createTags", resourceids=id_, resourcetype=type_, **given)


async def test_tags_of_addresses_and_networks_are_key_and_value_and_nothing_else(land: Land, network: dict[str, Any]):
    """Ansible's cs_ip_address looks for the very mapping that it gave, and takes a new address when it is not there."""
    accepted = await land.admin("associateIpAddress", networkid=network["id"])
    await tag(land, "PublicIpAddress", accepted["id"])
    await tag(land, "Network", network["id"])
    (address,) = await land.admin("listPublicIpAddresses", id=accepted["id"])
    (network,) = await land.admin("listNetworks", id=network["id"])
    assert ([BRIEF], [BRIEF]) == (address["tags"], network["tags"])


async def test_tags_of_guests_say_whose_they_are(land: Land):
    guest = await land.deploy()
    await tag(land, "UserVm", guest["id"])
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert {**BRIEF, "resourcetype": "UserVm", "account": "admin"}.items() <= guest["tags"][0].items()


KEYS = (
    ("listAffinityGroupTypes", {}, "affinityGroupType"),  # Ansible, libcloud
    ("listVMSnapshot", {}, "vmSnapshot"),  # Ansible, the web UI
    ("listStorageProviders", {"type": "primary"}, "dataStoreProvider"),  # Ansible
)


@pytest.mark.parametrize(("command", "params", "key"), KEYS)
async def test_rows_are_under_the_name_that_clients_read(land: Land, command: str, params: dict[str, str], key: str):
    if command == "listVMSnapshot":
        guest = await land.deploy()
        (volume,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
        await disks.made(land, volume["id"])
        await land.admin("createVMSnapshot", virtualmachineid=guest["id"])
    answer = (await land.admin.ask(command, **params)).json
    (body,) = answer.values()
    assert {"count", key} == set(body)


async def test_every_network_offering_names_the_offering_of_its_routers(land: Land):
    """libcloud's ex_list_network_offerings reads it of each."""
    offerings = {row["id"] for row in await land.admin("listServiceOfferings", issystem=True, systemvmtype="domainrouter")}
    found = await land.admin("listNetworkOfferings")
    assert found
    assert {row["serviceofferingid"] for row in found} <= offerings
