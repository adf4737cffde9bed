"""Network ACL lists and their numbered rules: what they may say, who has them, which routers are told."""

from typing import Any

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import make_tier, make_vpc


@pytest.fixture
async def vpc(land: Land) -> dict[str, Any]:
    """One without tiers."""
    return await make_vpc(land)


async def make_list(land: Land, vpc: dict[str, Any], name: str = "mine") -> dict[str, Any]:
    made: dict[str, Any] = await land.job("createNetworkACLList", name=name, description="text", vpcid=vpc["id"])
    return made


async def default(land: Land, name: str) -> str:
    (found,) = [row for row in await land.admin("listNetworkACLLists", listall=True) if row["name"] == name]
    return str(found["id"])


async def test_every_cloud_has_two_lists_that_nobody_changes(land: Land, vpc: dict[str, Any]):
    for name, action in (("default_deny", "Deny"), ("default_allow", "Allow")):
        id_ = await default(land, name)
        rules = await land.admin("listNetworkACLs", aclid=id_)
        assert [(1, action, "all", "Ingress", "0.0.0.0/0"), (2, action, "all", "Egress", "0.0.0.0/0")] == [
            (row["number"], row["action"], row["protocol"], row["traffictype"], row["cidrlist"]) for row in rules
        ]
        for command, params in (
            ("deleteNetworkACLList", {"id": id_}), ("updateNetworkACLList", {"id": id_, "name": "x"}),
            ("createNetworkACL", {"aclid": id_, "protocol": "all"}), ("deleteNetworkACL", {"id": rules[0]["id"]}),
            ("updateNetworkACLItem", {"id": rules[0]["id"], "action": "allow"}),
        ):  # fmt: skip
            with refusal(431, "Default ACL"):
                await land.admin(command, **params)


async def test_a_list_from_its_first_to_its_last_moment(land: Land, vpc: dict[str, Any]):
    made = await make_list(land, vpc)
    assert_row_matches_catalogue("createNetworkACLList", made)
    assert ("mine", "text", vpc["id"]) == (made["name"], made["description"], made["vpcid"])
    await land.job("updateNetworkACLList", id=made["id"], name="ours", description="other")
    (row,) = await land.admin("listNetworkACLLists", id=made["id"])
    assert ("ours", "other") == (row["name"], row["description"])
    tier = await make_tier(land, vpc, aclid=made["id"])
    assert [row] == await land.admin("listNetworkACLLists", networkid=tier["id"])
    with refusal(536, "still associated with 1 tiers"):
        await land.admin("deleteNetworkACLList", id=made["id"])
    await land.job("replaceNetworkACLList", aclid=await default(land, "default_allow"), networkid=tier["id"])
    (now,) = await land.admin("listNetworks", id=tier["id"])
    assert "default_allow" == now["aclname"]
    await land.job("deleteNetworkACLList", id=made["id"])
    assert 2 == len(await land.admin("listNetworkACLLists"))


async def test_a_rule_has_a_number_and_is_shown_with_it(land: Land, vpc: dict[str, Any]):
    made = await make_list(land, vpc)
    given = {"aclid": made["id"], "reason": "because"}
    web = await land.job("createNetworkACL", protocol="TCP", startport=80, cidrlist="10.0.0.0/8,192.0.2.0/24", **given)
    assert_row_matches_catalogue("createNetworkACL", web)
    shown = ("number", "action", "protocol", "startport", "endport", "cidrlist", "traffictype", "state", "reason", "aclname")
    assert (1, "Allow", "tcp", "80", "80", "10.0.0.0/8,192.0.2.0/24", "Ingress", "Active", "because", "mine") == tuple(
        web[name] for name in shown
    )
    ping = await land.job("createNetworkACL", protocol="icmp", icmptype=8, icmpcode=-1, number=10, action="deny", **given)
    assert (10, "Deny", 8, -1) == (ping["number"], ping["action"], ping["icmptype"], ping["icmpcode"])
    other = await land.job("createNetworkACL", protocol="47", traffictype="egress", **given)
    assert (11, "47", "Egress") == (other["number"], other["protocol"], other["traffictype"])
    for params, ids in (
        ({}, [web, ping, other]), ({"traffictype": "Egress"}, [other]), ({"action": "deny"}, [ping]),
        ({"protocol": "tcp"}, [web]), ({"keyword": "icm"}, [ping]),
    ):  # fmt: skip
        found = await land.admin("listNetworkACLs", aclid=made["id"], **params)
        assert [row["id"] for row in ids] == [row["id"] for row in found], params


