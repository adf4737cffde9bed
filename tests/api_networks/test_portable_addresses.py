"""Portable addresses: ranges of no zone, whose addresses an account keeps while it takes them from network to network."""

from typing import Any

import pytest

from sysvm.store import tables
from sysvm.store.queries import documents
from sysvm.store.store import Tx
from sysvm.wire.documents import RouterDocument
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.test_guest_places import needs
from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud

RANGE = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.10", "endip": "198.51.100.12",
         "regionid": 1}  # fmt: skip


async def portable(land: Land, **params: Any) -> dict[str, Any]:
    """A range."""
    return dict(await land.job("createPortableIpRange", **{**RANGE, **params}))


# ---------------------------------------------------------------- ranges
async def test_a_range_is_made_listed_with_its_addresses_and_deleted(land: Land):
    assert [False] == [row["portableipserviceenabled"] for row in await land.admin("listRegions")]
    made = await portable(land)
    assert_row_matches_catalogue("listPortableIpRanges", made)
    assert [True] == [row["portableipserviceenabled"] for row in await land.admin("listRegions")]
    assert ("untagged", 1, "198.51.100.10", "198.51.100.12") == tuple(
        made[name] for name in ("vlan", "regionid", "startip", "endip")
    )
    free = [{"regionid": 1, "ipaddress": f"198.51.100.{last}", "state": "Free"} for last in (10, 11, 12)]
    assert free == made["portableipaddress"]
    for filter_ in ({}, {"id": made["id"]}, {"regionid": 1}, {"keyword": "198.51"}):
        assert [made] == await land.admin("listPortableIpRanges", **filter_)
    assert [] == await land.admin("listPortableIpRanges", regionid=2)
    assert made["id"] not in [row["id"] for row in await land.admin("listVlanIpRanges")]
    await land.admin("deletePortableIpRange", id=made["id"])
    assert [] == await land.admin("listPortableIpRanges")


REFUSED = (
    ({"regionid": 2}, "Unable to find a region with id 2"),
    ({"endip": "198.51.99.1"}, "is not in the subnet"),
    ({"vlan": "many"}, "neither 'untagged' nor a number"),
    ({"gateway": "203.0.113.1", "startip": "203.0.113.15", "endip": "203.0.113.30"}, "overlaps the public range"),
    ({"gateway": "172.16.0.1", "startip": "172.16.0.60", "endip": "172.16.0.61"}, "must be of different subnets"),
    ({"startip": "198.51.100.200", "endip": "198.51.100.210"}, "overlaps the portable range 198.51.100.200-198.51.100.201"),
)  # fmt: skip


@pytest.mark.parametrize(("params", "text"), REFUSED)
async def test_ranges_that_are_refused(land: Land, params: dict[str, Any], text: str):
    await portable(land, startip="198.51.100.200", endip="198.51.100.201")
    with refusal(431, text):
        await land.admin("createPortableIpRange", **{**RANGE, **params})


async def test_a_public_range_has_no_addresses_of_a_portable_one(land: Land):
    await portable(land)
    given = {name: value for name, value in RANGE.items() if name != "regionid"}
    with refusal(431, "overlaps the portable range 198.51.100.10-198.51.100.12 of all zones"):
        await land.admin("createVlanIpRange", zoneid=land.zone, forvirtualnetwork=True, vlan="untagged", **given)


# ---------------------------------------------------------------- addresses
async def test_an_address_is_taken_and_given_back(land: Land, network: dict[str, Any]):
    made = await portable(land)
    capacity = await land.admin("listCapacity", zoneid=land.zone, type=4)
    ip = await land.public_ip(network, isportable=True)
    assert_row_matches_catalogue("listPublicIpAddresses", ip)
    assert ("198.51.100.10", True, land.zone) == (ip["ipaddress"], ip["isportable"], ip["zoneid"])
    assert [ip] == [row for row in await land.admin("listPublicIpAddresses") if row["isportable"]]
    (row,) = await land.admin("listPortableIpRanges")
    held = {"ipaddress": "198.51.100.10", "state": "Allocated", "networkid": network["id"], "zoneid": land.zone}
    assert held.items() <= row["portableipaddress"][0].items()
    assert capacity == await land.admin("listCapacity", zoneid=land.zone, type=4)  # of the zone's own addresses
    with refusal(536, "there are 1 IPs assigned"):
        await land.admin("deletePortableIpRange", id=made["id"])
    await land.job("disassociateIpAddress", id=ip["id"])
    assert [made] == await land.admin("listPortableIpRanges")
    for event in ("PORTABLE.IP.RANGE.CREATE", "PORTABLE.IPASSIGN", "PORTABLE.IPRELEASE"):
        assert await land.admin("listEvents", type=event), event
    await land.public_ip(network)
    assert await land.admin("listEvents", type="NET.IPASSIGN")


async def test_addresses_run_out_and_are_of_the_vlan_of_the_public_ones(land: Land, network: dict[str, Any]):
    await portable(land, vlan="77")
    with refusal(533, "no free portable IP address on the VLAN of the zone's public addresses (untagged)"):
        await land.admin("associateIpAddress", networkid=network["id"], isportable=True)
    await portable(land, startip="198.51.100.20", endip="198.51.100.20")
    await land.public_ip(network, isportable=True)
    with refusal(533, "no free portable IP address"):
        await land.admin("associateIpAddress", networkid=network["id"], isportable=True)


