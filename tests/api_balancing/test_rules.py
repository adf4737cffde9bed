"""Load balancer rules and their members: what stands beside what, who may stand behind a rule, and what goes with what."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import balancing, load_balancers
from sysvm.store.store import Tx
from sysvm.systemvms.load_balancer import BalancerFacts
from sysvm.wire.balancing import MemberSeen
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_balancing.conftest import Scene


async def facts(scene: Scene) -> BalancerFacts | None:
    """What the routers are told."""

    def read(tx: Tx) -> BalancerFacts | None:
        network = tx.one(sa.select(tables.network).where(tables.network.c.uuid == scene.network["id"]))
        assert network is not None
        vault = scene.land.stage.vault
        return balancing.facts(tx, network, vault, public="203.0.113.1", guest="10.1.1.1", control="169.254.1.1")

    return await scene.land.stage.store.read(read)


async def told(scene: Scene) -> tuple[str, ...]:
    """The members of the one rule, as the routers are told."""
    found = await facts(scene)
    assert found is not None
    (rule,) = found.rules
    return rule.members


# ---------------------------------------------------------------- rules
async def test_a_rule_is_active_when_the_router_has_it(scene: Scene):
    land = scene.land
    accepted = await land.admin("createLoadBalancerRule", **scene.given(description="the web"))
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listLoadBalancerRules", id=accepted["id"])
    assert_row_matches_catalogue("listLoadBalancerRules", row)
    assert ("Add", "tcp", "80", "8080", "", scene.address["ipaddress"]) == tuple(
        row[name] for name in ("state", "protocol", "publicport", "privateport", "cidrlist", "publicip")
    )
    (opened,) = await land.admin("listFirewallRules")
    assert (80, 80, "0.0.0.0/0", "Add") == tuple(opened[each] for each in ("startport", "endport", "cidrlist", "state"))
    await land.serve(accepted["jobid"])
    (row,) = await land.admin("listLoadBalancerRules", publicipid=scene.address["id"])
    assert ("Active", "the web") == (row["state"], row["description"])


async def test_a_deleted_rule_takes_its_firewall_rule_along(scene: Scene):
    rule = await scene.rule()
    await scene.land.job("deleteLoadBalancerRule", id=rule["id"])
    assert ([], []) == (
        await scene.land.admin("listLoadBalancerRules"),
        await scene.land.admin("listFirewallRules"),
    )
    assert await facts(scene) is None


async def test_the_firewall_stays_shut_when_it_was_not_to_be_opened(scene: Scene):
    """The CIDR list is the rule's own, then, and it is told to the router in any case."""
    rule = await scene.rule(openfirewall=False, cidrlist="10.0.0.0/8,192.168.1.0/24")
    assert "10.0.0.0/8,192.168.1.0/24" == rule["cidrlist"]
    assert [] == await scene.land.admin("listFirewallRules")
    found = await facts(scene)
    assert found is not None and ("10.0.0.0/8", "192.168.1.0/24") == found.rules[0].sources


async def test_the_sources_of_a_rule_are_those_of_its_firewall_rule(scene: Scene):
    await scene.rule(cidrlist="10.0.0.0/8")
    (opened,) = await scene.land.admin("listFirewallRules")
    assert "10.0.0.0/8" == opened["cidrlist"]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"publicport": 0}, "publicPort is an invalid value: 0"),
        ({"privateport": 65536}, "privatePort is an invalid value: 65536"),
        ({"publicport": 8081}, "haproxy is listening for LB stats on this port"),
        ({"algorithm": "random"}, "Invalid algorithm: random"),
        ({"protocol": "udp"}, "Invalid protocol udp"),
        ({"cidrlist": "10.0.0.1"}, "formatting error"),
        ({"cidrlist": "fd00::/8,nonsense"}, "formatting error"),
        ({"publicipid": None}, "publicipid must be given"),
    ],
    ids=["low", "high", "statistics", "algorithm", "udp", "no-prefix", "no-cidr", "no-address"],
)
async def test_a_rule_that_cannot_be_is_refused(scene: Scene, params: dict[str, Any], text: str):
    with refusal(431, text):
        await scene.land.admin("createLoadBalancerRule", **scene.given(**params))
    assert [] == await scene.land.admin("listLoadBalancerRules")
    assert [] == await scene.land.admin("listFirewallRules")


