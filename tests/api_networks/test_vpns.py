"""Remote access VPNs and their users: what is made, what stands in the way of what, what a router is told."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import vpns
from sysvm.store.store import Tx
from sysvm.wire.vpn import RemoteAccess, VpnUser
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import made_vpc, make_tier

ALICE = {"username": "alice", "password": "wonder.land"}


async def told(land: Land) -> RemoteAccess | None:
    """What the network's router is told."""

    def read(tx: Tx) -> RemoteAccess | None:
        (network,) = tx.all(sa.select(tables.network))
        return vpns.facts(tx, network, land.stage.vault)

    return await land.stage.store.read(read)


async def made(land: Land, **params: Any) -> dict[str, Any]:
    """A VPN on the source NAT address."""
    return await land.job("createRemoteAccessVpn", publicipid=(await land.source_nat())["id"], **params)


# ---------------------------------------------------------------- VPNs
async def test_a_vpn_runs_when_the_router_has_it(land: Land, network: dict[str, Any]):
    address = await land.source_nat()
    accepted = await land.admin("createRemoteAccessVpn", publicipid=address["id"])
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listRemoteAccessVpns", publicipid=address["id"])
    assert ("Added", "10.1.2.2-10.1.2.8", address["ipaddress"]) == (row["state"], row["iprange"], row["publicip"])
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    vpn = over["jobresult"]["remoteaccessvpn"]
    assert_row_matches_catalogue("createRemoteAccessVpn", vpn)
    assert ("Running", 24) == (vpn["state"], len(vpn["presharedkey"]))
    assert [vpn] == await land.admin("listRemoteAccessVpns", networkid=network["id"])
    assert vpn["presharedkey"] == (await told(land)).preshared_key


async def test_neither_keys_nor_passwords_are_readable_in_the_database(land: Land, network: dict[str, Any]):
    vpn, _ = await made(land), await land.job("addVpnUser", **ALICE)
    rows = [*await land.rows(sa.select(tables.remote_access_vpn)), *await land.rows(sa.select(tables.vpn_user))]
    rows += [row.result for row in await land.rows(sa.select(tables.job))]
    assert not [row for row in rows if vpn["presharedkey"] in str(row) or ALICE["password"] in str(row)]


async def test_the_ports_are_opened_and_closed_with_it(land: Land, network: dict[str, Any]):
    await made(land)
    opened = await land.admin("listFirewallRules")
    assert {(500, "udp", "Active"), (4500, "udp", "Active"), (1701, "udp", "Active")} == {
        (row["startport"], row["protocol"], row["state"]) for row in opened
    }
    await land.job("deleteRemoteAccessVpn", publicipid=(await land.source_nat())["id"])
    assert ([], []) == (await land.admin("listFirewallRules"), await land.admin("listRemoteAccessVpns"))
    assert None is await told(land)
    await made(land, openfirewall=False)
    assert [] == await land.admin("listFirewallRules")


async def test_a_port_that_is_open_already_stays_so(land: Land, network: dict[str, Any]):
    """The user's own rule is not doubled, and not closed with the VPN."""
    address = await land.source_nat()
    own = await land.job("createFirewallRule", ipaddressid=address["id"], protocol="udp", startport=400, endport=600)
    await made(land)
    assert 3 == len(await land.admin("listFirewallRules"))
    await land.job("deleteRemoteAccessVpn", publicipid=address["id"])
    assert [own["id"]] == [row["id"] for row in await land.admin("listFirewallRules")]


async def test_an_address_has_one_vpn(land: Land, network: dict[str, Any]):
    await made(land)
    with refusal(431, "already exists for this public Ip address"):
        await made(land)