async def test_an_address_goes_to_another_network_by_static_nat(land: Land, network: dict[str, Any]):
    await portable(land)
    other = await land.implemented((await land.network(name="other"))["id"])
    guest = await land.deploy(networkids=other["id"])
    ip = await land.public_ip(network, isportable=True)
    there = {"ipaddressid": ip["id"], "virtualmachineid": guest["id"], "networkid": other["id"]}
    rule = await land.job("createFirewallRule", ipaddressid=ip["id"], protocol="tcp", startport=22)
    with refusal(537, "to network other: rules stand on it, or static NAT; remove them first"):
        await land.admin("enableStaticNat", **there)
    await land.job("deleteFirewallRule", id=rule["id"])
    ordinary = await land.public_ip(network)
    with refusal(431, "associated with another network than the given networkid"):
        await land.admin("enableStaticNat", **{**there, "ipaddressid": ordinary["id"]})
    await land.admin("enableStaticNat", **there)
    (row,) = await land.admin("listPublicIpAddresses", id=ip["id"])
    assert (other["id"], guest["id"], True) == (row["associatednetworkid"], row["virtualmachineid"], row["isstaticnat"])


async def test_an_address_does_not_go_to_another_accounts_network(land: Land, network: dict[str, Any]):
    await portable(land)
    user = await land.stage.user("one")
    theirs = await land.implemented((await land.network(user))["id"])
    guest = await land.deploy(user, networkids=theirs["id"])
    ip = await land.public_ip(network, isportable=True)
    with refusal(537, "network net is of another account"):
        await land.admin("enableStaticNat", ipaddressid=ip["id"], virtualmachineid=guest["id"], networkid=theirs["id"])


# ---------------------------------------------------------------- what routers do
def test_routers_serve_it_in_turn_and_its_account_keeps_it():
    """It moves, its network goes, it serves again; it goes with the account that has it on no network."""
    tell(lambda tale: story(tale.cloud), guests_only=True)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    await client.job("createPortableIpRange", **RANGE)
    given = await needs(client)
    offering = await client.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    first = given["networkids"]
    second = (await client.ask("createNetwork", zoneid=given["zoneid"], name="m", displaytext="m",
                               networkofferingid=offering["id"]))["id"]  # fmt: skip
    one = await client.job("deployVirtualMachine", **given)
    two = await client.job("deployVirtualMachine", **{**given, "networkids": second})
    ip = await client.job("associateIpAddress", networkid=first, isportable=True)
    await cloud.until(lambda tx: live(cloud, tx) == {"n": True, "m": False})

    await client.ask("enableStaticNat", ipaddressid=ip["id"], virtualmachineid=two["id"], networkid=second)
    await cloud.until(lambda tx: live(cloud, tx) == {"n": False, "m": True})
    await client.job("disableStaticNat", ipaddressid=ip["id"])

    await client.job("destroyVirtualMachine", id=two["id"], expunge=True)
    await client.job("deleteNetwork", id=second)
    kept = await client.one("listPublicIpAddresses", id=ip["id"])
    assert ("Allocated", None) == (kept["state"], kept.get("associatednetworkid"))
    await client.ask("enableStaticNat", ipaddressid=ip["id"], virtualmachineid=one["id"], networkid=first)
    await cloud.until(lambda tx: live(cloud, tx) == {"n": True})
    await client.job("disassociateIpAddress", id=ip["id"])
    await cloud.until(lambda tx: live(cloud, tx) == {"n": False})
    assert {"Free"} == {row["state"] for row in (await client.one("listPortableIpRanges"))["portableipaddress"]}


def live(cloud: Cloud, tx: Tx) -> dict[str, bool]:
    """Of each network whose router has made its document true: whether the address is in it."""
    found = {}
    for router in tx.rows(tables.machine, "kind = 'router' and removed is null and document_live <> ''"):
        assert cloud.server_now is not None
        document = documents.document_of(tx, router, cloud.server_now.context.keys)
        assert isinstance(document, RouterDocument)
        network = tx.get(tables.network, router.network_id)
        if network is not None and router.document_live == router.document_wanted:
            found[network.name] = any("198.51.100.10/24" in each.addresses for each in document.interfaces)
    return found


async def test_an_address_on_no_network_goes_with_its_account(land: Land):
    await portable(land)
    user = await land.stage.user("one")
    mine = await land.network(user)
    await land.public_ip(mine, user, isportable=True)
    (ip,) = await land.rows(tables.public_ip.select().where(tables.public_ip.c.account_id.is_not(None)))
    await land.cloud.change(tables.public_ip, ip.uuid, network_id=None)
    (account,) = await land.admin("listAccounts", name="one", listall=True)
    await land.admin("deleteAccount", id=account["id"])
    assert {"Free"} == {row["state"] for row in (await land.admin("listPortableIpRanges"))[0]["portableipaddress"]}