async def test_dns_has_its_port_on_the_source_nat_address(scene: Scene):
    (source_nat,) = await scene.land.admin("listPublicIpAddresses", issourcenat=True)
    with refusal(431, "answers DNS"):
        await scene.land.admin("createLoadBalancerRule", **scene.given(publicport=53, publicipid=source_nat["id"]))
    await scene.rule(publicport=53)


async def test_the_source_nat_address_takes_rules_too(scene: Scene):
    (source_nat,) = await scene.land.admin("listPublicIpAddresses", issourcenat=True)
    rule = await scene.rule(publicipid=source_nat["id"])
    assert source_nat["ipaddress"] == rule["publicip"]


async def test_the_statistics_port_may_be_another_one(scene: Scene):
    await scene.land.admin("updateConfiguration", name="network.loadbalancer.haproxy.stats.port", value="9000")
    await scene.rule(publicport=8081)
    with refusal(431, "LB stats"):
        await scene.land.admin("createLoadBalancerRule", **scene.given(publicport=9000))


async def test_ports_conflict_both_ways(scene: Scene):
    """With forwards (also with ranges of them), with another rule, with static NAT."""
    land, given = scene.land, {"ipaddressid": scene.address["id"], "protocol": "tcp", "privateport": 22}
    guest = {"virtualmachineid": scene.guests[0]["id"]}
    await land.job("createPortForwardingRule", publicport=2000, publicendport=2010, privateendport=32, **given, **guest)
    with refusal(537, "conflicts with rule"):
        await land.admin("createLoadBalancerRule", **scene.given(publicport=2005))
    await scene.rule(publicport=81)
    with refusal(537, "conflicts with rule"):
        await land.admin("createLoadBalancerRule", **scene.given(publicport=81, protocol="tcp-proxy"))
    with refusal(537, "conflicts with rule"):
        await land.admin("createPortForwardingRule", publicport=81, **given, **guest)
    with refusal(537, "already has"):
        await land.admin("enableStaticNat", ipaddressid=scene.address["id"], **guest)
    await land.job("createPortForwardingRule", publicport=81, **{**given, "protocol": "udp"}, **guest)


async def test_an_address_with_static_nat_takes_no_rule(scene: Scene):
    land = scene.land
    await land.admin("enableStaticNat", ipaddressid=scene.address["id"], virtualmachineid=scene.guests[0]["id"])
    with refusal(537, "1 to 1 Nat"):
        await land.admin("createLoadBalancerRule", **scene.given())


async def test_a_network_without_the_service_has_no_rules(scene: Scene):
    land = scene.land
    offering = await land.admin(
        "createNetworkOffering", name="plain", displaytext="plain", guestiptype="Isolated", traffictype="GUEST",
        supportedservices="Dhcp,Dns,SourceNat,Firewall,PortForwarding",
        serviceproviderlist__0__service="SourceNat", serviceproviderlist__0__provider="VirtualRouter",
        serviceproviderlist__1__service="Dhcp", serviceproviderlist__1__provider="VirtualRouter",
        serviceproviderlist__2__service="Dns", serviceproviderlist__2__provider="VirtualRouter",
        serviceproviderlist__3__service="Firewall", serviceproviderlist__3__provider="VirtualRouter",
        serviceproviderlist__4__service="PortForwarding", serviceproviderlist__4__provider="VirtualRouter",
    )  # fmt: skip
    await land.admin("updateNetworkOffering", id=offering["id"], state="Enabled")
    network = await land.network(name="plain", networkofferingid=offering["id"])
    await land.deploy(networkids=network["id"], name="alone")
    address = await land.public_ip(await land.implemented(network["id"]))
    with refusal(431, "doesn't support service Lb"):
        await land.admin("createLoadBalancerRule", **scene.given(publicipid=address["id"]))


