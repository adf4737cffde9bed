"""IPv6 of isolated networks over the API: prefixes of zones, dual-stack offerings, what networks, NICs and routers get, and
firewall rules; then a whole server on simulated hosts.
"""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.basics.clock import SystemClock
from sysvm.store import tables
from sysvm.store.queries.addresses import eui64
from sysvm.store.store import PostgresStore, Tx
from sysvm.wire.documents import Dhcp6, Ports, Protocol, Routed6, Rule6
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, Stage, refusal
from tests.api_infrastructure.cloud import make_zone
from tests.api_networks.land import Land
from tests.api_networks.test_ipv6 import of_router, plug, shared
from tests.orchestrator.tale import tell
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud
from tests.store.postgres import Postgres

PREFIX, FIRST, SECOND = "2001:db8:100::/62", "2001:db8:100::/64", "2001:db8:100:1::/64"
OUTSIDE = {"ip6gateway": "2001:db8:ff::1", "ip6cidr": "2001:db8:ff::/64"}
SHARED = "2001:db8:100:3::"  # of the prefix
SERVICES = ("Dhcp", "Dns", "Firewall", "SourceNat", "UserData", "PortForwarding", "StaticNat")


async def offering(ask: Asker, name: str = "dual", services: tuple[str, ...] = SERVICES, **params: Any) -> str:
    """An enabled network offering with IPv6; its id."""
    await ask("updateConfiguration", name="ipv6.offering.enabled", value=True)
    providers = {f"serviceproviderlist__{at}__service": each for at, each in enumerate(services)}
    providers |= {f"serviceproviderlist__{at}__provider": "VirtualRouter" for at in range(len(services))}
    given = {"name": name, "displaytext": name, "guestiptype": "Isolated", "traffictype": "Guest", "enable": True,
             "internetprotocol": "DualStack", "supportedservices": services, **providers}  # fmt: skip
    return str((await ask("createNetworkOffering", **{**given, **params}))["id"])


async def supplied(ask: Asker, zone: str, prefix: str = PREFIX) -> dict[str, Any]:
    """A zone with public IPv6 and a prefix for guests, which is given back."""
    await ask("createVlanIpRange", zoneid=zone, forvirtualnetwork=True, vlan="untagged", **OUTSIDE)
    return dict(await ask.job("createGuestNetworkIpv6Prefix", zoneid=zone, prefix=prefix))


async def dual(land: Land, **params: Any) -> dict[str, Any]:
    """A dual-stack network in a zone that is supplied."""
    await supplied(land.admin, land.zone)
    return await land.network(networkofferingid=await offering(land.admin), **params)


# ---------------------------------------------------------------- what the operator gives
async def test_a_prefix_is_listed_with_its_subnets_and_goes_when_none_is_taken(land: Land):
    made = await supplied(land.admin, land.zone)
    wanted = {"prefix": PREFIX, "zoneid": land.zone, "usedsubnets": 0, "availablesubnets": 4, "totalsubnets": 4}
    assert wanted.items() <= made.items()
    network = await land.network(networkofferingid=await offering(land.admin))
    (row,) = await land.admin("listGuestNetworkIpv6Prefixes", zoneid=land.zone)
    assert_row_matches_catalogue("listGuestNetworkIpv6Prefixes", row)
    assert (1, 3) == (row["usedsubnets"], row["availablesubnets"])
    with refusal(536, "1 networks have subnets"):
        await land.admin("deleteGuestNetworkIpv6Prefix", id=made["id"])
    await _gone(land, network)
    await land.admin.job("deleteGuestNetworkIpv6Prefix", id=made["id"])
    assert [] == await land.admin("listGuestNetworkIpv6Prefixes")


async def _gone(land: Land, network: dict[str, Any]) -> None:
    """As the orchestrator removes it."""

    def write(tx: Tx) -> None:
        row = tx.one(sa.select(tables.network).where(tables.network.c.uuid == network["id"]))
        tx.change(sa.delete(tables.guest_subnet6).where(tables.guest_subnet6.c.network_id == row.id))
        tx.update(tables.network, row.id, removed=tx.now)

    await land.stage.store.run(write)


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("2001:db8:100::/65", "must have 16 to 64 bits"),
        ("2001:db8:100::1/48", "Invalid prefix"),
        ("10.0.0.0/8", "Invalid prefix"),
        ("fe80::/64", "another purpose"),
        ("2001:db8::/32", "overlaps 2001:db8:ff::/64"),
        ("2001:db8:100:2::/64", "overlaps the prefix"),
    ],
)
async def test_prefixes_that_cannot_be(land: Land, prefix: str, why: str):
    await supplied(land.admin, land.zone)
    with refusal(431, why):
        await land.admin("createGuestNetworkIpv6Prefix", zoneid=land.zone, prefix=prefix)


