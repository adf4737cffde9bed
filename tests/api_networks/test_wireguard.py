"""WireGuard peers: what is made, what stands in the way of what, what a router is told, and who sees a private key."""

import base64
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.api.rules.wireguard import pair
from sysvm.store import tables
from sysvm.store.queries import documents, jobs, keys
from sysvm.store.store import Tx
from sysvm.wire.documents import RouterDocument
from sysvm.wire.wireguard import WireGuard, WireGuardPeer
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land


def key(number: int) -> str:
    """Somebody's public key."""
    return pair(base64.urlsafe_b64encode(bytes([number] * 32)).decode()).public


ALICE = {"name": "alice", "publickey": key(1)}


async def told(land: Land) -> WireGuard | None:
    """What stands in the document of the network's router."""

    def read(tx: Tx) -> WireGuard | None:
        (router,) = tx.all(sa.select(tables.machine).where(tables.machine.c.kind == "router"))
        document = documents.document_of(tx, router, keys.ensure_keys(tx, land.stage.vault, land.stage.ids))
        assert isinstance(document, RouterDocument)
        return document.wireguard

    return await land.stage.store.run(read)


async def add(land: Land, **params: Any) -> dict[str, Any]:
    """A peer on the source NAT address, when the router knows it."""
    return await served(land, await land.admin("addWireGuardPeer", publicipid=(await land.source_nat())["id"], **params))


async def served(land: Land, peer: dict[str, Any]) -> dict[str, Any]:
    """The peer, when the router has said that it knows it."""
    for row in await land.rows(sa.select(tables.job).where(tables.job.c.status == jobs.PENDING)):
        await land.serve(row.uuid)
    return {**peer, "state": "Active"}


# ---------------------------------------------------------------- what is made
async def test_a_peer_comes_in_when_the_router_knows_it(land: Land, network: dict[str, Any]):
    address = await land.source_nat()
    peer = await land.admin("addWireGuardPeer", publicipid=address["id"], **ALICE)
    (job,) = await land.admin("listAsyncJobs")
    assert [("machine", "live")] == await land.open_parts(job["jobid"])
    assert [peer] == await land.admin("listWireGuardPeers", id=peer["id"])
    assert ("Add", "10.253.0.2", 51820) == (peer["state"], peer["address"], peer["port"])
    assert_row_matches_catalogue("addWireGuardPeer", peer)
    peer = await served(land, peer)
    assert ("Active", ALICE["publickey"], "10.1.1.0/24,10.253.0.0/24") == (
        peer["state"], peer["publickey"], peer["allowedips"],
    )  # fmt: skip
    assert [peer] == await land.admin("listWireGuardPeers", networkid=network["id"])
    assert [peer] == await land.admin("listWireGuardPeers", publicipid=address["id"], name="alice")


async def test_the_file_says_how_to_come_in(land: Land, network: dict[str, Any]):
    """Of a peer that has brought its key: all but that."""
    peer = await add(land, **ALICE)
    assert (
        "[Interface]\n# PrivateKey = (that of the peer's public key)\nAddress = 10.253.0.2/32\nDNS = 10.1.1.1\n\n"
        f"[Peer]\nPublicKey = {peer['serverpublickey']}\nAllowedIPs = 10.1.1.0/24, 10.253.0.0/24\n"
        f"Endpoint = {peer['publicip']}:51820\nPersistentKeepalive = 25\n"
    ) == peer["configuration"]
    assert f"{peer['publicip']}:51820" == peer["endpoint"]


