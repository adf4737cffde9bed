"""Guests by the API: what is deployed, what is refused, what becomes of them."""

import base64
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land

USERDATA = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()


async def test_a_guest_gets_name_address_and_disk(land: Land):
    network = await land.network()
    guest = await land.deploy(networkids=network["id"], name="web", displayname="Web server", userdata=USERDATA)
    (nic,) = guest["nic"]
    assert ("web", "Web server", "Stopped", "10.1.1.2", True, USERDATA) == (
        guest["name"], guest["displayname"], guest["state"], nic["ipaddress"], nic["isdefault"], guest["userdata"],
    )  # fmt: skip
    assert guest["instancename"].startswith("i-2-")
    assert_row_matches_catalogue("listVirtualMachines", guest)
    (volume,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    assert ("ROOT", f"ROOT-{guest['instancename'].split('-')[2]}", "Allocated") == (
        volume["type"], volume["name"], volume["state"],
    )  # fmt: skip
    assert_row_matches_catalogue("listVolumes", volume)
    assert [nic["id"]] == [row["id"] for row in await land.admin("listNics", virtualmachineid=guest["id"])]


async def test_a_started_guest_waits_for_its_network_and_itself(land: Land):
    network = await land.network()
    accepted = await land.admin(
        "deployVirtualMachine", zoneid=land.zone, serviceofferingid=land.offering["id"], templateid=land.template["id"],
        networkids=network["id"],
    )  # fmt: skip
    assert [("network", "implemented"), ("machine", "running")] == await land.open_parts(accepted["jobid"])
    (guest,) = await land.admin("listVirtualMachines", id=accepted["id"])
    assert "Starting" == guest["state"]


async def test_the_password_is_in_the_jobs_result_and_nowhere_else(land: Land):
    accepted = await land.admin(
        "deployVirtualMachine", zoneid=land.zone, serviceofferingid=land.offering["id"], templateid=land.template["id"]
    )
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    password = over["jobresult"]["virtualmachine"]["password"]
    assert 6 <= len(password)
    (job,) = await land.rows(sa.select(tables.job).where(tables.job.c.uuid == accepted["jobid"]))
    assert password not in job.result
    (guest,) = await land.admin("listVirtualMachines", id=accepted["id"])
    assert "password" not in guest


async def test_what_a_job_made_is_shown_as_who_started_it_may_see_it(land: Land):
    user = await land.stage.user("tenant")
    shown = {}
    for who, asker in (("admin", land.admin), ("user", user)):
        network = await land.network(asker, name=f"of-{who}")
        accepted = await asker(
            "deployVirtualMachine", zoneid=land.zone, serviceofferingid=land.offering["id"], templateid=land.template["id"],
            networkids=network["id"],
        )  # fmt: skip
        await land.serve(accepted["jobid"])
        over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
        shown[who] = over["jobresult"]["virtualmachine"]
    assert shown["admin"]["instancename"].startswith("i-2-")
    assert "instancename" not in shown["user"]


async def test_an_account_without_a_network_gets_one(land: Land):
    user = await land.stage.user("newcomer")
    first = await land.deploy(user)
    second = await land.deploy(user)
    (network,) = await user("listNetworks")
    assert "newcomer-network" == network["name"]
    assert {network["id"]} == {guest["nic"][0]["networkid"] for guest in (first, second)}
    await land.network(user, name="another")
    with refusal(431, "More than 1 default Isolated networks"):
        await land.deploy(user)


async def test_addresses_names_and_macs_can_be_chosen_once(land: Land):
    network = await land.network()
    given = {"networkids": network["id"], "ipaddress": "10.1.1.77", "macaddress": "02:00:00:00:00:AA", "name": "one"}
    guest = await land.deploy(**given)
    assert ("10.1.1.77", "02:00:00:00:00:aa") == (guest["nic"][0]["ipaddress"], guest["nic"][0]["macaddress"])
    other = {**given, "name": "two", "ipaddress": "10.1.1.78", "macaddress": "02:00:00:00:00:ab"}
    for change, text in (
        ({"ipaddress": "10.1.1.77"}, "10.1.1.77 is already in use"),
        ({"macaddress": given["macaddress"]}, "Mac address 02:00:00:00:00:aa is already used"),
        ({"name": "One"}, "hostName One already exists"),
        ({"ipaddress": "10.1.1.1"}, "is reserved"),
        ({"ipaddress": "10.7.0.1"}, "is not in the range"),
        ({"ipaddress": "ten"}, "Invalid IP address"),
        ({"macaddress": "01:00:00:00:00:aa"}, "Mac address is not valid"),
    ):
        with refusal(431, text):
            await land.deploy(**{**other, **change})
    assert 1 == len(await land.admin("listVirtualMachines"))


async def test_several_networks_by_map(land: Land):
    one, two = await land.network(name="one"), await land.network(name="two", gateway="10.2.0.1", netmask="255.255.0.0")
    guest = await land.deploy(
        iptonetworklist__0__networkid=one["id"], iptonetworklist__0__ip="10.1.1.9",
        iptonetworklist__1__networkid=two["id"], iptonetworklist__1__mac="02:00:00:00:00:bb",
    )  # fmt: skip
    assert [("10.1.1.9", True, "0"), ("10.2.0.2", False, "1")] == [
        (nic["ipaddress"], nic["isdefault"], nic["deviceid"]) for nic in guest["nic"]
    ]


@pytest.mark.parametrize(
    ("code", "params", "text"),
    [
        (431, {"name": "a_b"}, "Invalid name"),
        (431, {"name": "7up"}, "can't start with a digit"),
        (431, {"name": "x" * 64}, "Invalid name"),
        (431, {"userdata": "%%%"}, "base64"),
        (431, {"rootdisksize": 0}, "positive number"),
        (431, {"hypervisor": "XenServer"}, "different from the hypervisor type of the template"),
        (431, {"keypair": "nobody"}, "does not exist"),
        (431, {"details__0__memory": "512"}, "is not a custom one"),
        (431, {"keyboard": "dvorak"}, "Unknown keyboard dvorak; use one of us, uk"),
        (431, {"securitygroupids": "x"}, "security groups"),
        (431, {"networkids": "5b0f2f3c-0000-4000-8000-000000000000"}, "Invalid parameter networkids"),
        (431, {"templateid": "5b0f2f3c-0000-4000-8000-000000000000"}, "Invalid parameter templateid"),
    ],
)
async def test_a_guest_that_cannot_be_leaves_nothing(land: Land, code: int, params: dict[str, Any], text: str):
    with refusal(code, text):
        await land.deploy(**params)
    assert ([], []) == (await land.admin("listVirtualMachines"), await land.admin("listVolumes"))
    assert [] == await land.admin("listNetworks"), "nor a default network"


async def test_a_guests_keyboard_is_a_detail_of_it(land: Land):
    guest = await land.deploy(keyboard="DE-CH")
    assert guest["details"]["keyboard"] == "de-ch"


async def test_a_template_that_is_still_on_its_way_is_refused(land: Land):
    template = await land.cloud.template(hypervisor="Simulator", format="RAW", url="http://example.org/b.raw", name="b")
    with refusal(431, "is not ready in zone"):
        await land.deploy(templateid=template["id"])


async def test_a_custom_offering_takes_its_size_from_the_details(land: Land):
    offering = await land.admin("createServiceOffering", name="custom", displaytext="custom", customized=True)
    guest = await land.deploy(
        serviceofferingid=offering["id"], details__0__cpuNumber=2, details__0__memory=256, details__0__cpuSpeed=900
    )
    assert (2, 900, 256) == (guest["cpunumber"], guest["cpuspeed"], guest["memory"])
    with refusal(431, "Invalid CPU cores value"):
        await land.deploy(serviceofferingid=offering["id"], details__0__memory=256)


async def test_limits_are_kept(land: Land):
    user = await land.stage.user("small")
    account = await land.admin("listAccounts", name="small", listall=True)
    await land.admin("updateResourceLimit", resourcetype=0, max=1, account="small", domainid=account[0]["domainid"])
    await land.deploy(user)
    with refusal(535, "user_vm"):
        await land.deploy(user)


async def test_life_of_a_guest(land: Land):
    guest = await land.deploy()
    accepted = await land.admin("startVirtualMachine", id=guest["id"])
    assert [("network", "implemented"), ("machine", "running")] == await land.open_parts(accepted["jobid"])
    await land.set_machine(guest["id"], power="running")
    assert "Running" == (await land.job("startVirtualMachine", id=guest["id"]))["state"]
    accepted = await land.admin("rebootVirtualMachine", id=guest["id"])
    (row,) = await land.rows(sa.select(tables.machine).where(tables.machine.c.uuid == guest["id"]))
    assert (2, "running") == (row.incarnation, row.wanted)
    accepted = await land.admin("stopVirtualMachine", id=guest["id"])
    assert [("machine", "stopped")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert "Stopping" == row["state"]
    await land.set_machine(guest["id"], power="stopped")
    with refusal(431, "it must be Running"):
        await land.admin("rebootVirtualMachine", id=guest["id"])


async def test_destroyed_recovered_expunged(land: Land):
    user = await land.stage.user("owner")
    guest = await land.deploy(user)
    with refusal(531, "Parameter expunge can be passed by Admin only"):
        await user("destroyVirtualMachine", id=guest["id"], expunge=True)
    destroyed = await land.job("destroyVirtualMachine", who=user, id=guest["id"])
    assert "Destroyed" == destroyed["state"]
    assert [] == await user("listVirtualMachines"), "users do not see destroyed guests"
    with refusal(431, "Unable to find a virtual machine"):
        await user("startVirtualMachine", id=guest["id"])
    recovered = await land.admin("recoverVirtualMachine", id=guest["id"])
    assert "Stopped" == recovered["state"]
    with refusal(431, "Please destroy vm"):
        await land.admin("expungeVirtualMachine", id=guest["id"])
    await land.job("destroyVirtualMachine", who=user, id=guest["id"])
    accepted = await land.admin("expungeVirtualMachine", id=guest["id"])
    assert [("machine", "gone")] == await land.open_parts(accepted["jobid"])


async def test_changes_need_a_stopped_guest(land: Land):
    guest = await land.deploy()
    big = await land.admin("createServiceOffering", name="big", displaytext="big", cpunumber=4, cpuspeed=500, memory=512)
    await land.set_machine(guest["id"], wanted="running", power="running")
    for command, params in (
        ("changeServiceForVirtualMachine", {"id": guest["id"], "serviceofferingid": big["id"]}),
        ("scaleVirtualMachine", {"id": guest["id"], "serviceofferingid": big["id"]}),
        ("resetPasswordForVirtualMachine", {"id": guest["id"]}),
        ("resetUserDataForVirtualMachine", {"id": guest["id"], "userdata": USERDATA}),
        ("resetSSHKeyForVirtualMachine", {"id": guest["id"], "keypair": "k"}),
    ):
        with refusal(431, "stop"):
            await land.admin(command, **params)
    await land.set_machine(guest["id"], wanted="stopped", power="stopped")
    changed = await land.admin("changeServiceForVirtualMachine", id=guest["id"], serviceofferingid=big["id"])
    assert (4, 512) == (changed["cpunumber"], changed["memory"])
    assert "password" in await land.job("resetPasswordForVirtualMachine", id=guest["id"])
    await land.admin("resetUserDataForVirtualMachine", id=guest["id"], userdata=USERDATA)
    assert USERDATA == (await land.admin("getVirtualMachineUserData", virtualmachineid=guest["id"]))["userdata"]


async def test_names_and_details_can_change(land: Land):
    network = await land.network()
    one, two = [await land.deploy(networkids=network["id"], name=name) for name in ("one", "two")]
    updated = await land.admin(
        "updateVirtualMachine", id=one["id"], displayname="First", group="web", details__0__color="red", name="uno"
    )
    assert ("First", "web", {"color": "red"}, "uno") == (
        updated["displayname"], updated["group"], updated["details"], updated["name"],
    )  # fmt: skip
    assert_row_matches_catalogue("updateVirtualMachine", updated)
    with refusal(431, "already exists in the network"):
        await land.admin("updateVirtualMachine", id=two["id"], name="UNO")


async def test_nics_come_and_go(land: Land):
    guest = await land.deploy(networkids=(await land.network())["id"])
    other = await land.network(name="other", gateway="10.3.0.1", netmask="255.255.255.0")
    guest = await land.job("addNicToVirtualMachine", virtualmachineid=guest["id"], networkid=other["id"], ipaddress="10.3.0.9")
    default, added = guest["nic"]
    assert ("10.3.0.9", False) == (added["ipaddress"], added["isdefault"])
    with refusal(431, "A NIC already exists"):
        await land.admin("addNicToVirtualMachine", virtualmachineid=guest["id"], networkid=other["id"])
    with refusal(431, "it is the default nic"):
        await land.admin("removeNicFromVirtualMachine", virtualmachineid=guest["id"], nicid=default["id"])
    guest = await land.job("updateDefaultNicForVirtualMachine", virtualmachineid=guest["id"], nicid=added["id"])
    assert [False, True] == [nic["isdefault"] for nic in guest["nic"]]
    guest = await land.job("removeNicFromVirtualMachine", virtualmachineid=guest["id"], nicid=default["id"])
    assert [added["id"]] == [nic["id"] for nic in guest["nic"]]


async def test_further_addresses_of_a_nic(land: Land):
    guest = await land.deploy()
    (nic,) = guest["nic"]
    added = await land.job("addIpToNic", nicid=nic["id"], ipaddress="10.1.1.40")
    assert_row_matches_catalogue("addIpToNic", added)
    with refusal(431, "is already in use"):
        await land.admin("addIpToNic", nicid=nic["id"], ipaddress="10.1.1.40")
    (row,) = await land.admin("listNics", virtualmachineid=guest["id"])
    assert [{"id": added["id"], "ipaddress": "10.1.1.40"}] == row["secondaryip"]
    assert_row_matches_catalogue("listNics", row)
    await land.job("removeIpFromNic", id=added["id"])
    (row,) = await land.admin("listNics", virtualmachineid=guest["id"])
    assert [] == row["secondaryip"]


async def test_key_pairs(land: Land):
    made = await land.admin("createSSHKeyPair", name="mine")
    assert made["privatekey"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert_row_matches_catalogue("createSSHKeyPair", made)
    with refusal(431, "already exists"):
        await land.admin("createSSHKeyPair", name="mine")
    with refusal(431, "Public key is invalid"):
        await land.admin("registerSSHKeyPair", name="bad", publickey="ssh-rsa nonsense")
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqfv1aGTHg0Ux6hFZ8mXcJQ6V3yC8GkZ7cPq3bq3b2B me"
    registered = await land.admin("registerSSHKeyPair", name="theirs", publickey=public)
    guest = await land.deploy(keypairs=["mine", "theirs"])
    assert "mine,theirs" == guest["keypairs"]
    (row,) = await land.admin("listSSHKeyPairs", name="theirs")
    assert registered["fingerprint"] == row["fingerprint"]
    assert_row_matches_catalogue("listSSHKeyPairs", row)
    await land.admin("deleteSSHKeyPair", name="theirs")
    with refusal(431, "does not exist"):
        await land.admin("deleteSSHKeyPair", name="theirs")


async def test_registered_user_data(land: Land):
    await land.admin("registerUserData", name="boot", userdata=USERDATA)
    (row,) = await land.admin("listUserData")
    assert_row_matches_catalogue("listUserData", row)
    guest = await land.deploy(userdataid=row["id"])
    assert (USERDATA, "boot") == (guest["userdata"], guest["userdataname"])
    with refusal(536, "is linked to 1 active user VM"):
        await land.admin("deleteUserData", id=row["id"])
    with refusal(431, "please provide only one"):
        await land.deploy(userdataid=row["id"], userdata=USERDATA)


async def test_a_user_sees_no_hosts_and_only_his_own(land: Land):
    user, other = await land.stage.user("one"), await land.stage.user("two")
    guest = await land.deploy(user)
    assert {"hostid", "hostname", "instancename"} & set(guest) == set()
    assert [] == await other("listVirtualMachines", listall=True)
    for command in ("startVirtualMachine", "stopVirtualMachine", "destroyVirtualMachine"):
        with refusal(531):
            await other(command, id=guest["id"])


async def test_lists_filter_by_state_name_and_network(land: Land):
    network = await land.network()
    one = await land.deploy(networkids=network["id"], name="one")
    two = await land.deploy(networkids=network["id"], name="two")
    await land.set_machine(two["id"], wanted="running", power="running")
    for params, expected in (
        ({"state": "Running"}, [two["id"]]),
        ({"state": "Stopped"}, [one["id"]]),
        ({"name": "one"}, [one["id"]]),
        ({"keyword": "w"}, [two["id"]]),
        ({"networkid": network["id"]}, [one["id"], two["id"]]),
        ({"ids": [one["id"], two["id"]], "state": "present"}, [one["id"], two["id"]]),
    ):
        assert expected == [row["id"] for row in await land.admin("listVirtualMachines", **params)], params


async def test_restore_gives_a_fresh_root_disk(land: Land):
    guest = await land.deploy()
    (before,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    await land.job("restoreVirtualMachine", virtualmachineid=guest["id"])
    (after,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    assert before["id"] != after["id"]
