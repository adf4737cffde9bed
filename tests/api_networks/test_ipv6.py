"""IPv6 of shared networks over the API: what a range may be, which addresses NICs get, what routers and hosts are told."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import documents, keys, nics, specs
from sysvm.store.queries.addresses import eui64
from sysvm.store.store import Tx
from sysvm.wire.documents import Dhcp6, RouterDocument
from sysvm.wire.machines import Nic
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.test_security_groups import document, placed
from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud

CIDR, GATEWAY = "2001:db8:1:2::/64", "2001:db8:1:2::1"
FOUR = {"gateway": "10.5.0.1", "netmask": "255.255.255.0", "startip": "10.5.0.10", "endip": "10.5.0.99"}
SIX = {"ip6gateway": GATEWAY, "ip6cidr": CIDR}
SMALL = {**SIX, "startipv6": "2001:db8:1:2::10", "endipv6": "2001:db8:1:2::13"}
SHARED, WITH_GROUPS = "DefaultSharedNetworkOffering", "DefaultSharedNetworkOfferingWithSGService"


async def shared(land: Land, offering: str = SHARED, **params: Any) -> dict[str, Any]:
    """A shared network of IPv4, and what a test adds."""
    given = {"name": "shared", "networkofferingid": await land.network_offering(offering), "vlan": "untagged", **FOUR}
    return await land.network(**{**given, **params})


async def nic_of(land: Land, network: dict[str, Any], **params: Any) -> dict[str, Any]:
    """The NIC of a new guest."""
    guest = await land.deploy(networkids=network["id"], **params)
    return dict(guest["nic"][0])


async def test_a_shared_network_tells_of_its_ipv6_and_so_does_its_range(land: Land):
    network = await shared(land, **SMALL)
    assert (CIDR, GATEWAY) == (network["ip6cidr"], network["ip6gateway"])
    (row,) = await land.admin("listVlanIpRanges", networkid=network["id"])
    assert {**FOUR, **SMALL}.items() <= row.items()


async def test_a_guest_gets_the_address_of_its_mac(land: Land):
    nic = await nic_of(land, await shared(land, **SIX))
    assert (eui64(CIDR, nic["macaddress"]), CIDR, GATEWAY) == (nic["ip6address"], nic["ip6cidr"], nic["ip6gateway"])
    assert nic["ipaddress"].startswith("10.5.0.")
    assert not nic["secondaryip"]


@pytest.mark.parametrize(
    ("mac", "address"),
    [("06:00:00:00:00:01", "fe80::400:ff:fe00:1"), ("02:aa:bb:cc:dd:ee", "fe80::aa:bbff:fecc:ddee")],
)
def test_the_address_of_a_mac(mac: str, address: str):
    assert address == eui64("fe80::/64", mac)


async def test_a_small_range_gives_the_lowest_free_one_until_it_is_empty(land: Land):
    network = await shared(land, **SMALL)
    first = await land.deploy(networkids=network["id"])
    given = [(await nic_of(land, network))["ip6address"] for _ in range(3)]
    assert [f"2001:db8:1:2::{last}" for last in (11, 12, 13)] == given
    with refusal(533, "no free IP address"):
        await nic_of(land, network)
    await land.job("destroyVirtualMachine", id=first["id"], expunge=True)
    await land.stage.store.run(lambda tx: nics.remove_of_machine(tx, _id(tx, first["id"])))
    assert "2001:db8:1:2::10" == (await nic_of(land, network))["ip6address"]


def _id(tx: Tx, uuid: str) -> int:
    return int(tx.value(sa.select(tables.machine.c.id).where(tables.machine.c.uuid == uuid)))


async def test_a_guest_gets_the_address_that_it_asks_for(land: Land):
    network = await shared(land, **SMALL)
    assert "2001:db8:1:2::12" == (await nic_of(land, network, ip6address="2001:DB8:1:2::12"))["ip6address"]
    other = await land.deploy(**{"iptonetworklist[0].networkid": network["id"], "iptonetworklist[0].ipv6": "2001:db8:1:2::11"})
    assert "2001:db8:1:2::11" == other["nic"][0]["ip6address"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("2001:db8:1:2::99", "is not in the range"),
        ("10.5.0.20", "is not in the range"),
        ("2001:db8:9::1", "is not in the range"),
        ("here", "Invalid IP address"),
        ("2001:db8:1:2::10", "is already in use"),
    ],
)
async def test_addresses_that_cannot_be_had(land: Land, address: str, why: str):
    network = await shared(land, **SMALL)
    await nic_of(land, network)
    with refusal(431, why):
        await nic_of(land, network, ip6address=address)


async def test_the_gateway_is_given_to_nobody_also_when_it_is_in_the_range(land: Land):
    network = await shared(land, **{**SIX, "startipv6": GATEWAY, "endipv6": "2001:db8:1:2::2"})
    with refusal(431, "is reserved"):
        await nic_of(land, network, ip6address=GATEWAY)
    assert "2001:db8:1:2::2" == (await nic_of(land, network))["ip6address"]


async def test_a_network_without_ipv6_gives_none(land: Land):
    with refusal(431, "has no IPv6 addresses"):
        await nic_of(land, await shared(land), ip6address="2001:db8:1:2::12")


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"ip6gateway": GATEWAY}, "together"),
        ({"startipv6": "2001:db8:1:2::10"}, "together"),
        ({**SIX, "ip6cidr": "2001:db8:1::/48"}, "must be 64 bits"),
        ({**SIX, "ip6cidr": "2001:db8:1:2::/80"}, "must be 64 bits"),
        ({**SIX, "ip6cidr": "2001:db8:1:2::7/64"}, "Invalid ip6cidr"),
        ({**SIX, "ip6cidr": "10.0.0.0/8"}, "Invalid ip6cidr"),
        ({**SIX, "ip6cidr": "fe80::/64", "ip6gateway": "fe80::1"}, "another purpose"),
        ({**SIX, "ip6gateway": "10.5.0.1"}, "Invalid ip6gateway"),
        ({**SIX, "ip6gateway": "2001:db8:1:3::1"}, "is not in ip6cidr"),
        ({**SIX, "ip6gateway": "2001:db8:1:2::"}, "anycast"),
        ({**SIX, "startipv6": "2001:db8:1:3::1"}, "is not in ip6cidr"),
        ({**SIX, "endipv6": "2001:db8:1:2::9"}, "needs startipv6"),
        ({**SMALL, "endipv6": "2001:db8:1:2::9"}, "is after"),
    ],
)
async def test_ranges_that_cannot_be(land: Land, params: dict[str, str], why: str):
    with refusal(431, why):
        await shared(land, **params)
    network = await shared(land)
    with refusal(431, why):
        await land.admin("createVlanIpRange", networkid=network["id"], **params)
    assert "ip6cidr" not in (await land.admin("listNetworks", id=network["id"]))[0]


async def test_nobody_chooses_the_ipv6_of_an_isolated_network(land: Land):
    with refusal(431, "shared networks of Advanced zones"):
        await land.network(**SIX)


async def test_ranges_of_one_segment_do_not_overlap_and_a_network_has_one_subnet(land: Land):
    network = await shared(land, **SMALL)
    more = {**SIX, "networkid": network["id"]}
    with refusal(431, "overlaps"):
        await land.admin("createVlanIpRange", startipv6="2001:db8:1:2::13", endipv6="2001:db8:1:2::20", **more)
    with refusal(431, "overlaps"):
        await shared(land, name="other", **SIX, gateway="10.6.0.1", startip="10.6.0.10", endip="10.6.0.20")
    with refusal(431, "are of 2001:db8:1:2::/64"):
        await land.admin("createVlanIpRange", **{**more, "ip6cidr": "2001:db8:1:3::/64", "ip6gateway": "2001:db8:1:3::1"})
    await land.admin("createVlanIpRange", startipv6="2001:db8:1:2::20", **more)
    assert "2001:db8:1:2::20" == (await nic_of(land, network, ip6address="2001:db8:1:2::20"))["ip6address"]


async def test_ipv6_that_comes_later_gives_everybody_on_the_network_an_address(land: Land):
    network = await shared(land)
    guest = await land.deploy(networkids=network["id"])
    row = await land.admin("createVlanIpRange", networkid=network["id"], **SIX)
    assert (CIDR, "2001:db8:1:2::1", None) == (row["ip6cidr"], row["startipv6"], row.get("startip"))
    assert len(await land.admin("listVlanIpRanges", networkid=network["id"])) == 2
    (after,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert (eui64(CIDR, after["nic"][0]["macaddress"]), GATEWAY) == (after["nic"][0]["ip6address"], after["nic"][0]["ip6gateway"])
    with refusal(536, "in use"):
        await land.admin("deleteVlanIpRange", id=row["id"])
    await land.job("destroyVirtualMachine", id=guest["id"], expunge=True)
    await land.stage.store.run(lambda tx: nics.remove_of_machine(tx, _id(tx, guest["id"])))
    await land.admin("deleteVlanIpRange", id=row["id"])
    assert "ip6cidr" not in (await land.admin("listNetworks", id=network["id"]))[0]
    assert "ip6address" not in await nic_of(land, network)


async def test_a_range_of_both_families_comes_and_goes_at_once(land: Land):
    network = await shared(land)
    later = {"gateway": "10.5.0.1", "netmask": "255.255.255.0", "startip": "10.5.0.150", "endip": "10.5.0.160", **SMALL}
    row = await land.admin("createVlanIpRange", networkid=network["id"], **later)
    assert later.items() <= row.items()
    with refusal(431, "can't be changed"):
        await land.admin("updateVlanIpRange", id=row["id"], **SMALL)
    await land.admin("deleteVlanIpRange", id=row["id"])
    assert "ip6cidr" not in (await land.admin("listNetworks", id=network["id"]))[0]


async def test_a_further_address_of_a_nic_may_be_of_ipv6(land: Land):
    network = await shared(land, **SIX)
    nic = await nic_of(land, network)
    added = await land.job("addIpToNic", nicid=nic["id"], ipaddress="2001:db8:1:2::77")
    assert "2001:db8:1:2::77" == added["ipaddress"]
    with refusal(431, "already in use"):
        await nic_of(land, network, ip6address="2001:db8:1:2::77")
    await land.job("removeIpFromNic", id=added["id"])
    assert "2001:db8:1:2::77" == (await nic_of(land, network, ip6address="2001:db8:1:2::77"))["ip6address"]


async def test_security_groups_know_members_by_their_addresses_of_both_families(land: Land):
    network = await shared(land, WITH_GROUPS, **SIX)
    web = await land.admin("createSecurityGroup", name="web")
    guest = await land.deploy(networkids=network["id"], securitygroupids=web["id"])
    await placed(land, guest)
    one = {"securitygroupid": web["id"], "protocol": "tcp", "startport": 80, "endport": 80}
    await land.job("authorizeSecurityGroupIngress", cidrlist="2001:db8::/32", **one)
    await land.job(
        "authorizeSecurityGroupIngress", **one,
        **{"usersecuritygrouplist[0].account": "admin", "usersecuritygrouplist[0].group": "web"},
    )  # fmt: skip
    (group,) = [each for each in (await document(land)).groups if each.group == web["id"]]
    assert tuple(sorted((guest["nic"][0]["ipaddress"], guest["nic"][0]["ip6address"]))) == group.members
    assert {"2001:db8::/32", ""} == {rule.cidr for rule in group.ingress}


def test_from_a_dual_stack_network_to_what_a_host_and_a_router_are_told():
    """A whole server on simulated hosts: the router's spec and document, the guest's spec; and addresses come back."""
    tell(lambda tale: story(tale.cloud), guests_only=True)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    zone, shared_offering = await client.one("listZones"), await client.one("listNetworkOfferings", name=SHARED)
    await client.ask("updateZone", id=zone["id"], ip6dns1="2001:db8:53::1", ip6dns2="2001:db8:53::2")
    network = await client.ask(
        "createNetwork", zoneid=zone["id"], name="dual", displaytext="dual", networkofferingid=shared_offering["id"],
        vlan="untagged", **FOUR, **SMALL,
    )  # fmt: skip
    offering = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    given = {"zoneid": zone["id"], "serviceofferingid": offering["id"], "networkids": network["id"],
             "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip
    guest = await client.job("deployVirtualMachine", name="one", ip6address="2001:db8:1:2::12", **given)
    router = await client.one("listRouters", networkid=network["id"])
    assert ("Running", "2001:db8:1:2::12") == (guest["state"], guest["nic"][0]["ip6address"])
    own = router["nic"][0]["ip6address"]
    assert "2001:db8:1:2::10" <= own <= "2001:db8:1:2::13" and own != "2001:db8:1:2::12"
    assert ("2001:db8:53::1", "2001:db8:53::2") == (router["ip6dns1"], router["ip6dns2"])
    told = await cloud.store.run(lambda tx: of_router(tx, cloud, router["id"]))
    (dhcp,) = told.dhcp
    assert Dhcp6(cidr=CIDR, dns=(own,)) == dhcp.six
    assert [("2001:db8:1:2::12", "one")] == [(each.address6, each.hostname) for each in dhcp.reservations]
    assert (own, CIDR) == (told.dns.listen[1], told.dns.allow[1])
    assert {"2001:db8:53::1", "2001:db8:53::2"} <= set(told.dns.forwarders)
    door = next(each for each in told.interfaces if each.role == "guest")
    assert (f"{own}/64", GATEWAY) == (door.addresses[1], door.gateway6)
    plugged = [await cloud.store.read(lambda tx, id_=each["id"]: plug(tx, id_)) for each in (guest, router)]
    assert [("2001:db8:1:2::12/64", GATEWAY, False), (f"{own}/64", GATEWAY, True)] == [
        (each.addresses[1], each.gateway6, each.is_router) for each in plugged
    ]
    await client.job("destroyVirtualMachine", id=guest["id"], expunge=True)
    again = await client.job("deployVirtualMachine", name="two", ip6address="2001:db8:1:2::12", **given)
    assert "2001:db8:1:2::12" == again["nic"][0]["ip6address"]
    await client.job("destroyVirtualMachine", id=again["id"], expunge=True)
    await client.job("deleteNetwork", id=network["id"])
    assert [] == [row for row in await client.ask("listVlanIpRanges") if row.get("ip6cidr")]


def of_router(tx: Tx, cloud: Cloud, uuid: str) -> RouterDocument:
    """Its document, from the database as it is."""
    row = tx.one(sa.select(tables.machine).where(tables.machine.c.uuid == uuid))
    found = documents.document_of(tx, row, keys.ensure_keys(tx, cloud.vault, cloud.ids))
    assert isinstance(found, RouterDocument)
    return found


def plug(tx: Tx, uuid: str) -> Nic:
    """Its first NIC, as its host is told of it."""
    machine = tx.one(sa.select(tables.machine).where(tables.machine.c.uuid == uuid))
    held = tables.placement.c
    placement = tx.one(sa.select(tables.placement).where(held.machine_id == machine.id, held.removed.is_(None)))
    return specs.spec_of(tx, machine, placement, "").nics[0]
