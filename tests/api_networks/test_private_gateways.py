"""Private gateways by the API: what can be made and what is refused, routes by way of them, their ACLs, and whose they are."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import addresses
from sysvm.store.store import Tx
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import make_tier, make_vpc

WIRE = {"gateway": "10.77.0.1", "ipaddress": "10.77.0.9", "netmask": "255.255.255.0", "vlan": "9000"}


@pytest.fixture
async def vpc(land: Land) -> dict[str, Any]:
    return await make_vpc(land)


async def make(land: Land, vpc: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A private gateway that the VPC's router has."""
    given = {name: value for name, value in {**WIRE, "vpcid": vpc["id"], **more}.items() if value is not None}
    made: dict[str, Any] = await land.job("createPrivateGateway", **given)
    return made


async def test_a_private_gateway_is_there_when_the_router_has_it(land: Land, vpc: dict[str, Any]):
    accepted = await land.admin("createPrivateGateway", vpcid=vpc["id"], sourcenatsupported=True, **WIRE)
    assert [("private_gateway", "implemented")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    made = (await land.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobresult"]["privategateway"]
    assert_row_matches_catalogue("createPrivateGateway", made)
    (physical,) = await land.admin("listPhysicalNetworks")
    wanted = {
        "gateway": "10.77.0.1", "ipaddress": "10.77.0.9", "netmask": "255.255.255.0", "vlan": "vxlan://9000", "state": "Creating",
        "aclname": "default_deny", "sourcenatsupported": True, "vpcid": vpc["id"], "vpcname": "v", "zoneid": land.zone,
        "physicalnetworkid": physical["id"], "account": vpc["account"],
    }  # fmt: skip
    assert wanted == {name: made[name] for name in wanted}
    for params in ({"id": made["id"]}, {"vpcid": vpc["id"]}, {"ipaddress": "10.77.0.9"}, {"vlan": "9000"},
                   {"vlan": "vxlan://9000"}, {"state": "Creating"}, {"keyword": "10.77"}):  # fmt: skip
        assert [made] == await land.admin("listPrivateGateways", **params), params
    for params in ({"ipaddress": "10.77.0.8"}, {"vlan": "9001"}, {"vlan": "untagged"}, {"state": "Ready"}):
        assert [] == await land.admin("listPrivateGateways", **params), params
    assert await land.admin("listEvents", type="PRIVATE.GATEWAY.CREATE")


WRONG = [
    ({"ipaddress": "10.78.0.9"}, "isn't in the subnet 10.77.0.0/24"),
    ({"ipaddress": "10.77.0.1"}, "is the gateway's"),
    ({"ipaddress": "10.77.0.255"}, "is the network or broadcast address"),
    ({"ipaddress": "there"}, "valid IPv4 address for ipaddress"),
    ({"gateway": "10.77.0.0"}, "is the network or broadcast address"),
    ({"gateway": "2001:db8::1"}, "valid IPv4 address for gateway"),
    ({"netmask": "0.0.0.255"}, "is not a netmask"),
    ({"netmask": "255.255.255.254"}, "is too small"),
    ({"gateway": "169.254.7.1", "ipaddress": "169.254.7.2"}, "has another purpose"),
    ({"gateway": "127.0.0.1", "ipaddress": "127.0.0.2"}, "has another purpose"),
    ({"gateway": "10.8.7.1", "ipaddress": "10.8.7.2"}, "overlaps 10.8.0.0/16, the VPC's own addresses"),
    ({"gateway": "10.0.0.1", "ipaddress": "10.0.0.2", "netmask": "255.0.0.0"}, "the VPC's own addresses"),
    ({"gateway": "203.0.113.77", "ipaddress": "203.0.113.78"}, "the subnet of a public range"),
    ({"gateway": "192.168.7.1", "ipaddress": "192.168.7.2"}, "the destination of a static route"),
    ({"vlan": None}, "Specify either vlan or associatednetworkid"),
    ({"vlan": "5001"}, "already being used for dynamic vlan allocation"),
    ({"vlan": "0"}, "Invalid vlan 0"),
    ({"vlan": "vlan://4095"}, "from 1 to 4094"),
    ({"vlan": "16777216"}, "from 1 to 16777215"),
    ({"vlan": "gre://7"}, "Invalid vlan gre://7"),
    ({"vlan": "vxlan://untagged"}, "Invalid vlan"),
]


@pytest.mark.parametrize(("params", "words"), WRONG)
async def test_what_cannot_be_is_refused(land: Land, vpc: dict[str, Any], params: dict[str, Any], words: str):
    await make_tier(land, vpc)
    await land.job("createStaticRoute", vpcid=vpc["id"], cidr="192.168.7.0/24", nexthop="10.8.1.9")
    with refusal(431, words):
        await make(land, vpc, **params)
    assert [] == await land.admin("listPrivateGateways", listall=True)


async def test_no_vlan_without_a_kernel_that_has_vlans(land: Land, vpc: dict[str, Any]):
    """The default of hosts that have told nothing is that they can."""
    made = await make(land, vpc, vlan="vlan://120")
    assert "vlan://120" == made["vlan"]

    def write(tx: Tx) -> None:
        tx.change(sa.update(tables.host).values(facts={"features": ["vxlan"]}))

    await land.stage.store.run(write)
    with refusal(431, "no 802.1Q"):
        await make(land, vpc, vlan="vlan://121", gateway="10.78.0.1", ipaddress="10.78.0.9")
    untagged = await make(land, vpc, vlan="untagged", gateway="10.78.0.1", ipaddress="10.78.0.9")
    assert "vlan://untagged" == untagged["vlan"]


async def test_vpcs_meet_on_one_wire_with_addresses_of_their_own(land: Land, vpc: dict[str, Any]):
    other = await make_vpc(land, name="w", cidr="10.9.0.0/16")
    mine = await make(land, vpc)
    with refusal(431, "is another private gateway's on the same network"):
        await make(land, other)
    theirs = await make(land, other, ipaddress="10.77.0.1", gateway="10.77.0.9")
    assert (mine["ipaddress"], mine["vlan"]) == (theirs["gateway"], theirs["vlan"])
    with refusal(431, "the network of another private gateway"):
        await make(land, vpc, ipaddress="10.77.0.10", vlan="9001")
    assert (await make(land, vpc, gateway="10.78.0.1", ipaddress="10.78.0.9"))["vlan"] == mine["vlan"]


async def test_a_public_range_has_its_vlan_for_itself(land: Land, vpc: dict[str, Any]):
    span = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.10", "endip": "198.51.100.20"}
    given = {"zoneid": land.zone, "forvirtualnetwork": True, **span}
    await land.admin("createVlanIpRange", vlan="130", **given)
    with refusal(431, "is that of the public range"):
        await make(land, vpc, vlan="vlan://130")
    await make(land, vpc, vlan="vlan://131")
    near = {"gateway": "10.77.0.1", "startip": "10.77.0.100", "endip": "10.77.0.101"}
    with refusal(431, "a private gateway's of VPC v"):
        await land.admin("createVlanIpRange", vlan="132", **{**given, **near})
    with refusal(431, "The VLAN tag 131 is a private gateway's"):
        await land.admin("createVlanIpRange", vlan="131", **{**given, "startip": "198.51.100.30", "endip": "198.51.100.40"})


async def test_new_networks_get_other_tags(land: Land, vpc: dict[str, Any]):
    """Also one of those that are given out by themselves, when the administrator insists."""
    made = await make(land, vpc, vlan="5001", bypassvlanoverlapcheck=True)
    assert "vxlan://5001" == made["vlan"]
    given = [(await land.network(name=f"n{number}"))["vlan"] for number in range(3)]
    assert "5001" not in given and 3 == len(set(given))


# ---------------------------------------------------------------- on a guest network
async def test_a_gateway_on_a_guest_network_has_an_address_there(land: Land, vpc: dict[str, Any]):
    """It is no guest's from then on, and the network stays as long as the gateway."""
    net = await land.network(gateway="10.5.0.1", netmask="255.255.255.0")
    on = {"vlan": None, "gateway": "10.5.0.1", "associatednetworkid": net["id"]}
    guest = await land.deploy(networkids=net["id"])
    taken = guest["nic"][0]["ipaddress"]
    for params, words in (
        ({"ipaddress": taken}, "is already in use in network net"),
        ({"ipaddress": "10.5.0.1", "gateway": "10.5.0.7"}, "is already in use in network net"),
        ({"ipaddress": "10.5.0.7", "netmask": "255.255.0.0"}, "is not 10.5.0.0/24, that of network net"),
        ({"ipaddress": "10.5.0.7", "vlan": "9000"}, "Specify either vlan or associatednetworkid"),
    ):
        with refusal(431, words):
            await make(land, vpc, **{**on, **params})
    made = await make(land, vpc, **on, ipaddress="10.5.0.7")
    assert (net["id"], "net", net["broadcasturi"]) == (made["associatednetworkid"], made["associatednetwork"], made["vlan"])
    with refusal(431, "is reserved in network net"):
        await land.deploy(networkids=net["id"], ipaddress="10.5.0.7")

    def all_free(tx: Tx) -> list[str]:
        network = tx.one(sa.select(tables.network).where(tables.network.c.uuid == net["id"]))
        found = []
        for number in range(8):
            free = addresses.take_guest_ip(tx, network)
            found.append(free)
            tx.insert(tables.nic_address, uuid=str(number), nic_id=1, network_id=network.id,
                      address=tables.pack_address(free), created=tx.now)  # fmt: skip
        return found

    assert "10.5.0.7" not in await land.stage.store.run(all_free)
    other = await land.network(name="other", gateway="10.6.0.1", netmask="255.255.255.0")
    await make(land, vpc, vlan=other["vlan"], gateway="10.6.0.1", ipaddress="10.6.0.9", bypassvlanoverlapcheck=True)
    with refusal(431, "give its id as associatednetworkid"):
        await make(land, vpc, vlan=other["vlan"], gateway="10.7.0.1", ipaddress="10.7.0.9")
    with refusal(536, "associated with 1 private gateways"):
        await land.admin("deleteNetwork", id=other["id"])
    tier = await make_tier(land, vpc)
    with refusal(431, "is a network of a VPC"):
        await make(land, vpc, vlan=None, associatednetworkid=tier["id"])


# ---------------------------------------------------------------- routes, lists
async def test_routes_lead_by_way_of_a_gateway(land: Land, vpc: dict[str, Any]):
    made, other = await make(land, vpc), await make_vpc(land, name="w", cidr="10.9.0.0/16")
    for params, words in (
        ({"gatewayid": made["id"], "cidr": "10.77.0.128/25"}, "the network of a private gateway"),
        ({"gatewayid": made["id"], "nexthop": "10.78.0.1"}, "is not in 10.77.0.0/24"),
        ({"gatewayid": made["id"], "nexthop": "10.77.0.9"}, "own router"),
        ({"gatewayid": made["id"], "vpcid": other["id"]}, "is not of VPC w"),
        ({"vpcid": other["id"], "nexthop": "10.77.0.1"}, "is in no network of the VPC"),
    ):
        with refusal(431, words):
            await land.admin("createStaticRoute", **{"cidr": "172.30.0.0/16", **params})
    first = await land.job("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")
    assert_row_matches_catalogue("createStaticRoute", first)
    assert ("10.77.0.1", made["id"], vpc["id"]) == (first["nexthop"], first["gatewayid"], first["vpcid"])
    second = await land.job("createStaticRoute", vpcid=vpc["id"], nexthop="10.77.0.5", cidr="172.31.0.0/16")
    assert made["id"] == second["gatewayid"]
    assert [first, second] == await land.admin("listStaticRoutes", gatewayid=made["id"])
    with refusal(536, "as it has 2 static routes applied"):
        await land.admin("deletePrivateGateway", id=made["id"])
    for route in (first, second):
        await land.job("deleteStaticRoute", id=route["id"])
    accepted = await land.admin("deletePrivateGateway", id=made["id"])
    assert [("private_gateway", "gone")] == await land.open_parts(accepted["jobid"])
    with refusal(431, "is being deleted"):
        await land.admin("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")


async def test_a_gateway_has_a_list_of_its_vpc(land: Land, vpc: dict[str, Any]):
    other = await make_vpc(land, name="w", cidr="10.9.0.0/16")
    mine, foreign = [await land.job("createNetworkACLList", name=each["name"], vpcid=each["id"]) for each in (vpc, other)]
    with refusal(431, "belongs to another VPC"):
        await make(land, vpc, aclid=foreign["id"])
    made = await make(land, vpc, aclid=mine["id"])
    assert mine["id"] == made["aclid"]
    with refusal(536, "still associated with 1 private gateways"):
        await land.admin("deleteNetworkACLList", id=mine["id"])
    with refusal(431, "belongs to another VPC"):
        await land.admin("replaceNetworkACLList", aclid=foreign["id"], gatewayid=made["id"])
    lists = {row["name"]: row["id"] for row in await land.admin("listNetworkACLLists")}
    await land.job("replaceNetworkACLList", aclid=lists["default_allow"], gatewayid=made["id"])
    (now,) = await land.admin("listPrivateGateways", id=made["id"])
    assert "default_allow" == now["aclname"]
    await land.job("deleteNetworkACLList", id=mine["id"])


async def test_a_vpc_that_goes_takes_its_gateways_and_routes_along(land: Land, vpc: dict[str, Any]):
    made = await make(land, vpc)
    await land.job("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")
    accepted = await land.admin("deleteVPC", id=vpc["id"])
    assert [("private_gateway", "gone"), ("vpc", "gone")] == await land.open_parts(accepted["jobid"])
    assert [] == await land.admin("listStaticRoutes", listall=True)
    with refusal(431, "is being deleted"):
        await make(land, vpc, ipaddress="10.77.0.10")
    (physical,) = await land.admin("listPhysicalNetworks")
    with refusal(536, "1 private gateways on it"):
        await land.admin("deletePhysicalNetwork", id=physical["id"])


async def test_administrators_make_them_and_owners_use_them(land: Land):
    """What a gateway is plugged into is not shown to those who do not run the cloud."""
    owner, other = await land.stage.user("owner"), await land.stage.user("other")
    vpc = await make_vpc(land, owner)
    for who in (owner, other):
        with refusal(432, ""):
            await who("createPrivateGateway", vpcid=vpc["id"], **WIRE)
    made = await make(land, vpc)
    assert "owner" == made["account"]
    (seen,) = await owner("listPrivateGateways")
    assert set(made) - set(seen) == {"vlan", "physicalnetworkid"}
    assert [] == await owner("listPrivateGateways", vlan="9000") == await other("listPrivateGateways", listall=True)
    with refusal(531, "does not have permission"):
        await other("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")
    with refusal(432, ""):
        await owner("deletePrivateGateway", id=made["id"])
    lists = {row["name"]: row["id"] for row in await owner("listNetworkACLLists")}
    with refusal(531, "does not have permission"):
        await other("replaceNetworkACLList", aclid=lists["default_allow"], gatewayid=made["id"])
    await land.job("replaceNetworkACLList", who=owner, aclid=lists["default_allow"], gatewayid=made["id"])
    await land.job("createStaticRoute", who=owner, gatewayid=made["id"], cidr="172.30.0.0/16")
