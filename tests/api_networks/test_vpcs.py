"""VPCs by the API: what can be made and what is refused, whose it is, and what an address of a VPC serves."""

from typing import Any

import pytest

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import PLAIN, addresses, make_tier, make_vpc, tier_params, vpc_params


# ---------------------------------------------------------------- VPCs
async def test_a_vpc_is_there_when_its_router_is(land: Land):
    accepted = await land.admin("createVPC", **await vpc_params(land, displaytext="text", networkdomain="v.example.org"))
    assert [("vpc", "implemented")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    vpc = (await land.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobresult"]["vpc"]
    assert_row_matches_catalogue("createVPC", vpc)
    assert ("10.8.0.0/16", "Enabled", "v.example.org", []) == (
        vpc["cidr"], vpc["state"], vpc["networkdomain"], vpc["network"],
    )  # fmt: skip
    assert [vpc] == await land.admin("listVPCs", id=vpc["id"])
    assert {"VPC.CREATE"} == {row["type"] for row in await land.admin("listEvents", type="VPC.CREATE")}


WRONG = [
    ({"cidr": None}, 431, "cidr must be given"),
    ({"cidr": "10.8.0.0"}, 431, "its prefix must be"),
    ({"cidr": "10.8.0.1/16"}, 431, "Invalid CIDR"),
    ({"cidr": "8.8.0.0/16"}, 431, "must lie within"),
    ({"cidr": "10.0.0.0/30"}, 431, "its prefix must be"),
    ({"publicmtu": 100}, 431, "it is from 576 to 1500"),
    ({"networkdomain": "-x"}, 431, "Invalid network domain"),
    ({"sourcenatipaddress": "192.0.2.1"}, 431, "is not free in zone"),
    ({"sourcenatipaddress": "here"}, 431, "Invalid IP address"),
]


@pytest.mark.parametrize(("params", "status", "words"), WRONG)
async def test_a_vpc_that_cannot_be_is_refused(land: Land, params: dict[str, Any], status: int, words: str):
    given = {name: value for name, value in (await vpc_params(land, **params)).items() if value is not None}
    with refusal(status, words):
        await land.admin("createVPC", **given)
    assert [] == await land.admin("listVPCs", listall=True)


async def test_no_more_vpcs_than_the_account_may_have(land: Land):
    user = await land.stage.user("tenant")
    await land.admin("updateResourceLimit", account="tenant", domainid=user.domain_id, resourcetype=7, max=1)
    await make_vpc(land, user)
    with refusal(535, "vpc"):
        await user("createVPC", **await vpc_params(land))


async def test_update_restart_and_delete(land: Land):
    vpc = await make_vpc(land)
    changed = await land.job("updateVPC", id=vpc["id"], name="w", displaytext="other")
    assert ("w", "other") == (changed["name"], changed["displaytext"])
    await land.job("restartVPC", id=vpc["id"], cleanup=True)
    with refusal(431, "Redundant routers are not supported"):
        await land.admin("restartVPC", id=vpc["id"], makeredundant=True)
    await make_tier(land, vpc)
    with refusal(431, "used by 1 networks"):
        await land.admin("deleteVPC", id=vpc["id"])


async def test_what_is_being_deleted_takes_nothing_new(land: Land):
    vpc = await make_vpc(land)
    accepted = await land.admin("deleteVPC", id=vpc["id"])
    assert [("vpc", "gone")] == await land.open_parts(accepted["jobid"])
    for command, params in (
        ("createNetwork", await tier_params(land, vpc)),
        ("associateIpAddress", {"vpcid": vpc["id"]}),
        ("restartVPC", {"id": vpc["id"]}),
    ):
        with refusal(431, "is being deleted"):
            await land.admin(command, **params)


# ---------------------------------------------------------------- tiers
async def test_a_tier_begins_with_the_list_that_denies(land: Land):
    vpc = await make_vpc(land)
    tier = await make_tier(land, vpc)
    assert (vpc["id"], "default_deny", "10.8.1.0/24", vpc["networkdomain"]) == (
        tier["vpcid"], tier["aclname"], tier["cidr"], tier["networkdomain"],
    )  # fmt: skip
    assert_row_matches_catalogue("createNetwork", tier)
    assert [tier["id"]] == [row["id"] for row in await land.admin("listNetworks", vpcid=vpc["id"])]
    assert [tier["id"]] == [row["id"] for row in await land.admin("listNetworks", forvpc=True)]
    ((listed,),) = [row["network"] for row in await land.admin("listVPCs")]
    assert tier["id"] == listed["id"]
    assert 1 == len(await land.cloud.turns("network"))


TIERS = [
    ({"gateway": "10.9.1.1"}, "is not within vpc cidr"),
    ({"gateway": "10.8.1.129", "netmask": "255.255.255.128"}, "crosses the cidr 10.8.1.0/24"),
    ({"netmask": None}, "gateway and netmask must be given"),
    ({"offering": PLAIN}, "it is not for VPCs"),
    ({"vpcid": None}, "can be used for VPC networks only"),
]


@pytest.mark.parametrize(("params", "words"), TIERS)
async def test_a_tier_that_cannot_be_is_refused(land: Land, params: dict[str, Any], words: str):
    vpc = await make_vpc(land)
    await make_tier(land, vpc)
    given = await tier_params(land, vpc, **({"number": 2} | params if "gateway" not in params else params))
    with refusal(431, words):
        await land.admin("createNetwork", **given)


async def test_no_more_tiers_than_the_setting_says(land: Land):
    vpc = await make_vpc(land)
    for number in (1, 2, 3):
        await make_tier(land, vpc, number)
    with refusal(431, "can't extend 3"):
        await land.admin("createNetwork", **await tier_params(land, vpc, 4))
    await land.admin("updateConfiguration", name="vpc.max.networks", value=4)
    await make_tier(land, vpc, 4)


async def test_a_tier_is_not_restarted_alone_with_cleanup_nor_given_addresses(land: Land):
    vpc = await make_vpc(land)
    tier = await make_tier(land, vpc)
    await land.cloud.change(tables.network, tier["id"], state="Implemented")
    with refusal(431, "restart the whole VPC"):
        await land.admin("restartNetwork", id=tier["id"], cleanup=True)
    with refusal(431, "associate the address with the VPC"):
        await land.admin("associateIpAddress", networkid=tier["id"])
    with refusal(431, "doesn't support service Firewall"):
        await land.admin("createEgressFirewallRule", networkid=tier["id"], protocol="all")


# ---------------------------------------------------------------- addresses
async def test_an_address_serves_one_tier_at_a_time(land: Land):
    vpc = await make_vpc(land)
    web, data = await make_tier(land, vpc, 1), await make_tier(land, vpc, 2)
    first, second = await land.deploy(networkids=web["id"]), await land.deploy(networkids=data["id"])
    (address,) = await addresses(land, vpc, 1)
    assert (vpc["id"], None) == (address["vpcid"], address.get("associatednetworkid"))
    port = {"ipaddressid": address["id"], "protocol": "tcp"}
    with refusal(431, "give networkid"):
        await land.admin("createFirewallRule", startport=1, endport=1, **port)
    rule = await land.job("createPortForwardingRule", publicport=1, privateport=1, virtualmachineid=first["id"], **port)
    assert web["id"] == rule["networkid"]
    assert [] == await land.admin("listFirewallRules")
    with refusal(431, "is associated with another network of the VPC"):
        await land.admin("createPortForwardingRule", publicport=2, privateport=1, virtualmachineid=second["id"], **port)
    with refusal(537, "conflict"):
        await land.admin("createPortForwardingRule", publicport=1, privateport=1, virtualmachineid=first["id"], **port)
    with refusal(431, "doesn't support service Firewall"):
        await land.admin("createFirewallRule", startport=1, endport=1, **port)
    await land.job("deletePortForwardingRule", id=rule["id"])
    await land.admin("enableStaticNat", ipaddressid=address["id"], virtualmachineid=second["id"], networkid=data["id"])
    (row,) = await land.admin("listPublicIpAddresses", vpcid=vpc["id"])
    assert (data["id"], True) == (row["associatednetworkid"], row["isstaticnat"])
    await land.job("disassociateIpAddress", id=address["id"])
    assert [] == await land.admin("listPublicIpAddresses", vpcid=vpc["id"])


async def test_an_address_is_of_no_use_to_another_vpc(land: Land):
    mine, other = await make_vpc(land), await make_vpc(land, cidr="10.9.0.0/16")
    tier = await make_tier(land, other, 1, gateway="10.9.1.1")
    (address,) = await addresses(land, mine, 1)
    with refusal(431, "is not in the VPC of the ip address"):
        await land.admin("createLoadBalancerRule", publicipid=address["id"], networkid=tier["id"], algorithm="roundrobin",
                         name="l", publicport=80, privateport=80)  # fmt: skip


# ---------------------------------------------------------------- static routes
async def test_routes_lead_outside_by_way_of_a_tier(land: Land):
    vpc = await make_vpc(land)
    await make_tier(land, vpc)
    given = {"vpcid": vpc["id"], "cidr": "192.168.7.0/24", "nexthop": "10.8.1.9"}
    route = await land.job("createStaticRoute", **given)
    assert_row_matches_catalogue("createStaticRoute", route)
    assert ("Active", "192.168.7.0/24", vpc["id"]) == (route["state"], route["cidr"], route["vpcid"])
    assert [route] == await land.admin("listStaticRoutes", vpcid=vpc["id"])
    for params, words in (
        ({"cidr": "192.168.0.0/16"}, "conflicts with existing one"),
        ({"cidr": "10.8.9.0/24"}, "outside of VPC cidr"),
        ({"cidr": "0.0.0.0/0"}, "can't be routed"),
        ({"cidr": "192.168.8.1/24"}, "Invalid CIDR"),
        ({"cidr": "192.168.8.0/24", "nexthop": "10.8.2.9"}, "is in no network of the VPC"),
        ({"cidr": "192.168.8.0/24", "nexthop": "10.8.1.1"}, "own router"),
        ({"cidr": "192.168.8.0/24", "nexthop": "there"}, "Invalid next hop"),
        ({"cidr": "192.168.8.0/24", "nexthop": ""}, "Specify gatewayid, or vpcid and nexthop"),
    ):
        with refusal(431, words):
            await land.admin("createStaticRoute", **{**given, **params})
    await land.job("deleteStaticRoute", id=route["id"])
    assert [] == await land.admin("listStaticRoutes", listall=True)


# ---------------------------------------------------------------- whose it is
async def test_what_is_of_one_account_is_not_anothers(land: Land):
    """Seen by the owner and by administrators, refused (531) to others; default lists are everybody's."""
    owner, other = await land.stage.user("owner"), await land.stage.user("other")
    vpc = await make_vpc(land, owner)
    tier = await make_tier(land, vpc, who=owner)
    acl_list = await land.job("createNetworkACLList", who=owner, name="mine", vpcid=vpc["id"])
    item = await land.job("createNetworkACL", who=owner, aclid=acl_list["id"], protocol="all")
    route = await land.job("createStaticRoute", who=owner, vpcid=vpc["id"], cidr="192.168.7.0/24", nexthop="10.8.1.9")
    for command, id_ in (("listVPCs", vpc["id"]), ("listStaticRoutes", route["id"]), ("listNetworkACLLists", acl_list["id"])):
        assert [id_] == [row["id"] for row in await owner(command, id=id_)] == [
            row["id"] for row in await land.admin(command, id=id_)
        ]  # fmt: skip
        with refusal(531, "does not have permission"):
            await other(command, id=id_)
    for command in ("listVPCs", "listStaticRoutes", "listNetworkACLs", "listNetworks"):
        assert [] == await other(command, listall=True), command
    assert [item["id"]] == [row["id"] for row in await owner("listNetworkACLs")]
    assert ["default_deny", "default_allow"] == [row["name"] for row in await other("listNetworkACLLists")]
    for command, params in (
        ("updateVPC", {"id": vpc["id"]}), ("restartVPC", {"id": vpc["id"]}), ("deleteVPC", {"id": vpc["id"]}),
        ("createNetworkACLList", {"name": "x", "vpcid": vpc["id"]}), ("updateNetworkACLList", {"id": acl_list["id"]}),
        ("deleteNetworkACLList", {"id": acl_list["id"]}), ("createNetworkACL", {"aclid": acl_list["id"], "protocol": "all"}),
        ("createNetworkACL", {"networkid": tier["id"], "protocol": "all"}), ("listNetworkACLs", {"aclid": acl_list["id"]}),
        ("listNetworkACLs", {"networkid": tier["id"]}), ("listNetworkACLs", {"id": item["id"]}),
        ("replaceNetworkACLList", {"aclid": acl_list["id"], "networkid": tier["id"]}),
        ("updateNetworkACLItem", {"id": item["id"]}), ("deleteNetworkACL", {"id": item["id"]}),
        ("createStaticRoute", {"vpcid": vpc["id"], "cidr": "192.168.9.0/24", "nexthop": "10.8.1.8"}),
        ("deleteStaticRoute", {"id": route["id"]}), ("associateIpAddress", {"vpcid": vpc["id"]}),
        ("createNetwork", await tier_params(land, vpc, 2)),
    ):  # fmt: skip
        with refusal(531, "does not have permission"):
            await other(command, **params)


async def test_an_account_that_goes_takes_its_vpcs_along(land: Land):
    owner = await land.stage.user("owner")
    vpc = await make_vpc(land, owner)
    await make_tier(land, vpc, who=owner)
    (account,) = await land.admin("listAccounts", name="owner", listall=True)
    accepted = await land.admin("deleteAccount", id=account["id"])
    assert {("vpc", "gone"), ("network", "gone")} == set(await land.open_parts(accepted["jobid"]))
