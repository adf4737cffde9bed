"""Site-to-site VPNs: what a customer gateway may be, which connections there can be, what a router is told and says."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import vpn_sites
from sysvm.store.store import Tx
from sysvm.wire.vpn import Tunnel, TunnelSeen, TunnelState
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import VPC, made_vpc

FAR = {
    "gateway": "198.51.100.10", "cidrlist": "172.16.0.0/24, 172.16.1.0/24", "ipsecpsk": "between us",
    "ikepolicy": "aes128-sha1;modp1536", "esppolicy": "aes128-sha1",
}  # fmt: skip


@pytest.fixture
async def vpc(land: Land) -> dict[str, Any]:
    """A VPC with an address and a router that runs."""
    return await made_vpc(land)


async def connected(land: Land, vpc: dict[str, Any], **words: Any) -> dict[str, Any]:
    """A connection that its router has."""
    near = await land.job("createVpnGateway", vpcid=vpc["id"])
    far = await land.job("createVpnCustomerGateway", **FAR)
    return await land.job("createVpnConnection", s2svpngatewayid=near["id"], s2scustomergatewayid=far["id"], **words)


async def told(land: Land) -> list[Tunnel]:
    """What the routers of all VPCs are told."""

    def read(tx: Tx) -> list[Tunnel]:
        return [tunnel for vpc in tx.all(sa.select(tables.vpc)) for tunnel in vpn_sites.facts(tx, vpc, land.stage.vault)]

    return await land.stage.store.read(read)


async def says(land: Land, connection: str, state: TunnelState, why: str = "", resets: int = 0) -> None:
    """The router of the only VPC says so."""

    def write(tx: Tx) -> None:
        (router,) = tx.all(sa.select(tables.machine).where(tables.machine.c.vpc_id.is_not(None)))
        seen = TunnelSeen(connection=connection, resets=resets, state=state, why=why)
        vpn_sites.heard(tx, router.uuid, (seen,))

    await land.stage.store.run(write)


async def alerts(land: Land, *, standing: bool = False) -> list[str]:
    """What the alerts about connections say, without whom it is about."""
    rows = await land.rows(sa.select(tables.alert).where(tables.alert.c.subject.startswith("Site-to-site")))
    return [row.subject.partition(" just ")[2] for row in rows if not standing or row.resolved is None]


# ---------------------------------------------------------------- gateways of VPCs
async def test_a_vpc_has_one_gateway_at_its_source_nat_address(land: Land, vpc: dict[str, Any]):
    near = await land.job("createVpnGateway", vpcid=vpc["id"])
    (address,) = await land.admin("listPublicIpAddresses", issourcenat=True, vpcid=vpc["id"])
    assert_row_matches_catalogue("createVpnGateway", near)
    assert (address["ipaddress"], vpc["name"]) == (near["publicip"], near["vpcname"])
    assert [near] == await land.admin("listVpnGateways", vpcid=vpc["id"])
    with refusal(431, "already existed"):
        await land.admin("createVpnGateway", vpcid=vpc["id"])
    await land.job("deleteVpnGateway", id=near["id"])
    assert [] == await land.admin("listVpnGateways")
    assert near["id"] != (await land.job("createVpnGateway", vpcid=vpc["id"]))["id"]


async def test_a_gateway_with_connections_stays(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    with refusal(431, "still related VPN connections"):
        await land.admin("deleteVpnGateway", id=made["s2svpngatewayid"])
    with refusal(431, "still related VPN connections"):
        await land.admin("deleteVpnCustomerGateway", id=made["s2scustomergatewayid"])
    await land.job("deleteVpnConnection", id=made["id"])
    await land.job("deleteVpnGateway", id=made["s2svpngatewayid"])
    await land.job("deleteVpnCustomerGateway", id=made["s2scustomergatewayid"])
    assert ([], []) == (await land.admin("listVpnConnections"), await land.admin("listVpnCustomerGateways"))


# ---------------------------------------------------------------- customer gateways
async def test_a_customer_gateway_has_defaults(land: Land):
    far = await land.job("createVpnCustomerGateway", **FAR)
    assert_row_matches_catalogue("createVpnCustomerGateway", far)
    assert ("VPN-198.51.100.10", 86400, 3600, "ike") == (
        far["name"], far["ikelifetime"], far["esplifetime"], far["ikeversion"]
    )  # fmt: skip
    assert (False, False, False) == (far["dpd"], far["forceencap"], far["splitconnections"])
    assert ("between us", "172.16.0.0/24,172.16.1.0/24") == (far["ipsecpsk"], far["cidrlist"])
    assert [far] == await land.admin("listVpnCustomerGateways", keyword="198.51")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"gateway": "nowhere"}, "ip/Domain nowhere is invalid"),
        ({"gateway": "256.1.1.1"}, "is invalid"),
        ({"gateway": "224.0.0.1"}, "is invalid"),
        ({"cidrlist": "172.16.0.0"}, "contains an invalid cidr"),
        ({"cidrlist": "172.16.0.0/24,"}, "contains an invalid cidr"),
        ({"cidrlist": "fd00::/64"}, "contains an invalid cidr"),
        ({"cidrlist": "172.16.0.0/16,172.16.4.0/24"}, "is overlapped with another subnet"),
        ({"cidrlist": ",".join(f"172.16.{n}.0/24" for n in range(11))}, "The limit is 10"),
        ({"cidrlist": "198.51.100.0/24"}, "inside of its own cidr list"),
        ({"ikepolicy": "aes128-sha1"}, "IKE policy aes128-sha1 is invalid!  Verify"),
        ({"ikepolicy": "aes128-sha1;modp1"}, "IKE policy"),
        ({"ikepolicy": "blowfish-sha1;modp1536"}, "IKE policy"),
        ({"ikepolicy": "aes128-sha1;modp1536,"}, "IKE policy"),
        ({"esppolicy": "aes128"}, "ESP policy aes128 is invalid!"),
        ({"esppolicy": "aes128-sha1-modp1536"}, "ESP policy"),
        ({"esppolicy": "aes128-sha1;"}, "ESP policy"),
        ({"ikelifetime": 86401}, "IKE lifetime 86401"),
        ({"esplifetime": 86401}, "ESP lifetime 86401"),
        ({"esplifetime": 0}, "too short"),
        ({"ikeversion": "ikev3"}, "valid values are ike, ikev1, and ikev2"),
    ],
)
async def test_what_a_customer_gateway_cannot_be(land: Land, words: dict[str, Any], text: str):
    with refusal(431, text):
        await land.admin("createVpnCustomerGateway", **{**FAR, **words})
    assert [] == await land.admin("listVpnCustomerGateways")


@pytest.mark.parametrize(
    "words",
    [
        {"gateway": "vpn.example.org"},
        {"ikepolicy": "3des-md5;modp1024,aes256-sha512;modp8192", "esppolicy": "aes192-sha384;modp6144,aes128-sha1"},
        {"ikeversion": "ikev2", "dpd": True, "splitconnections": True, "forceencap": True},
        {"cidrlist": "172.16.0.9/24"},
    ],
)
async def test_what_it_can_be(land: Land, words: dict[str, Any]):
    far = await land.job("createVpnCustomerGateway", **{**FAR, **words})
    assert words == {name: far[name] for name in words}


async def test_names_are_an_accounts_own(land: Land):
    await land.job("createVpnCustomerGateway", **FAR)
    with refusal(431, "already existed"):
        await land.admin("createVpnCustomerGateway", **FAR)
    user = await land.stage.user("bob")
    other = await land.job("createVpnCustomerGateway", who=user, **FAR)
    assert [other] == await user("listVpnCustomerGateways")
    assert 1 == len(await land.admin("listVpnCustomerGateways"))
    (mine,) = await land.admin("listVpnCustomerGateways")
    with refusal(531, ""):
        await user("deleteVpnCustomerGateway", id=mine["id"])


async def test_the_key_is_not_readable_in_the_database(land: Land, vpc: dict[str, Any]):
    await connected(land, vpc)
    rows = [*await land.rows(sa.select(tables.vpn_customer_gateway)), *await land.rows(sa.select(tables.job))]
    assert not [row for row in rows if FAR["ipsecpsk"] in str(row)]


# ---------------------------------------------------------------- connections
async def test_a_connection_is_what_its_router_says(land: Land, vpc: dict[str, Any]):
    near = await land.job("createVpnGateway", vpcid=vpc["id"])
    far = await land.job("createVpnCustomerGateway", **FAR)
    accepted = await land.admin("createVpnConnection", s2svpngatewayid=near["id"], s2scustomergatewayid=far["id"])
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listVpnConnections", vpcid=vpc["id"])
    assert ("Pending", near["publicip"], FAR["gateway"]) == (row["state"], row["publicip"], row["gateway"])
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    made = over["jobresult"]["vpnconnection"]
    assert_row_matches_catalogue("createVpnConnection", made)
    assert ("Connecting", "between us", False) == (made["state"], made["ipsecpsk"], made["passive"])
    await says(land, made["id"], TunnelState.DISCONNECTED, "the other side does not answer")
    (row,) = await land.admin("listVpnConnections", id=made["id"])
    assert ("Disconnected", "the other side does not answer") == (row["state"], row["note"])
    await says(land, made["id"], TunnelState.CONNECTED)
    (row,) = await land.admin("listVpnConnections", keyword="Connected")
    assert ("Connected", False) == (row["state"], "note" in row)


async def test_a_passive_one_waits(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc, passive=True)
    assert ("Disconnected", True) == (made["state"], made["passive"])
    assert [True] == [tunnel.passive for tunnel in await told(land)]
    assert [] == await alerts(land)


async def test_what_a_router_is_told(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    assert [
        Tunnel(
            connection=made["id"], local=made["publicip"], remote="198.51.100.10", preshared_key="between us",
            local_networks=(VPC,), remote_networks=("172.16.0.0/24", "172.16.1.0/24"),
            ike_policy="aes128-sha1;modp1536", esp_policy="aes128-sha1",
        )
    ] == await told(land)  # fmt: skip
    await land.job("deleteVpnConnection", id=made["id"])
    assert [] == await told(land)


async def test_a_change_of_it_is_told_to_events_and_alerts(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    await says(land, made["id"], TunnelState.CONNECTED)
    assert [] == await alerts(land), "the first connection is no alert"
    await says(land, made["id"], TunnelState.DISCONNECTED, "the other side does not answer")
    down = "switched from Connected to Disconnected: the other side does not answer"
    assert ([down], [down]) == (await alerts(land), await alerts(land, standing=True))
    await says(land, made["id"], TunnelState.CONNECTED)
    assert [down, "switched from Disconnected to Connected"] == await alerts(land)
    assert [] == await alerts(land, standing=True)
    events = await land.rows(sa.select(tables.event).where(tables.event.c.type == "VPN.S2S.CONNECTION.UPDATE"))
    assert ["INFO", "WARN", "INFO"] == [event.level for event in events]
    assert {made["id"]} == {event.resource_uuid for event in events}


async def test_a_reset_begins_it_anew_and_old_news_do_not_count(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    await says(land, made["id"], TunnelState.CONNECTED)
    accepted = await land.admin("resetVpnConnection", id=made["id"])
    await says(land, made["id"], TunnelState.CONNECTED)
    (row,) = await land.admin("listVpnConnections")
    assert ("Pending", [1]) == (row["state"], [tunnel.resets for tunnel in await told(land)])
    with refusal(431, "is pending"):
        await land.admin("resetVpnConnection", id=made["id"])
    await land.serve(accepted["jobid"])
    await says(land, made["id"], TunnelState.CONNECTED, resets=1)
    (row,) = await land.admin("listVpnConnections")
    assert "Connected" == row["state"]


async def test_another_customer_gateway_is_told_to_the_router(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    changed = {**FAR, "gateway": "198.51.100.99", "ipsecpsk": "new", "cidrlist": "172.20.0.0/16", "name": "office"}
    far = await land.job("updateVpnCustomerGateway", id=made["s2scustomergatewayid"], **changed)
    assert ("office", "198.51.100.99", "new") == (far["name"], far["gateway"], far["ipsecpsk"])
    (tunnel,) = await told(land)
    assert ("198.51.100.99", "new", ("172.20.0.0/16",), 1) == (
        tunnel.remote, tunnel.preshared_key, tunnel.remote_networks, tunnel.resets
    )  # fmt: skip
    (row,) = await land.admin("listVpnConnections")
    assert "Connecting" == row["state"]
    with refusal(431, "is overlapped with VPC cidr"):
        await land.admin("updateVpnCustomerGateway", id=far["id"], **{**changed, "cidrlist": "10.7.3.0/24"})


async def test_networks_of_both_sides_are_apart(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    inside = await land.job("createVpnCustomerGateway", **{**FAR, "name": "a", "cidrlist": "10.0.0.0/8"})
    same = await land.job("createVpnCustomerGateway", **{**FAR, "name": "b", "gateway": "198.51.100.11"})
    near = made["s2svpngatewayid"]
    with refusal(431, "is overlapped with VPC cidr"):
        await land.admin("createVpnConnection", s2svpngatewayid=near, s2scustomergatewayid=inside["id"])
    with refusal(431, "another VPN connection"):
        await land.admin("createVpnConnection", s2svpngatewayid=near, s2scustomergatewayid=same["id"])
    with refusal(431, "already existed"):
        await land.admin("createVpnConnection", s2svpngatewayid=near, s2scustomergatewayid=made["s2scustomergatewayid"])
    assert 1 == len(await land.admin("listVpnConnections"))


async def test_a_gateway_has_four_connections_at_most(land: Land, vpc: dict[str, Any]):
    near = await land.job("createVpnGateway", vpcid=vpc["id"])
    for number in range(5):
        words = {
            **FAR,
            "name": f"far{number}",
            "gateway": f"198.51.100.{number + 1}",
            "cidrlist": f"172.16.{number}.0/24",
        }
        far = await land.job("createVpnCustomerGateway", **words)
        params = {"s2svpngatewayid": near["id"], "s2scustomergatewayid": far["id"]}
        if number < 4:
            await land.job("createVpnConnection", **params)
        else:
            with refusal(431, "The limit is 4"):
                await land.admin("createVpnConnection", **params)


async def test_both_gateways_are_of_one_account(land: Land, vpc: dict[str, Any]):
    near = await land.job("createVpnGateway", vpcid=vpc["id"])
    user = await land.stage.user("bob")
    far = await land.job("createVpnCustomerGateway", who=user, **FAR)
    with refusal(431, "same account"):
        await land.admin("createVpnConnection", s2svpngatewayid=near["id"], s2scustomergatewayid=far["id"])
    with refusal(531, ""):
        await user("createVpnConnection", s2svpngatewayid=near["id"], s2scustomergatewayid=far["id"])
    assert [] == await user("listVpnGateways", listall=True)


async def test_without_a_router_that_runs_nothing_is_connected(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    await says(land, made["id"], TunnelState.CONNECTED)
    (router,) = await land.rows(sa.select(tables.machine).where(tables.machine.c.vpc_id.is_not(None)))
    await land.set_machine(router.uuid, power="stopped")
    (row,) = await land.admin("listVpnConnections")
    assert ("Disconnected", "the VPC's router does not run") == (row["state"], row["note"])


async def test_a_router_that_cannot_be_told_is_said(land: Land, vpc: dict[str, Any]):
    """Nothing has changed then."""
    made = await connected(land, vpc)
    (host,) = await land.rows(sa.select(tables.host))
    await land.cloud.change(tables.host, host.uuid, state="Alert")
    for command in ("resetVpnConnection", "deleteVpnConnection"):
        with refusal(534, "is unreachable"):
            await land.admin(command, id=made["id"])
    with refusal(534, "is unreachable"):
        await land.admin("updateVpnCustomerGateway", id=made["s2scustomergatewayid"], **{**FAR, "ipsecpsk": "new"})
    (row,) = await land.admin("listVpnConnections")
    assert ("Connecting", "between us") == (row["state"], row["ipsecpsk"])


async def test_others_than_its_own_router_are_not_believed(land: Land, vpc: dict[str, Any]):
    made = await connected(land, vpc)
    network = await land.network(name="other")
    await land.implemented(network["id"])

    def write(tx: Tx) -> None:
        (stranger,) = tx.rows(tables.machine, "kind = 'router' and network_id is not null")
        seen = TunnelSeen(connection=made["id"], resets=0, state=TunnelState.CONNECTED)
        vpn_sites.heard(tx, stranger.uuid, (seen,))

    await land.stage.store.run(write)
    (row,) = await land.admin("listVpnConnections")
    assert "Connecting" == row["state"]


async def test_another_site_is_in_no_private_gateways_network(land: Land, vpc: dict[str, Any]):
    """Nor a private gateway's network at another site."""
    given = {"vpcid": vpc["id"], "gateway": "172.16.1.1", "ipaddress": "172.16.1.9", "netmask": "255.255.255.0"}
    made = await land.job("createPrivateGateway", vlan="9000", **given)
    with refusal(431, "172.16.1.0/24, a private gateway's network"):
        await connected(land, vpc)
    await land.job("deletePrivateGateway", id=made["id"])
    await land.cloud.change(tables.private_gateway, made["id"], removed=1.0)
    (near,), (far,) = await land.admin("listVpnGateways"), await land.admin("listVpnCustomerGateways")
    await land.job("createVpnConnection", s2svpngatewayid=near["id"], s2scustomergatewayid=far["id"])
    with refusal(431, "the other side of a VPN connection"):
        await land.admin("createPrivateGateway", vlan="9000", **given)