async def test_the_router_is_told_its_key_and_its_peers(land: Land, network: dict[str, Any]):
    assert None is await told(land)
    one, two = await add(land, **ALICE), await add(land, name="bob", publickey=key(2))
    said = await told(land)
    assert said is not None
    assert (one["publicip"], 51820, "10.253.0.1/24", ("10.1.1.0/24",)) == (
        said.public, said.port, said.address, said.networks,
    )  # fmt: skip
    assert (
        WireGuardPeer(key=key(1), address="10.253.0.2"), WireGuardPeer(key=key(2), address="10.253.0.3"),
    ) == said.peers  # fmt: skip
    private = base64.urlsafe_b64encode(base64.b64decode(said.private_key)).decode()
    assert pair(private).public == one["serverpublickey"] == two["serverpublickey"]


async def test_with_the_last_peer_everything_goes(land: Land, network: dict[str, Any]):
    """The port is free and shut; the next peer meets another key of the router."""
    one, two = await add(land, **ALICE), await add(land, name="bob")
    assert [(51820, "udp", "Active")] == [
        (row["startport"], row["protocol"], row["state"]) for row in await land.admin("listFirewallRules")
    ]
    accepted = await land.admin("removeWireGuardPeer", id=one["id"])
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    assert [two["id"]] == [row["id"] for row in await land.admin("listWireGuardPeers")]
    await land.job("removeWireGuardPeer", id=two["id"])
    assert ([], [], None) == (
        await land.admin("listWireGuardPeers"), await land.admin("listFirewallRules"), await told(land),
    )  # fmt: skip
    assert [""] == [row.private_key for row in await land.rows(sa.select(tables.wireguard_server))]
    again = await add(land, **ALICE)
    assert (one["address"], True) == (again["address"], again["serverpublickey"] != one["serverpublickey"])


async def test_an_address_that_is_free_again_is_given_again(land: Land, network: dict[str, Any]):
    one, two = await add(land, name="one"), await add(land, name="two")
    await land.job("removeWireGuardPeer", id=one["id"])
    three = await add(land, name="three")
    assert ("10.253.0.3", "10.253.0.2") == (two["address"], three["address"])


# ---------------------------------------------------------------- private keys
async def test_a_private_key_that_is_made_is_in_one_answer(land: Land, network: dict[str, Any]):
    peer = await add(land, name="phone")
    private = base64.urlsafe_b64encode(base64.b64decode(peer["privatekey"])).decode()
    assert pair(private).public == peer["publickey"]
    assert f"PrivateKey = {peer['privatekey']}\n" in peer["configuration"]
    (row,) = await land.admin("listWireGuardPeers")
    assert ("privatekey" not in row, peer["privatekey"] not in str(row)) == (True, True)


async def test_no_private_key_is_readable_in_the_database(land: Land, network: dict[str, Any]):
    """Nor is that of a peer there sealed."""
    peer = await add(land, name="phone")
    server = await told(land)
    assert server is not None
    for table in (tables.wireguard_server, tables.wireguard_peer, tables.job, tables.event):
        rows = str(await land.rows(sa.select(table)))
        assert (table.name, False, False) == (table.name, peer["privatekey"] in rows, server.private_key in rows)
    (job,) = await land.rows(sa.select(tables.job).where(tables.job.c.command == "addWireGuardPeer"))
    assert ({}, False) == (job.params, "privatekey" in job.result)


async def test_an_event_says_who_was_let_in(land: Land, network: dict[str, Any]):
    await add(land, **ALICE)
    (event,) = await land.admin("listEvents", type="VPN.WIREGUARD.PEER.ADD")
    assert event["description"].startswith("Add WireGuard peer alice for ip ")


async def test_no_key_is_made_for_who_brings_one(land: Land, network: dict[str, Any]):
    assert "privatekey" not in await add(land, **ALICE)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "text",
    [
        "short",
        key(1)[:-1],
        key(1) + "=",
        key(1).replace("=", ""),
        key(1)[:20] + "\n" + key(1)[20:],
        "A" * 43 + "=",
        base64.b64encode(b"\1" + bytes(31)).decode(),
        "é" * 44,
        f"{'A' * 42}B=",
    ],
    ids=["short", "unpadded", "padded twice", "no end", "broken", "zero", "small order", "letters", "spare bits"],
)
async def test_what_is_no_public_key_is_refused(land: Land, network: dict[str, Any], text: str):
    with refusal(431, "Invalid public key"):
        await add(land, name="alice", publickey=text)
    assert ([], []) == (await land.admin("listWireGuardPeers"), await land.admin("listFirewallRules"))