async def test_a_prefix_keeps_shared_networks_off_and_its_zone_there(land: Land):
    await supplied(land.admin, land.zone)
    network = await shared(land)
    with refusal(431, "which is for isolated networks"):
        await land.admin("createVlanIpRange", networkid=network["id"], ip6gateway=f"{SHARED}1", ip6cidr=f"{SHARED}/64")
    empty = await make_zone(land.stage, "empty")
    made = await land.admin.job("createGuestNetworkIpv6Prefix", zoneid=empty["id"], prefix="2001:db8:200::/56")
    with refusal(431, "1 IPv6 prefixes"):
        await land.admin("deleteZone", id=empty["id"])
    await land.admin.job("deleteGuestNetworkIpv6Prefix", id=made["id"])
    await land.admin("deleteZone", id=empty["id"])


async def test_a_public_range_may_be_of_ipv6_alone_or_of_both(land: Land):
    place = {"zoneid": land.zone, "forvirtualnetwork": True, "vlan": "untagged"}
    alone = await land.admin("createVlanIpRange", **place, **OUTSIDE)
    assert ({**OUTSIDE, "startipv6": "2001:db8:ff::1"}.items() <= alone.items(), None) == (True, alone.get("startip"))
    assert alone["forvirtualnetwork"]
    with refusal(431, "overlaps 2001:db8:ff::/64"):
        await land.admin("createVlanIpRange", **place, **OUTSIDE)
    with refusal(431, "no addresses of IPv4"):
        await land.admin("updateVlanIpRange", id=alone["id"], startip="198.51.100.20", endip="198.51.100.30")
    four = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.10", "endip": "198.51.100.12"}
    six = {"ip6gateway": "2001:db8:fe::1", "ip6cidr": "2001:db8:fe::/64"}
    both = await land.admin("createVlanIpRange", **place, **four, **six)
    assert {**four, **six}.items() <= both.items()
    for row in (alone, both):
        await land.admin("deleteVlanIpRange", id=row["id"])


async def test_a_public_range_stays_while_a_router_has_an_address_of_it(land: Land):
    network = await dual(land)
    (pool,) = [row for row in await land.admin("listVlanIpRanges", forvirtualnetwork=True) if row.get("ip6cidr")]

    def write(tx: Tx) -> None:
        held = tables.guest_subnet6
        range_id = tx.value(sa.select(tables.ip_range.c.id).where(tables.ip_range.c.uuid == pool["id"]))
        tx.change(sa.update(held).values(ip_range_id=range_id, router=tables.pack_address("2001:db8:ff::2")))

    await land.stage.store.run(write)
    with refusal(536, "1 of its addresses are in use"):
        await land.admin("deleteVlanIpRange", id=pool["id"])
    (row,) = await land.admin("listNetworks", id=network["id"])
    assert [{"subnet": FIRST, "gateway": "2001:db8:ff::2"}] == row["ip6routes"]


# ---------------------------------------------------------------- offerings
async def test_dual_stack_offerings_are_off_until_the_operator_says_otherwise(land: Land):
    shape = {"name": "d", "displaytext": "d", "guestiptype": "Isolated", "traffictype": "Guest", "supportedservices": "Dhcp"}
    with refusal(431, "ipv6.offering.enabled"):
        await land.admin("createNetworkOffering", internetprotocol="dualstack", **shape)
    id_ = await offering(land.admin)
    (row,) = await land.admin("listNetworkOfferings", id=id_)
    assert ("DualStack", None) == (row["internetprotocol"], row.get("details"))


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"internetprotocol": "ipv6"}, "ipv4 or dualstack"),
        ({"services": ("Dhcp", "Dns", "SourceNat")}, "needs the service Firewall"),
        ({"services": ("Dns", "SourceNat", "Firewall")}, "needs the service Dhcp"),
        ({"guestiptype": "L2", "services": ()}, "type Isolated outside of VPCs"),
        (
            {
                "servicecapabilitylist__0__service": "SourceNat",
                "servicecapabilitylist__0__capabilitytype": "RedundantRouter",
                "servicecapabilitylist__0__capabilityvalue": "true",
            },
            "have one router",
        ),
    ],
)
async def test_dual_stack_offerings_that_cannot_be(land: Land, params: dict[str, Any], why: str):
    with refusal(431, why):
        await offering(land.admin, **params)