async def test_only_the_source_nat_address_has_one(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    with refusal(431, "is not the source nat address"):
        await land.admin("createRemoteAccessVpn", publicipid=address["id"])


@pytest.mark.parametrize("port", [500, 4500, 1701])
async def test_ports_of_a_vpn_and_of_forwards_exclude_each_other(land: Land, network: dict[str, Any], port: int):
    await land.deploy(networkids=network["id"], name="web")
    (guest,) = await land.admin("listVirtualMachines", name="web")
    address = await land.source_nat()
    forward = {
        "ipaddressid": address["id"], "protocol": "udp", "publicport": port - 1, "publicendport": port,
        "privateport": 1, "privateendport": 2, "virtualmachineid": guest["id"],
    }  # fmt: skip
    made_first = await land.job("createPortForwardingRule", **forward)
    with refusal(537, "conflicts with rule"):
        await land.admin("createRemoteAccessVpn", publicipid=address["id"])
    assert [] == await land.admin("listRemoteAccessVpns"), "nothing has changed"
    await land.job("deletePortForwardingRule", id=made_first["id"])
    await made(land)
    with refusal(537, "conflicts with rule"):
        await land.admin("createPortForwardingRule", **forward)
    await land.job("createPortForwardingRule", **{**forward, "protocol": "tcp"})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("10.1.2.1", "Invalid ip range"),
        ("10.1.2.1-10.1.2.8-10.1.2.9", "Invalid ip range"),
        ("10.1.2.1-nonsense", "Invalid ip in range specification"),
        ("fd00::1-fd00::9", "Invalid ip in range specification"),
        ("10.1.2.8-10.1.2.1", "holds no address"),
        ("10.1.2.1-10.1.2.1", "holds no address"),
        ("10.0.0.0-10.255.255.255", "more than 65536"),
        ("10.1.0.250-10.1.1.3", "overlaps with guest ip range"),
        ("10.1.1.250-10.1.2.3", "overlaps with guest ip range"),
        ("203.0.113.100-203.0.113.110", "overlaps with public ip range"),
        ("127.0.0.1-127.0.0.9", "cannot be clients"),
        ("169.254.3.1-169.254.3.9", "cannot be clients"),
        ("223.255.255.250-224.0.0.5", "cannot be clients"),
    ],
)
async def test_a_range_that_cannot_be_is_refused(land: Land, network: dict[str, Any], given: str, text: str):
    with refusal(431, text):
        await made(land, iprange=given)
    assert [] == await land.admin("listRemoteAccessVpns")


async def test_the_range_is_the_accounts_setting_unless_said(land: Land, network: dict[str, Any]):
    (account,) = await land.admin("listAccounts", name="admin")
    name = "remote.access.vpn.client.iprange"
    await land.admin("updateConfiguration", name=name, value="10.7.0.1-10.7.0.5", accountid=account["id"])
    assert "10.7.0.2-10.7.0.5" == (await made(land))["iprange"]
    await land.job("deleteRemoteAccessVpn", publicipid=(await land.source_nat())["id"])
    assert "10.8.0.2-10.8.0.3" == (await made(land, iprange="10.8.0.1-10.8.0.3"))["iprange"]


async def test_a_network_without_the_service_has_none(land: Land):
    services = ("Dhcp", "Dns", "SourceNat", "Firewall")
    providers = {f"serviceproviderlist[{at}].{key}": value for at, service in enumerate(services)
                 for key, value in (("service", service), ("provider", "VirtualRouter"))}  # fmt: skip
    offering = await land.admin(
        "createNetworkOffering", name="plain", displaytext="plain", guestiptype="Isolated", traffictype="GUEST",
        supportedservices=",".join(services), **providers,
    )  # fmt: skip
    await land.admin("updateNetworkOffering", id=offering["id"], state="Enabled")
    plain = await land.network(networkofferingid=offering["id"])
    await land.implemented(plain["id"])
    with refusal(431, "doesn't support service Vpn"):
        await made(land)


async def test_deleting_what_is_not_there_is_refused(land: Land, network: dict[str, Any]):
    with refusal(431, "no remote access VPN"):
        await land.admin("deleteRemoteAccessVpn", publicipid=(await land.source_nat())["id"])


async def test_who_is_shown_it_is_changed(land: Land, network: dict[str, Any]):
    vpn = await made(land)
    changed = await land.job("updateRemoteAccessVpn", id=vpn["id"], fordisplay=False)
    assert {**vpn, "fordisplay": False} == changed
    assert [] == await land.admin("listRemoteAccessVpns", fordisplay=True)