@pytest.mark.parametrize("name", ["-alice", " alice", "alice ", "a" * 65, "al\nice", "al'ice", 'al"ice', "älice", "a=b", "[a]"])
async def test_odd_names_are_refused(land: Land, network: dict[str, Any], name: str):
    with refusal(431, "The name of a peer"):
        await add(land, name=name, publickey=key(1))


async def test_names_and_keys_are_one_peers(land: Land, network: dict[str, Any]):
    peer = await add(land, **ALICE)
    with refusal(431, "has a WireGuard peer alice already"):
        await add(land, name="alice", publickey=key(2))
    with refusal(431, "with this public key already"):
        await add(land, name="bob", publickey=key(1))
    with refusal(431, "or it is the router's own"):
        await add(land, name="bob", publickey=peer["serverpublickey"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("nonsense", "Invalid ip range"),
        ("10.9.0.1-10.9.0.9", "Invalid ip range"),
        ("10.9.0.1/24", "without bits after the prefix"),
        ("fd00::/64", "Invalid ip range"),
        ("10.8.0.0/21", "its prefix is"),
        ("10.9.0.0/31", "its prefix is"),
        ("10.1.0.0/22", "overlaps with guest ip range"),
        ("10.1.1.64/26", "overlaps with guest ip range"),
        ("203.0.113.0/28", "overlaps with public ip range"),
        ("127.1.0.0/24", "cannot be peers"),
        ("169.254.3.0/24", "cannot be peers"),
        ("224.0.0.0/24", "cannot be peers"),
    ],
)
async def test_a_range_that_cannot_be_is_refused(land: Land, network: dict[str, Any], given: str, text: str):
    with refusal(431, text):
        await add(land, iprange=given, **ALICE)
    assert ([], None) == (await land.admin("listWireGuardPeers"), await told(land))


async def test_the_range_bounds_the_peers(land: Land, network: dict[str, Any]):
    """And is one for all of them."""
    assert "10.9.0.2" == (await add(land, name="one", iprange="10.9.0.0/30"))["address"]
    with refusal(532, "All 1 addresses for peers in 10.9.0.0/30 are used"):
        await add(land, name="two")
    with refusal(431, "The peers of this network have addresses of 10.9.0.0/30"):
        await add(land, name="two", iprange="10.10.0.0/24")


async def test_range_and_port_are_settings_unless_said(land: Land, network: dict[str, Any]):
    (account,) = await land.admin("listAccounts", name="admin")
    name = "remote.access.wireguard.client.iprange"
    await land.admin("updateConfiguration", name=name, value="10.7.0.0/28", accountid=account["id"])
    await land.admin("updateConfiguration", name="remote.access.wireguard.port", value=443)
    peer = await add(land, **ALICE)
    assert ("10.7.0.2", "10.7.0.0/28", 443) == (peer["address"], peer["iprange"], peer["port"])
    assert [443] == [row["startport"] for row in await land.admin("listFirewallRules")]


