"""What strangers' clients trip over, call by call: answers whose names and shapes they read without looking twice."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.api.stage import refusal
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
    ("listDeploymentPlanners", {}, "deploymentPlanner"),  # the web UI
    ("listStorageTags", {}, "storagetag"),  # the web UI
)


@pytest.mark.parametrize(("command", "params", "key"), KEYS)
async def test_rows_are_under_the_name_that_clients_read(land: Land, command: str, params: dict[str, str], key: str):
    if command == "listStorageTags":
        (pool,) = await land.admin("listStoragePools")
        await land.admin("updateStoragePool", id=pool["id"], tags="ssd")
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


EMPTY = ("listDedicatedZones", "listDedicatedPods", "listDedicatedClusters", "listDedicatedHosts")


@pytest.mark.parametrize("command", EMPTY)
async def test_lists_of_what_cannot_be_here_are_empty(land: Land, command: str):
    """The web interface asks for them on the pages of zones, pods, clusters and hosts."""
    assert [] == await land.admin(command)


async def test_a_guest_has_a_keyboard_to_choose_and_no_icon(land: Land):
    offered = await land.admin("listDetailOptions", resourcetype="UserVm")
    assert "de-ch" in offered["details"]["keyboard"]
    assert {} == (await land.admin("listDetailOptions", resourcetype="Zone"))["details"]
    guest = await land.deploy()
    assert [] == await land.admin("listResourceIcon", resourcetype="UserVm", resourceids=guest["id"])


async def test_a_password_is_told_to_the_private_key_only(land: Land):
    """As cs and CloudStack's own documents have it: base64, opened with openssl rsautl -decrypt."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    await land.admin("registerSSHKeyPair", name="k", publickey=public)
    guest = await land.deploy(keypair="k", password="Secret.12")
    told = []
    for _ in range(2):
        locked = (await land.admin("getVMPassword", id=guest["id"]))["encryptedpassword"]
        told.append(private.decrypt(base64.b64decode(locked), PKCS1v15()).decode())
        await land.admin("resetPasswordForVirtualMachine", id=guest["id"], password="Another.34")
    assert ["Secret.12", "Another.34"] == told
    (guest,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert "Encrypted.Password" not in guest["details"]
    other = await land.deploy()
    with refusal(431, "No password for VM"):
        await land.admin("getVMPassword", id=other["id"])


async def test_guests_of_a_suspended_project_do_not_start(land: Land):
    """As CloudStack's test_projects has it."""
    project = await land.job("createProject", name="p")
    network = await land.network(projectid=project["id"])
    accepted = await land.admin(
        "deployVirtualMachine", zoneid=land.zone, serviceofferingid=land.offering["id"], templateid=land.template["id"],
        networkids=network["id"], projectid=project["id"], startvm=False,
    )  # fmt: skip
    await land.admin("suspendProject", id=project["id"])
    with refusal(531, "its project p is Suspended"):
        await land.admin("startVirtualMachine", id=accepted["id"])
    await land.admin("activateProject", id=project["id"])
    await land.admin("startVirtualMachine", id=accepted["id"])