# ---------------------------------------------------------------- users
async def test_a_user_is_told_to_every_router_of_the_account(land: Land, network: dict[str, Any]):
    await made(land)
    accepted = await land.admin("addVpnUser", **ALICE)
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listVpnUsers", username="alice")
    assert "Add" == row["state"]
    await land.serve(accepted["jobid"])
    (row,) = await land.admin("listVpnUsers")
    assert ("Active", "alice") == (row["state"], row["username"])
    assert_row_matches_catalogue("listVpnUsers", row)
    assert (VpnUser(name="alice", password="wonder.land"),) == (await told(land)).users
    await land.job("removeVpnUser", username="alice")
    assert ([], ()) == (await land.admin("listVpnUsers"), (await told(land)).users)


async def test_users_may_come_before_the_vpn(land: Land, network: dict[str, Any]):
    assert "Active" == (await land.job("addVpnUser", **ALICE))["state"]
    await made(land)
    assert ["alice"] == [user.name for user in (await told(land)).users]


@pytest.mark.parametrize(
    "name",
    [
        "al",
        "a" * 65,
        "-alice",
        "@lice",
        "al ice",
        "alice'",
        'al"ice',
        "al\nice",
        "älice",
        "al%any",
        "al=ice",
        "al:ice",
        "",
    ],
)
async def test_odd_names_are_refused(land: Land, name: str):
    with refusal(431):
        await land.admin("addVpnUser", username=name, password="password")
    assert [] == await land.admin("listVpnUsers")


@pytest.mark.parametrize("password", ["pw", "p" * 33, ".secret", "sec ret", 'sec"ret', "sec\nret", "sécret"])
async def test_odd_passwords_are_refused(land: Land, password: str):
    with refusal(431, "Password has to begin"):
        await land.admin("addVpnUser", username="alice", password=password)


async def test_a_name_is_one_users_whatever_its_case(land: Land):
    await land.job("addVpnUser", **ALICE)
    for name in ("alice", "Alice"):
        with refusal(431, "already added"):
            await land.admin("addVpnUser", username=name, password="another")


async def test_an_account_has_so_many_users_at_most(land: Land):
    await land.admin("updateConfiguration", name="remote.access.vpn.user.limit", value=2)
    for name in ("one", "two"):
        await land.job("addVpnUser", username=name, password="password")
    (user,) = [row for row in await land.admin("listVpnUsers") if row["username"] == "one"]
    with refusal(532, "Cannot add more than 2"):
        await land.admin("addVpnUser", username="three", password="password")
    await land.job("removeVpnUser", username=user["username"])
    await land.job("addVpnUser", username="three", password="password")


async def test_removing_who_is_not_there_is_refused(land: Land):
    with refusal(431, "Could not find vpn user=bob"):
        await land.admin("removeVpnUser", username="bob")


async def test_another_account_has_users_of_its_own(land: Land, network: dict[str, Any]):
    """They neither collide nor get in, and are not seen."""
    await made(land)
    other = await land.stage.user("other")
    await land.job("addVpnUser", **ALICE)
    await land.job("addVpnUser", who=other, username="alice", password="of-another")
    assert [("alice", "wonder.land")] == [(user.name, user.password) for user in (await told(land)).users]
    assert (1, []) == (len(await other("listVpnUsers")), await other("listRemoteAccessVpns", listall=True))
    with refusal(531):
        await other("deleteRemoteAccessVpn", publicipid=(await land.source_nat())["id"])


# ---------------------------------------------------------------- of a VPC
@pytest.fixture
async def vpc(land: Land) -> dict[str, Any]:
    """With an address and a router that runs."""
    return await made_vpc(land)


async def told_in_vpc(land: Land) -> RemoteAccess | None:
    """What the VPC's router is told."""

    def read(tx: Tx) -> RemoteAccess | None:
        (row,) = tx.all(sa.select(tables.vpc))
        return vpns.facts_of_vpc(tx, row, land.stage.vault, ("10.7.1.1",))

    return await land.stage.store.read(read)