async def test_a_rule_gets_another_name_and_algorithm(scene: Scene):
    rule = await scene.rule()
    changed = await scene.land.job(
        "updateLoadBalancerRule",
        id=rule["id"],
        name="shop",
        algorithm="leastconn",
        description="new",
        protocol="tcp-proxy",
    )
    assert ("shop", "leastconn", "new", "tcp-proxy", "80", "Active") == tuple(
        changed[name] for name in ("name", "algorithm", "description", "protocol", "publicport", "state")
    )
    with refusal(431, "Invalid algorithm"):
        await scene.land.admin("updateLoadBalancerRule", id=rule["id"], algorithm="best")


async def test_rules_are_found_by_what_is_said_of_them(scene: Scene):
    land = scene.land
    one, two = await scene.rule(), await scene.rule(name="mail", publicport=25, fordisplay=False)
    await land.job("assignToLoadBalancerRule", id=two["id"], virtualmachineids=scene.guests[1]["id"])
    await land.admin("createTags", resourcetype="LoadBalancer", resourceids=one["id"], tags__0__key="a", tags__0__value="b")

    async def names(**params: Any) -> list[str]:
        return [row["name"] for row in await land.admin("listLoadBalancerRules", **params)]

    assert ["web", "mail"] == await names()
    assert ["web"] == await names(name="web")
    assert ["mail"] == await names(keyword="ai")
    assert ["mail"] == await names(virtualmachineid=scene.guests[1]["id"])
    assert ["web", "mail"] == await names(networkid=scene.network["id"])
    assert ["web", "mail"] == await names(zoneid=land.zone)
    assert ["mail"] == await names(fordisplay=False)
    assert ["web"] == await names(tags__0__key="a", tags__0__value="b")


async def test_somebody_else_cannot_touch_a_rule(scene: Scene):
    rule = await scene.rule()
    stranger = await scene.land.stage.user("stranger")
    with refusal(531):
        await stranger("deleteLoadBalancerRule", id=rule["id"])
    assert [] == await stranger("listLoadBalancerRules", listall=True)
    with refusal(531):
        await stranger("createLoadBalancerRule", **scene.given(publicport=82))


# ---------------------------------------------------------------- members
async def test_members_come_and_go(scene: Scene):
    land, rule = scene.land, await scene.rule()
    ids = [guest["id"] for guest in scene.guests]
    addresses = [guest["nic"][0]["ipaddress"] for guest in scene.guests]
    answer = await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=",".join(ids))
    await land.serve(answer["jobid"])
    assert set(addresses) == set(await told(scene))
    with refusal(431, "already mapped"):
        await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=ids[0])
    rows = await land.admin("listLoadBalancerRuleInstances", id=rule["id"])
    assert set(ids) == {row["id"] for row in rows}
    rows = await land.admin("listLoadBalancerRuleInstances", id=rule["id"], lbvmips=True)
    assert {(each,) for each in addresses} == {tuple(row["lbvmipaddresses"]) for row in rows}
    for row in rows:
        assert_row_matches_catalogue("listLoadBalancerRuleInstances", row)
    answer = await land.admin("removeFromLoadBalancerRule", id=rule["id"], virtualmachineids=ids[0])
    await land.serve(answer["jobid"])
    assert (addresses[1],) == await told(scene)
    with refusal(431, "is not mapped"):
        await land.admin("removeFromLoadBalancerRule", id=rule["id"], virtualmachineids=ids[0])
    (other,) = await land.admin("listLoadBalancerRuleInstances", id=rule["id"], applied=False)
    assert ids[0] == other["id"]