async def test_only_the_source_nat_address_of_an_isolated_network_has_peers(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    with refusal(431, "is not the source nat address"):
        await land.admin("addWireGuardPeer", publicipid=address["id"], **ALICE)


async def test_its_port_and_forwards_exclude_each_other(land: Land, network: dict[str, Any]):
    guest = await land.deploy(networkids=network["id"], name="web")
    address = await land.source_nat()
    forward = {
        "ipaddressid": address["id"], "protocol": "udp", "publicport": 51819, "publicendport": 51821,
        "privateport": 1, "privateendport": 3, "virtualmachineid": guest["id"],
    }  # fmt: skip
    first = await land.job("createPortForwardingRule", **forward)
    with refusal(537, "conflicts with rule"):
        await add(land, **ALICE)
    assert [] == await land.admin("listWireGuardPeers"), "nothing has changed"
    await land.job("deletePortForwardingRule", id=first["id"])
    await add(land, **ALICE)
    with refusal(537, "conflicts with rule"):
        await land.admin("createPortForwardingRule", **forward)
    await land.job("createPortForwardingRule", **{**forward, "protocol": "tcp"})


async def test_it_stands_beside_the_other_vpn_with_another_range(land: Land, network: dict[str, Any]):
    """Whichever comes first."""
    address = await land.source_nat()
    await land.job("createRemoteAccessVpn", publicipid=address["id"])
    with refusal(431, "overlaps with the range of remote access VPN"):
        await add(land, iprange="10.1.2.0/24", **ALICE)
    await add(land, **ALICE)
    await land.job("deleteRemoteAccessVpn", publicipid=address["id"])
    with refusal(431, "overlaps with the range of WireGuard peers"):
        await land.admin("createRemoteAccessVpn", publicipid=address["id"], iprange="10.253.0.9-10.253.0.19")


async def test_a_port_that_is_the_users_to_open(land: Land, network: dict[str, Any]):
    """With openfirewall=false nothing is opened; what was open already is not opened twice, and stays."""
    await add(land, openfirewall=False, **ALICE)
    assert [] == await land.admin("listFirewallRules")
    address = await land.source_nat()
    (peer,) = await land.admin("listWireGuardPeers")
    await land.job("removeWireGuardPeer", id=peer["id"])
    own = await land.job("createFirewallRule", ipaddressid=address["id"], protocol="udp", startport=1, endport=60000)
    await land.job("removeWireGuardPeer", id=(await add(land, **ALICE))["id"])
    assert [own["id"]] == [row["id"] for row in await land.admin("listFirewallRules")]


# ---------------------------------------------------------------- whose they are
async def test_another_account_neither_sees_nor_changes_them(land: Land, network: dict[str, Any]):
    peer, address = await add(land, **ALICE), await land.source_nat()
    other = await land.stage.user("other")
    assert [] == await other("listWireGuardPeers", listall=True)
    with refusal(531):
        await other("removeWireGuardPeer", id=peer["id"])
    with refusal(531):
        await other("addWireGuardPeer", publicipid=address["id"], name="eve", publickey=key(9))


async def test_a_user_has_peers_of_his_own_network(land: Land):
    user = await land.stage.user("someone")
    network = await land.implemented((await land.network(user))["id"])
    (address,) = await user("listPublicIpAddresses", issourcenat=True, associatednetworkid=network["id"])
    peer = await served(land, await user("addWireGuardPeer", publicipid=address["id"], **ALICE))
    assert ("someone", "alice") == (peer["account"], peer["name"])
    assert [peer["id"]] == [row["id"] for row in await user("listWireGuardPeers")]


async def test_an_offering_without_vpn_does_not_come_over_peers(land: Land, network: dict[str, Any]):
    await add(land, **ALICE)
    services = ("Dhcp", "Dns", "SourceNat", "Firewall")
    providers = {f"serviceproviderlist[{at}].{what}": value for at, service in enumerate(services)
                 for what, value in (("service", service), ("provider", "VirtualRouter"))}  # fmt: skip
    offering = await land.admin(
        "createNetworkOffering", name="plain", displaytext="plain", guestiptype="Isolated", traffictype="GUEST",
        supportedservices=",".join(services), **providers,
    )  # fmt: skip
    await land.admin("updateNetworkOffering", id=offering["id"], state="Enabled")
    with refusal(536, "lacks Vpn, but the network has such rules"):
        await land.admin("updateNetwork", id=network["id"], networkofferingid=offering["id"])
