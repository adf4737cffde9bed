"""Site-to-site VPN over a whole server on simulated hosts: two VPCs that are each other's other side."""

from typing import Any

from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud

WORDS = {"ipsecpsk": "key", "ikepolicy": "aes128-sha1;modp1536", "esppolicy": "aes128-sha1"}


def test_two_vpcs_are_connected_until_one_is_deleted():
    """The router of the first begins; that of the second waits."""
    tell(lambda tale: _story(tale.client, tale.cloud), guests_only=True)


async def _story(client: Client, cloud: Cloud) -> None:
    ask, job = client.ask, client.job
    first, second = await _side(client, 8), await _side(client, 9)
    here, there = first["gateway"], second["gateway"]
    to = await job("createVpnCustomerGateway", gateway=there["publicip"], cidrlist="10.9.0.0/16", **WORDS)
    back = await job("createVpnCustomerGateway", gateway=here["publicip"], cidrlist="10.8.0.0/16", **WORDS)
    one = await job("createVpnConnection", s2svpngatewayid=here["id"], s2scustomergatewayid=to["id"])
    other = await job("createVpnConnection", s2svpngatewayid=there["id"], s2scustomergatewayid=back["id"], passive=True)
    await _becomes(client, cloud, one, "Connected")
    await _becomes(client, cloud, other, "Disconnected")
    await job("resetVpnConnection", id=one["id"])
    await _becomes(client, cloud, one, "Connected")
    await job("rebootRouter", id=first["router"]["id"])
    await _becomes(client, cloud, one, "Connected")
    assert [one["id"]] == [row["id"] for row in await ask("listVpnConnections", vpcid=first["vpc"]["id"])]
    await job("deleteVPC", id=second["vpc"]["id"])
    assert [one["id"]] == [row["id"] for row in await ask("listVpnConnections")], "gone with its VPC"
    assert [here["id"]] == [row["id"] for row in await ask("listVpnGateways")]
    await job("deleteVpnConnection", id=one["id"])
    await job("deleteVpnGateway", id=here["id"])
    await job("deleteVPC", id=first["vpc"]["id"])
    assert ([], []) == (await ask("listVpnConnections"), await ask("listVPCs"))


async def _side(client: Client, number: int) -> dict[str, Any]:
    """A VPC with its gateway."""
    zone = await client.one("listZones")
    offering = await client.one("listVPCOfferings", name="Default VPC offering")
    words = {"name": f"v{number}", "displaytext": "v", "cidr": f"10.{number}.0.0/16", "zoneid": zone["id"]}
    vpc = await client.job("createVPC", vpcofferingid=offering["id"], **words)
    gateway = await client.job("createVpnGateway", vpcid=vpc["id"])
    return {"vpc": vpc, "gateway": gateway, "router": await client.one("listRouters", vpcid=vpc["id"])}


async def _becomes(client: Client, cloud: Cloud, connection: dict[str, Any], state: str) -> None:
    for _ in range(60):
        found = await client.one("listVpnConnections", id=connection["id"])
        if found["state"] == state:
            return
        await cloud.clock.sleep(1)
    raise AssertionError(f"it is {found['state']}: {found.get('note')}")