WRONG = [
    ({"protocol": "gre"}, "Protocol gre is not supported"),
    ({"protocol": "300"}, "0-255"),
    ({"protocol": "47", "startport": 1}, "for tcp, udp and icmp only"),
    ({"protocol": "all", "startport": 1}, "Do not pass ports"),
    ({"protocol": "tcp", "startport": 9, "endport": 8}, "Start port can't be bigger"),
    ({"protocol": "tcp", "startport": 0}, "invalid value"),
    ({"protocol": "tcp", "icmptype": 8}, "ICMP protocol only"),
    ({"protocol": "all", "action": "maybe"}, "Invalid action maybe"),
    ({"protocol": "all", "traffictype": "up"}, "Invalid traffictype up"),
    ({"protocol": "all", "number": 0}, "Invalid number 0"),
    ({"protocol": "all", "number": 5}, "number 5 already exists"),
    ({"protocol": "all", "cidrlist": "10.0.0.0"}, "cidrs formatting error"),
    ({"protocol": "all", "aclid": None}, "ACL Id or network Id is required"),
]


@pytest.mark.parametrize(("params", "words"), WRONG)
async def test_a_rule_that_cannot_be_is_refused(land: Land, vpc: dict[str, Any], params: dict[str, Any], words: str):
    made = await make_list(land, vpc)
    await land.job("createNetworkACL", aclid=made["id"], protocol="all", number=5)
    given = {name: value for name, value in {"aclid": made["id"], **params}.items() if value is not None}
    with refusal(431, words):
        await land.admin("createNetworkACL", **given)
    assert 1 == len(await land.admin("listNetworkACLs", aclid=made["id"]))


CHANGES = [
    ({"startport": 81, "endport": 90}, {"startport": "81", "endport": "90", "protocol": "tcp"}),
    ({"action": "deny", "number": 7}, {"action": "Deny", "number": 7, "startport": "80"}),
    ({"protocol": "udp"}, {"protocol": "udp", "startport": None}),
    ({"protocol": "icmp", "icmptype": 8, "icmpcode": 0}, {"protocol": "icmp", "icmptype": 8, "startport": None}),
    ({"cidrlist": "192.0.2.0/24", "traffictype": "egress"}, {"cidrlist": "192.0.2.0/24", "traffictype": "Egress"}),
    ({"partialupgrade": False, "protocol": "tcp"}, {"startport": None, "cidrlist": "0.0.0.0/0", "action": "Allow"}),
    ({"reason": "new"}, {"reason": "new", "startport": "80", "cidrlist": "10.0.0.0/8", "number": 1}),
]


@pytest.mark.parametrize(("params", "expected"), CHANGES)
async def test_a_rule_is_changed_in_its_place(land: Land, vpc: dict[str, Any], params: Any, expected: Any):
    made = await make_list(land, vpc)
    item = await land.job("createNetworkACL", aclid=made["id"], protocol="tcp", startport=80, cidrlist="10.0.0.0/8")
    changed = await land.job("updateNetworkACLItem", id=item["id"], **params)
    assert expected == {name: changed.get(name) for name in expected}
    assert [changed] == await land.admin("listNetworkACLs", aclid=made["id"])


async def test_a_number_is_taken_once(land: Land, vpc: dict[str, Any]):
    made = await make_list(land, vpc)
    first, second = [await land.job("createNetworkACL", aclid=made["id"], protocol="all") for _ in range(2)]
    with refusal(431, "number 1 already exists"):
        await land.admin("updateNetworkACLItem", id=second["id"], number=1)
    await land.job("updateNetworkACLItem", id=first["id"], number=1, reason="its own")
    await land.job("deleteNetworkACL", id=first["id"])
    await land.job("updateNetworkACLItem", id=second["id"], number=1)


async def test_a_rule_for_a_tier_gives_it_a_list_of_its_own(land: Land, vpc: dict[str, Any]):
    """The default lists stay as they are; the next rule goes into the same list."""
    tier = await make_tier(land, vpc)
    first, second = [await land.job("createNetworkACL", networkid=tier["id"], protocol="all") for _ in range(2)]
    (now,) = await land.admin("listNetworks", id=tier["id"])
    assert (f"ACL_{tier['id']}", first["aclid"]) == (now["aclname"], second["aclid"])
    assert [1, 2] == [row["number"] for row in await land.admin("listNetworkACLs", networkid=tier["id"])]


async def test_a_list_is_its_vpcs(land: Land, vpc: dict[str, Any]):
    other = await make_vpc(land, cidr="10.9.0.0/16")
    foreign, tier, plain = await make_list(land, other), await make_tier(land, vpc), await land.network()
    with refusal(431, "belongs to another VPC"):
        await land.admin("replaceNetworkACLList", aclid=foreign["id"], networkid=tier["id"])
    with refusal(431, "is not part of a VPC"):
        await land.admin("replaceNetworkACLList", aclid=foreign["id"], networkid=plain["id"])
    for params in ({}, {"networkid": tier["id"], "gatewayid": tier["id"]}):
        with refusal(431, ""):
            await land.admin("replaceNetworkACLList", aclid=foreign["id"], **params)
    with refusal(431, "vpcid must be given"):
        await land.admin("createNetworkACLList", name="x")