async def test_a_guest_may_be_named_with_an_address(scene: Scene):
    """A second address of a guest is a member of its own."""
    land, rule, guest = scene.land, await scene.rule(), scene.guests[0]
    second = await land.job("addIpToNic", nicid=guest["nic"][0]["id"])
    first = guest["nic"][0]["ipaddress"]
    both = {
        "vmidipmap__0__vmid": guest["id"], "vmidipmap__0__vmip": first,
        "vmidipmap__1__vmid": guest["id"], "vmidipmap__1__vmip": second["ipaddress"],
    }  # fmt: skip
    answer = await land.admin("assignToLoadBalancerRule", id=rule["id"], **both)
    await land.serve(answer["jobid"])
    assert {first, second["ipaddress"]} == set(await told(scene))
    with refusal(536, "load balancers"):
        await land.admin("removeIpFromNic", id=second["id"])
    one = {"vmidipmap__0__vmid": guest["id"], "vmidipmap__0__vmip": second["ipaddress"]}
    await land.admin("removeFromLoadBalancerRule", id=rule["id"], **one)
    assert (first,) == await told(scene)
    with refusal(431, "is not mapped"):
        await land.admin("removeFromLoadBalancerRule", id=rule["id"], **one)
    with refusal(431, "not an address of the vm"):
        await land.admin("assignToLoadBalancerRule", id=rule["id"], **{**one, "vmidipmap__0__vmip": "10.1.1.250"})


async def test_a_guest_of_another_network_is_refused(scene: Scene):
    """With it nobody of that call becomes a member."""
    land, rule = scene.land, await scene.rule()
    elsewhere = await land.network(name="other")
    stranger = await land.deploy(networkids=elsewhere["id"], name="stranger")
    with refusal(431, "doesn't belong to network"):
        await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=f"{scene.guests[0]['id']},{stranger['id']}")
    assert () == await told(scene)
    with refusal(431, "must be given"):
        await land.admin("assignToLoadBalancerRule", id=rule["id"])


async def test_a_guest_that_goes_leaves_its_rules(scene: Scene):
    land, rule = scene.land, await scene.rule()
    await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=",".join(g["id"] for g in scene.guests))
    await land.admin("destroyVirtualMachine", id=scene.guests[0]["id"], expunge=True)
    assert (scene.guests[1]["nic"][0]["ipaddress"],) == await told(scene)


async def test_an_address_that_goes_takes_its_rules_along(scene: Scene):
    land, rule = scene.land, await scene.rule()
    await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=scene.guests[0]["id"])
    await land.admin("disassociateIpAddress", id=scene.address["id"])
    assert [] == await land.admin("listLoadBalancerRules")
    assert await facts(scene) is None


async def test_what_the_router_sees_is_shown(scene: Scene):
    """servicestate of a guest: UP or DOWN, once the router has said so."""
    land, rule, guest = scene.land, await scene.rule(), scene.guests[0]
    await land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=guest["id"])
    (row,) = await land.admin("listLoadBalancerRuleInstances", id=rule["id"])
    assert "servicestate" not in row
    address = guest["nic"][0]["ipaddress"]
    for up, word in ((False, "DOWN"), (True, "UP")):
        router = (await land.admin("listRouters", networkid=scene.network["id"]))[0]["id"]
        seen = (MemberSeen(rule=rule["id"], address=address, up=up), MemberSeen(rule="unknown", address=address, up=up))
        await land.stage.store.run(lambda tx, router=router, seen=seen: load_balancers.heard(tx, router, seen))
        (row,) = await land.admin("listLoadBalancerRuleInstances", id=rule["id"])
        assert word == row["servicestate"]


# ---------------------------------------------------------------- what the routers are told besides
async def test_settings_decide_about_connections_and_the_statistics_page(scene: Scene):
    """A new value is told with the next document."""
    await scene.rule()
    found = await facts(scene)
    assert found is not None and found.page is not None
    assert (4096, "global", 8081, "admin1:AdMiN123") == (
        found.max_connections, found.page.visibility, found.page.port, found.page.auth,
    )  # fmt: skip
    prefix = "network.loadbalancer.haproxy"
    values = {"max.conn": "1000", "stats.visibility": "guest-network", "stats.uri": "/lb", "stats.auth": "me:secret"}
    for name, value in values.items():
        await scene.land.admin("updateConfiguration", name=f"{prefix}.{name}", value=value)
    found = await facts(scene)
    assert found is not None and found.page is not None
    assert (1000, "guest-network", "/lb", "me:secret") == (
        found.max_connections, found.page.visibility, found.page.uri, found.page.auth,
    )  # fmt: skip
