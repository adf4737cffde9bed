"""The API over a whole server on simulated hosts: what a client asks for becomes true, and its jobs say so."""

from typing import Any

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import ApiError
from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud


def test_the_story_of_a_tenant():
    """Network, two guests, a forward, an address; stop, restart with cleanup, reboot; all gone at the end."""
    tell(lambda tale: story(tale.cloud), guests_only=True)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    ask, job, one = client.ask, client.job, client.one
    zone = await one("listZones")
    offering = await ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    networks = await one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    network = await ask("createNetwork", zoneid=zone["id"], name="n", displaytext="n", networkofferingid=networks["id"])
    given = {"zoneid": zone["id"], "serviceofferingid": offering["id"], "networkids": network["id"],
             "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip
    first, second = [await job("deployVirtualMachine", name=name, **given) for name in ("one", "two")]
    assert ("Running", "Running", "10.1.1.3") == (first["state"], second["state"], second["nic"][0]["ipaddress"])
    assert first["password"] != second["password"]
    router = await one("listRouters", networkid=network["id"])
    assert ("Running", "Implemented") == (router["state"], (await one("listNetworks"))["state"])
    assert_row_matches_catalogue("listRouters", router)
    await rules_and_addresses(client, network, first)
    await vpn_and_users(client)
    assert router["id"] == (await replaced_router(client, network))["id"]
    rebooted = await job("rebootVirtualMachine", id=first["id"])
    assert ("Running", first["nic"]) == (rebooted["state"], rebooted["nic"])
    assert "Stopped" == (await job("stopVirtualMachine", id=second["id"]))["state"]
    assert "Running" == (await job("startVirtualMachine", id=second["id"]))["state"]
    await job("destroyVirtualMachine", id=first["id"], expunge=True)
    assert "Destroyed" == (await job("destroyVirtualMachine", id=second["id"]))["state"]
    await expunged_by_itself(client, second)
    await job("deleteNetwork", id=network["id"])
    nouns = ("RemoteAccessVpns", "WireGuardPeers", "VirtualMachines", "Routers", "Networks", "PublicIpAddresses", "Volumes")
    for command in (f"list{noun}" for noun in nouns):
        assert [] == await ask(command, listall=True), command


def test_a_layer_2_network_is_there_while_guests_are():
    """It has no router, and cannot be restarted before; a persistent one is there at once."""
    tell(lambda tale: of_layer_2(tale.cloud), guests_only=True)


async def of_layer_2(cloud: Cloud) -> None:
    client = Client(cloud)
    zone = (await client.one("listZones"))["id"]
    plain, lasting = [await a_layer_2_network(client, zone, persistent) for persistent in (False, True)]
    await cloud.clock.sleep(1)
    states = [(await client.one("listNetworks", id=id_))["state"] for id_ in (plain, lasting)]
    assert ["Allocated", "Implemented"] == states
    with pytest.raises(ApiError, match="not in the right state"):
        await client.job("restartNetwork", id=plain, cleanup=True)
    offering = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    template = "5b0f2f3c-0000-4000-8000-000000000001"
    guest = await client.job(
        "deployVirtualMachine", zoneid=zone, serviceofferingid=offering["id"], templateid=template, networkids=plain
    )
    assert ("Running", "Implemented") == (guest["state"], (await client.one("listNetworks", id=plain))["state"])
    await client.job("restartNetwork", id=plain, cleanup=True)
    assert [] == await client.ask("listRouters", listall=True)


async def a_layer_2_network(client: Client, zone: str, persistent: bool) -> str:
    name = f"l2-{persistent}"
    offering = await client.ask(
        "createNetworkOffering", name=name, displaytext=name, guestiptype="L2", traffictype="Guest", ispersistent=persistent
    )
    await client.ask("updateNetworkOffering", id=offering["id"], state="Enabled")
    network = await client.ask("createNetwork", zoneid=zone, name=name, displaytext=name, networkofferingid=offering["id"])
    return str(network["id"])


async def expunged_by_itself(client: Client, guest: dict[str, Any]) -> None:
    """expunge.delay after it was destroyed a guest can no longer be recovered: it is gone."""
    await client.ask("updateConfiguration", name="expunge.delay", value=60)
    for _ in range(120):
        if guest["id"] not in [row["id"] for row in await client.ask("listVirtualMachines")]:
            return
        await client.cloud.clock.sleep(1)
    raise AssertionError("it is still there")


async def rules_and_addresses(client: Client, network: dict[str, Any], guest: dict[str, Any]) -> None:
    address = await client.job("associateIpAddress", networkid=network["id"])
    forward = await client.job(
        "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=22, privateport=22,
        virtualmachineid=guest["id"],
    )  # fmt: skip
    assert "Active" == forward["state"]
    await client.job("createEgressFirewallRule", networkid=network["id"], protocol="all")
    await client.job("deletePortForwardingRule", id=forward["id"])
    await client.ask("enableStaticNat", ipaddressid=address["id"], virtualmachineid=guest["id"])
    await client.job("disableStaticNat", ipaddressid=address["id"])
    await client.job("disassociateIpAddress", id=address["id"])
    assert [True] == [row["issourcenat"] for row in await client.ask("listPublicIpAddresses")]


async def vpn_and_users(client: Client) -> None:
    """It outlives the router that is replaced, and goes with the network."""
    address = await client.one("listPublicIpAddresses", issourcenat=True)
    vpn = await client.job("createRemoteAccessVpn", publicipid=address["id"])
    user = await client.job("addVpnUser", username="alice", password="wonder.land")
    assert ("Running", "Active") == (vpn["state"], user["state"])
    peer = await client.ask("addWireGuardPeer", publicipid=address["id"], name="phone")
    for _ in range(60):
        if (await client.one("listWireGuardPeers", id=peer["id"]))["state"] == "Active":
            return
        await client.cloud.clock.sleep(1)
    raise AssertionError("the router does not say that it knows the peer")


async def replaced_router(client: Client, network: dict[str, Any]) -> dict[str, Any]:
    before = await client.one("listPublicIpAddresses", issourcenat=True)
    await client.job("restartNetwork", id=network["id"], cleanup=True)
    assert before == await client.one("listPublicIpAddresses", issourcenat=True)
    router = await client.one("listRouters")
    await client.job("rebootRouter", id=router["id"])
    await client.job("stopRouter", id=router["id"])
    await client.job("startRouter", id=router["id"])
    return await client.one("listRouters")