# ---------------------------------------------------------------- networks and guests
async def test_each_network_gets_a_subnet_until_there_is_none(land: Land):
    await supplied(land.admin, land.zone)
    await land.admin("updateZone", id=land.zone, ip6dns1="2001:db8:53::1")
    id_ = await offering(land.admin)
    given = [await land.network(name=f"n{at}", networkofferingid=id_) for at in range(4)]
    assert [f"2001:db8:100:{at}::/64".replace(":0::", "::") for at in range(4)] == [row["ip6cidr"] for row in given]
    assert ("2001:db8:100::1", "DualStack", "Static", "2001:db8:53::1") == tuple(
        given[0][name] for name in ("ip6gateway", "internetprotocol", "ip6routing", "ip6dns1")
    )
    assert_row_matches_catalogue("listNetworks", given[0])
    with refusal(533, "createGuestNetworkIpv6Prefix"):
        await land.network(name="n4", networkofferingid=id_)
    await _gone(land, given[1])
    assert SECOND == (await land.network(name="n5", networkofferingid=id_))["ip6cidr"]


async def test_a_zone_without_public_ipv6_has_no_such_networks(land: Land):
    await land.admin.job("createGuestNetworkIpv6Prefix", zoneid=land.zone, prefix=PREFIX)
    with refusal(533, "no public IPv6 range"):
        await land.network(networkofferingid=await offering(land.admin))


async def test_a_guest_has_the_address_that_it_makes_itself(land: Land):
    network = await dual(land)
    (nic,) = (await land.deploy(networkids=network["id"]))["nic"]
    assert (eui64(FIRST, nic["macaddress"]), FIRST, "2001:db8:100::1") == (
        nic["ip6address"], nic["ip6cidr"], nic["ip6gateway"],
    )  # fmt: skip
    with refusal(431, "make their IPv6 addresses"):
        await land.deploy(networkids=network["id"], ip6address="2001:db8:100::77")
    more = await land.job("addIpToNic", nicid=nic["id"], ipaddress="2001:db8:100::77")
    assert "2001:db8:100::77" == more["ipaddress"]


async def test_a_network_goes_over_to_dual_stack_with_all_who_are_on_it_and_not_back(land: Land):
    await supplied(land.admin, land.zone)
    network = await land.network()
    guest = await land.deploy(networkids=network["id"])
    await land.implemented(network["id"])
    wanted = await offering(land.admin, "more", (*SERVICES, "Lb", "Vpn"))
    await land.job("updateNetwork", id=network["id"], networkofferingid=wanted)
    (after,) = await land.admin("listNetworks", id=network["id"])
    assert (FIRST, "DualStack") == (after["ip6cidr"], after["internetprotocol"])
    assert [{"subnet": FIRST, "gateway": "2001:db8:ff::2"}] == after["ip6routes"]
    (seen,) = await land.admin("listVirtualMachines", id=guest["id"])
    assert eui64(FIRST, guest["nic"][0]["macaddress"]) == seen["nic"][0]["ip6address"]
    (router,) = await land.admin("listRouters", networkid=network["id"])
    held = {nic["traffictype"]: (nic.get("ip6address"), nic.get("ip6gateway")) for nic in router["nic"]}
    assert ("2001:db8:100::1", None) == held["Guest"]
    assert ("2001:db8:ff::2", "2001:db8:ff::1") == held["Public"]
    with refusal(431, "guests would lose"):
        await land.admin("updateNetwork", id=network["id"], networkofferingid=await land.network_offering())