async def test_a_vpc_has_a_vpn_on_its_source_nat_address(land: Land, vpc: dict[str, Any]):
    """Its router is told, also of users who come later; the VPN goes with the VPC."""
    (address,) = await land.admin("listPublicIpAddresses", vpcid=vpc["id"], issourcenat=True)
    accepted = await land.admin("createRemoteAccessVpn", publicipid=address["id"])
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    vpn = (await land.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobresult"]["remoteaccessvpn"]
    assert_row_matches_catalogue("createRemoteAccessVpn", vpn)
    assert ("Running", [vpn]) == (vpn["state"], await land.admin("listRemoteAccessVpns", publicipid=address["id"]))
    added = await land.admin("addVpnUser", **ALICE)
    assert [("machine", "live")] == await land.open_parts(added["jobid"])
    assert RemoteAccess(
        public=address["ipaddress"], preshared_key=vpn["presharedkey"], first="10.1.2.2", last="10.1.2.8",
        networks=(vpc["cidr"],), dns=("10.7.1.1",), users=(VpnUser(name=ALICE["username"], password=ALICE["password"]),),
    ) == await told_in_vpc(land)  # fmt: skip
    await land.job("deleteRemoteAccessVpn", publicipid=address["id"])
    assert None is await told_in_vpc(land)


async def test_a_vpcs_vpn_and_forwards_exclude_each_other(land: Land, vpc: dict[str, Any]):
    (address,) = await land.admin("listPublicIpAddresses", vpcid=vpc["id"], issourcenat=True)
    tier = await make_tier(land, vpc, gateway="10.7.1.1")
    guest = await land.deploy(networkids=tier["id"], name="web")
    forward = {
        "ipaddressid": address["id"], "protocol": "udp", "publicport": 4499, "publicendport": 4500, "privateport": 1,
        "privateendport": 2, "virtualmachineid": guest["id"], "networkid": tier["id"],
    }  # fmt: skip
    first = await land.job("createPortForwardingRule", **forward)
    with refusal(537, "conflicts with rule"):
        await land.admin("createRemoteAccessVpn", publicipid=address["id"])
    await land.job("deletePortForwardingRule", id=first["id"])
    await land.job("createRemoteAccessVpn", publicipid=address["id"])
    with refusal(537, "conflicts with rule"):
        await land.admin("createPortForwardingRule", **forward)
    await land.job("createPortForwardingRule", **{**forward, "protocol": "tcp"})


async def test_clients_of_a_vpc_have_addresses_of_their_own(land: Land, vpc: dict[str, Any]):
    (address,) = await land.admin("listPublicIpAddresses", vpcid=vpc["id"], issourcenat=True)
    other = await land.job("associateIpAddress", vpcid=vpc["id"])
    gateway = {"vpcid": vpc["id"], "gateway": "10.1.2.1", "ipaddress": "10.1.2.9", "netmask": "255.255.255.0", "vlan": "9000"}
    made_first = await land.job("createPrivateGateway", **gateway)
    for params, words in (
        ({}, "overlaps with what its router reaches elsewhere, 10.1.2.0/24"),
        ({"iprange": "10.7.0.1-10.7.0.9"}, "overlaps with the VPC's addresses"),
        ({"publicipid": other["id"]}, "is not the source nat address"),
    ):
        with refusal(431, words):
            await land.admin("createRemoteAccessVpn", **{"publicipid": address["id"], **params})
    await land.job("createRemoteAccessVpn", publicipid=address["id"], iprange="10.1.3.1-10.1.3.9")
    with refusal(431, "the range of VPN clients"):
        await land.admin("createPrivateGateway", **{**gateway, "gateway": "10.1.3.1", "ipaddress": "10.1.3.20"})
    assert made_first["id"]


async def test_a_vpc_without_the_service_has_no_vpn(land: Land, vpc: dict[str, Any]):
    (address,) = await land.admin("listPublicIpAddresses", vpcid=vpc["id"], issourcenat=True)
    small = await land.job("createVPCOffering", name="s", displaytext="s", supportedservices="Dhcp,Dns,SourceNat")
    await land.job("updateVPCOffering", id=small["id"], state="Enabled")
    await land.job("createRemoteAccessVpn", publicipid=address["id"])
    with refusal(536, "has a remote access VPN"):
        await land.admin("migrateVPC", vpcid=vpc["id"], vpcofferingid=small["id"])
    await land.job("deleteRemoteAccessVpn", publicipid=address["id"])
    await land.job("migrateVPC", vpcid=vpc["id"], vpcofferingid=small["id"])
    with refusal(431, "does not have the service Vpn"):
        await land.admin("createRemoteAccessVpn", publicipid=address["id"])