# ---------------------------------------------------------------- rules
async def test_rules_of_both_directions_are_made_listed_changed_and_gone(land: Land):
    network = await dual(land)
    one = await land.job(
        "createIpv6FirewallRule", networkid=network["id"], protocol="tcp", startport=80, endport=81, cidrlist="2001:db8:9::/48"
    )
    other = await land.job(
        "createIpv6FirewallRule", networkid=network["id"], protocol="all", traffictype="egress", destcidrlist="2001:db8:8::/48"
    )
    wanted = {"protocol": "tcp", "startport": 80, "endport": 81, "traffictype": "Ingress", "cidrlist": "2001:db8:9::/48",
              "state": "Active", "networkid": network["id"]}  # fmt: skip
    assert wanted.items() <= one.items()
    assert ("Egress", FIRST, "2001:db8:8::/48") == (other["traffictype"], other["cidrlist"], other["destcidrlist"])
    (row,) = await land.admin("listIpv6FirewallRules", networkid=network["id"], traffictype="ingress")
    assert_row_matches_catalogue("listIpv6FirewallRules", row)
    assert one["id"] == row["id"]
    assert [] == await land.admin("listFirewallRules", networkid=network["id"])
    assert [] == await land.admin("listEgressFirewallRules", networkid=network["id"])
    changed = await land.job("updateIpv6FirewallRule", id=one["id"], startport=90, endport=91, destcidrlist="2001:db8:100::5/128")
    assert (90, "2001:db8:9::/48", "2001:db8:100::5/128") == tuple(
        changed[name] for name in ("startport", "cidrlist", "destcidrlist")
    )
    ping = await land.job("updateIpv6FirewallRule", id=one["id"], protocol="icmp", icmptype=128)
    assert ("icmp", 128, -1, None) == (ping["protocol"], ping["icmptype"], ping["icmpcode"], ping.get("startport"))
    for each in (one, other):
        await land.job("deleteIpv6FirewallRule", id=each["id"])
    assert [] == await land.admin("listIpv6FirewallRules", networkid=network["id"])
    kinds = [row["type"] for row in await land.admin("listEvents", pagesize=200, page=1)]
    assert {"IPV6.FIREWALL.RULE.CREATE", "IPV6.FIREWALL.RULE.UPDATE", "IPV6.FIREWALL.RULE.DELETE"} <= set(kinds)


WEB = {"protocol": "tcp", "startport": 80, "endport": 90}


@pytest.mark.parametrize(
    ("params", "code", "why"),
    [
        ({"protocol": "tcp", "startport": 81, "endport": 80}, 431, "bigger than end port"),
        ({"protocol": "sctp"}, 431, "not supported"),
        ({**WEB, "cidrlist": "10.0.0.0/8"}, 431, "of IPv4"),
        ({**WEB, "cidrlist": "2001:db8::1"}, 431, "formatting error"),
        ({**WEB, "destcidrlist": "2001:db8:100:1::/64"}, 431, "not within 2001:db8:100::/64"),
        ({**WEB, "traffictype": "egress", "cidrlist": "2001:db8:9::/64"}, 431, "not within 2001:db8:100::/64"),
        ({**WEB, "traffictype": "sideways"}, 431, "ingress or egress"),
        ({"protocol": "icmp", "icmptype": 300}, 431, "Invalid ICMP type"),
        ({"protocol": "icmp", "startport": 1}, 431, "ICMP"),
        ({"protocol": "all", "startport": 1}, 431, "ALL"),
        ({"protocol": "tcp", "startport": 85}, 537, "conflicts"),
    ],
)
async def test_rules_that_cannot_be(land: Land, params: dict[str, Any], code: int, why: str):
    network = await dual(land)
    await land.job("createIpv6FirewallRule", networkid=network["id"], **WEB)
    with refusal(code, why):
        await land.admin("createIpv6FirewallRule", networkid=network["id"], **params)
    assert 1 == len(await land.admin("listIpv6FirewallRules", networkid=network["id"]))


async def test_rules_for_another_destination_or_the_other_way_are_no_conflict(land: Land):
    network = await dual(land)
    for params in (
        {"destcidrlist": "2001:db8:100::5/128"}, {"destcidrlist": "2001:db8:100::6/128"}, {"traffictype": "egress"},
        {"cidrlist": "2001:db8:9::/64"},
    ):  # fmt: skip
        await land.job("createIpv6FirewallRule", networkid=network["id"], **WEB, **params)


async def test_a_network_without_ipv6_has_no_such_rules_and_strangers_have_none(land: Land):
    with refusal(431, "networks with IPv6"):
        await land.admin("createIpv6FirewallRule", networkid=(await land.network())["id"], **WEB)
    network = await dual(land, name="six")
    stranger = await land.stage.user("stranger")
    rule = await land.job("createIpv6FirewallRule", networkid=network["id"], **WEB)
    for command, params in (
        ("createIpv6FirewallRule", {"networkid": network["id"], "protocol": "udp"}),
        ("updateIpv6FirewallRule", {"id": rule["id"], "startport": 1, "endport": 2}),
        ("deleteIpv6FirewallRule", {"id": rule["id"]}),
    ):
        with refusal(531):
            await stranger(command, **params)
    with refusal(432):
        await stranger("listGuestNetworkIpv6Prefixes")


# ---------------------------------------------------------------- the whole
def test_from_a_dual_stack_offering_to_what_routers_and_hosts_are_told():
    """A whole server on simulated hosts: documents, specs, the same address outside over all routers; all is given back."""
    tell(lambda tale: story(tale.cloud), guests_only=True)


def _public(tx: Tx) -> None:
    """Public traffic on the zone's physical network, and IPv6 beside the range that is there."""
    (pool,) = tx.rows(tables.ip_range, "traffic = 'Public' and removed is null")
    six = {"ip6_gateway": OUTSIDE["ip6gateway"], "ip6_cidr": OUTSIDE["ip6cidr"]}
    ends = {"first6": tables.pack_address("2001:db8:ff::10"), "last6": tables.pack_address("2001:db8:ff::20")}
    tx.update(tables.ip_range, pool.id, **six, **ends)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    zone = await client.one("listZones")
    await cloud.store.run(_public)
    await client.job("createGuestNetworkIpv6Prefix", zoneid=zone["id"], prefix=PREFIX)
    network = await client.ask(
        "createNetwork", zoneid=zone["id"], name="dual", displaytext="dual", networkofferingid=await offering(client.ask)
    )
    small = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    given = {"zoneid": zone["id"], "serviceofferingid": small["id"], "networkids": network["id"],
             "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip
    early = await client.job("createIpv6FirewallRule", networkid=network["id"], protocol="tcp", startport=80, endport=80)
    guest = await client.job("deployVirtualMachine", name="one", **given)
    router = await client.one("listRouters", networkid=network["id"])
    assert "Running" == guest["state"] == router["state"]
    address = eui64(FIRST, guest["nic"][0]["macaddress"])
    told = await cloud.store.run(lambda tx: of_router(tx, cloud, router["id"]))
    (dhcp,), (routed,) = told.dhcp, told.routed6
    assert Dhcp6(cidr=FIRST, dns=("2001:db8:100::1",), is_gateway=True) == dhcp.six
    web = Rule6(rule=early["id"], protocol=Protocol.TCP, sources=("::/0",), ports=Ports(80, 80))
    assert Routed6(device="eth0", cidr=FIRST, egress_allow=False, ingress=(web,)) == routed
    doors = {each.role: (each.addresses[-1], each.gateway6) for each in told.interfaces}
    assert ("2001:db8:100::1/64", None) == doors["guest"]
    assert ("2001:db8:ff::10/64", OUTSIDE["ip6gateway"]) == doors["public"]
    plugged = await cloud.store.read(lambda tx: plug(tx, guest["id"]))
    assert (f"{address}/64", False) == (plugged.addresses[1], plugged.is_router)
    (row,) = await client.ask("listNetworks", id=network["id"])
    assert [{"subnet": FIRST, "gateway": "2001:db8:ff::10"}] == row["ip6routes"]
    await client.job("createIpv6FirewallRule", networkid=network["id"], protocol="udp", traffictype="egress")
    await client.job("restartNetwork", id=network["id"], cleanup=True)
    told = await cloud.store.run(lambda tx: of_router(tx, cloud, router["id"]))
    assert [(1, 1)] == [(len(each.ingress), len(each.egress)) for each in told.routed6]
    await client.job("destroyRouter", id=router["id"])
    again = await client.job("deployVirtualMachine", name="two", **given)
    other = await client.one("listRouters", networkid=network["id"])
    assert (False, "2001:db8:ff::10") == (router["id"] == other["id"], _public_six(other))
    for each in (guest, again):
        await client.job("destroyVirtualMachine", id=each["id"], expunge=True)
    await client.job("deleteNetwork", id=network["id"])
    (prefix,) = await client.ask("listGuestNetworkIpv6Prefixes")
    assert 0 == prefix["usedsubnets"]


def _public_six(router: dict[str, Any]) -> str:
    (nic,) = [nic for nic in router["nic"] if nic["traffictype"] == "Public"]
    return str(nic["ip6address"])


async def test_all_of_it_in_postgres(postgres: Postgres):
    """A network that goes over to dual stack, its rules, and the prefix when it is gone."""
    with postgres.database() as url:
        stage = await Stage.make(PostgresStore(url, SystemClock(), connections=2))
        try:
            land = await Land.settle(stage)
            await test_a_network_goes_over_to_dual_stack_with_all_who_are_on_it_and_not_back(land)
            (network,) = await land.admin("listNetworks")
            await land.job("createIpv6FirewallRule", networkid=network["id"], **WEB)
            assert 1 == len(await land.admin("listIpv6FirewallRules", networkid=network["id"]))
            (prefix,) = await land.admin("listGuestNetworkIpv6Prefixes")
            assert 1 == prefix["usedsubnets"]
            (pool,) = [row for row in await land.admin("listVlanIpRanges") if row.get("ip6cidr")]
            with refusal(536, "1 of its addresses are in use"):
                await land.admin("deleteVlanIpRange", id=pool["id"])
        finally:
            await stage.close()
