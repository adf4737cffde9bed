"""Security groups over the API: what a group may be, what its rules may say, who may touch it, and which hosts hear of it."""

from collections.abc import Awaitable
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import security_groups
from sysvm.store.store import Tx
from tests.api.stage import Asker, refusal
from tests.api_networks.land import Land

SG_OFFERING = "DefaultSharedNetworkOfferingWithSGService"


async def shared(land: Land) -> dict[str, Any]:
    """A shared network whose guests are held to groups."""
    return await land.network(
        name="shared", networkofferingid=await land.network_offering(SG_OFFERING), vlan="untagged",
        gateway="10.5.0.1", netmask="255.255.255.0", startip="10.5.0.10", endip="10.5.0.99",
    )  # fmt: skip


async def group(who: Asker, name: str = "web") -> dict[str, Any]:
    return await who("createSecurityGroup", name=name, description=f"for {name}")


async def refused(code: int, calling: Awaitable[Any]) -> None:
    """What is asked is refused with this code."""
    with refusal(code):
        await calling


async def groups_of(who: Asker, **params: Any) -> list[dict[str, Any]]:
    return list(await who("listSecurityGroups", **params))


async def test_an_account_begins_with_a_default_group_which_can_be_neither_made_renamed_nor_deleted(land: Land):
    user = await land.stage.user("ann")
    (default,) = await groups_of(user)
    assert ("default", 0, [], []) == (
        default["name"], default["virtualmachinecount"], default["ingressrule"], default["egressrule"]
    )  # fmt: skip
    await refused(431, user("createSecurityGroup", name="Default"))
    await refused(431, user("updateSecurityGroup", id=default["id"], name="other"))
    await refused(431, user("deleteSecurityGroup", id=default["id"]))


async def test_a_group_has_a_name_that_its_account_has_once(land: Land):
    user, other = await land.stage.user("ann"), await land.stage.user("bob")
    made = await group(user)
    assert ("web", "for web", "ann") == (made["name"], made["description"], made["account"])
    await refused(431, group(user, "WEB"))
    await group(other)
    renamed = await user("updateSecurityGroup", id=made["id"], name="www")
    assert "www" == renamed["name"]
    assert [made["id"]] == [row["id"] for row in await groups_of(user, securitygroupname="www")]
    await user("deleteSecurityGroup", name="www")
    assert ["default"] == [row["name"] for row in await groups_of(user)]


async def test_other_accounts_groups_are_nobodys_to_touch(land: Land):
    user, other = await land.stage.user("ann"), await land.stage.user("bob")
    mine = await group(user)
    network = await shared(land)
    await refused(531, other("deleteSecurityGroup", id=mine["id"]))
    await refused(531, other("authorizeSecurityGroupIngress", securitygroupid=mine["id"], protocol="all", cidrlist="0.0.0.0/0"))
    assert mine["id"] not in [row["id"] for row in await groups_of(other, listall=True)]
    given = {"zoneid": land.zone, "serviceofferingid": land.offering["id"], "templateid": land.template["id"]}
    await refused(
        531, other("deployVirtualMachine", **given, networkids=network["id"], securitygroupids=mine["id"], startvm=False)
    )
    made = await land.job("authorizeSecurityGroupIngress", who=user, securitygroupid=mine["id"], cidrlist="10.0.0.0/8")
    await refused(531, other("revokeSecurityGroupIngress", id=made["ingressrule"][0]["ruleid"]))


async def test_a_call_makes_a_rule_for_each_cidr_and_each_group_and_answers_the_new_ones(land: Land):
    user, other = await land.stage.user("ann"), await land.stage.user("bob")
    mine, theirs = await group(user), await group(other, "clients")
    first = await land.job(
        "authorizeSecurityGroupIngress", who=user, securitygroupname="web", protocol="TCP", startport=80, endport=81,
        cidrlist="10.0.0.0/8,192.0.2.0/24",
    )  # fmt: skip
    shown = [(rule["protocol"], rule["startport"], rule["endport"], rule["cidr"]) for rule in first["ingressrule"]]
    assert [("tcp", 80, 81, "10.0.0.0/8"), ("tcp", 80, 81, "192.0.2.0/24")] == shown
    second = await land.job(
        "authorizeSecurityGroupEgress", who=user, securitygroupid=mine["id"], protocol="icmp", icmptype=8, icmpcode=0,
        **{"usersecuritygrouplist[0].account": "bob", "usersecuritygrouplist[0].group": "clients"},
    )  # fmt: skip
    ((rule,), none) = (second["egressrule"], second["ingressrule"])
    assert ("icmp", 8, 0, "clients", "bob") == tuple(
        rule[name] for name in ("protocol", "icmptype", "icmpcode", "securitygroupname", "account")
    )
    assert [] == none
    await refused(536, other("deleteSecurityGroup", id=theirs["id"]))  # a rule of another group speaks of it
    over = await user("revokeSecurityGroupEgress", id=rule["ruleid"])
    await land.serve(over["jobid"])
    (row,) = await groups_of(user, id=mine["id"])
    assert (2, []) == (len(row["ingressrule"]), row["egressrule"])
    await other("deleteSecurityGroup", id=theirs["id"])


@pytest.mark.parametrize(
    ("code", "params"),
    [
        (431, {}),  # nobody at the other end
        (431, {"protocol": "tcp", "cidrlist": "10.0.0.0/8"}),  # no ports
        (431, {"protocol": "tcp", "startport": 90, "endport": 80, "cidrlist": "10.0.0.0/8"}),
        (431, {"protocol": "udp", "startport": 1, "endport": 65536, "cidrlist": "10.0.0.0/8"}),
        (431, {"protocol": "all", "startport": 1, "cidrlist": "10.0.0.0/8"}),
        (431, {"protocol": "icmp", "icmptype": 256, "cidrlist": "10.0.0.0/8"}),
        (431, {"protocol": "300", "cidrlist": "10.0.0.0/8"}),
        (431, {"protocol": "carrier-pigeon", "cidrlist": "10.0.0.0/8"}),
        (431, {"cidrlist": "10.0.0.1/8"}),  # host bits
        (431, {"cidrlist": "10.0.0.1"}),
        (431, {"cidrlist": "10.0.0.0/33"}),
        (431, {"protocol": "icmp", "cidrlist": "fd00::/8"}),
        (431, {"usersecuritygrouplist[0].account": "ann"}),
        (431, {"usersecuritygrouplist[0].account": "nobody", "usersecuritygrouplist[0].group": "default"}),
        (431, {"usersecuritygrouplist[0].account": "ann", "usersecuritygrouplist[0].group": "none"}),
    ],
)
async def test_a_rule_that_says_nothing_sensible_is_refused_and_leaves_nothing(land: Land, code, params):
    user = await land.stage.user("ann")
    mine = await group(user)
    await refused(code, user("authorizeSecurityGroupIngress", securitygroupid=mine["id"], **params))
    (row,) = await groups_of(user, id=mine["id"])
    assert [] == row["ingressrule"]


async def test_a_rule_that_is_there_already_is_refused_and_of_several_only_the_new_ones_are_made(land: Land):
    user = await land.stage.user("ann")
    await group(user)
    rule = {"securitygroupname": "web", "protocol": "tcp", "startport": 22, "endport": 22}
    await land.job("authorizeSecurityGroupIngress", who=user, cidrlist="10.0.0.0/8", **rule)
    await refused(537, user("authorizeSecurityGroupIngress", cidrlist="10.0.0.0/8", **rule))
    more = await land.job("authorizeSecurityGroupIngress", who=user, cidrlist="10.0.0.0/8,10.0.0.0/16", **rule)
    assert ["10.0.0.0/16"] == [each["cidr"] for each in more["ingressrule"]]
    both_ways = await land.job("authorizeSecurityGroupEgress", who=user, cidrlist="10.0.0.0/8", **rule)
    assert 1 == len(both_ways["egressrule"])


async def test_guests_are_in_the_groups_that_they_are_given_or_in_the_default_one(land: Land):
    network, web = await shared(land), await group(land.admin)
    plain = await land.deploy(networkids=network["id"])
    assert ["default"] == [row["name"] for row in plain["securitygroup"]]
    served = await land.deploy(networkids=network["id"], securitygroupnames="web,default")
    assert ["default", "web"] == sorted(row["name"] for row in served["securitygroup"])
    assert [served["id"]] == [row["id"] for row in await land.admin("listVirtualMachines", securitygroupid=web["id"])]
    (row,) = await groups_of(land.admin, id=web["id"])
    assert (1, [served["id"]]) == (row["virtualmachinecount"], row["virtualmachineids"])
    assert ["default", "web"] == sorted(row["name"] for row in await groups_of(land.admin, virtualmachineid=served["id"]))
    await refused(536, land.admin("deleteSecurityGroup", id=web["id"]))
    changed = await land.admin("updateVirtualMachine", id=served["id"], securitygroupnames="default")
    assert ["default"] == [row["name"] for row in changed["securitygroup"]]
    await land.admin("deleteSecurityGroup", id=web["id"])


async def test_a_guest_without_a_network_with_groups_is_in_none(land: Land):
    network = await land.network()
    row = await land.deploy(networkids=network["id"])
    assert [] == row["securitygroup"]
    given = {"zoneid": land.zone, "serviceofferingid": land.offering["id"], "templateid": land.template["id"]}
    await refused(431, land.admin("deployVirtualMachine", **given, networkids=network["id"], securitygroupnames="default"))
    await refused(431, land.admin("updateVirtualMachine", id=row["id"], securitygroupnames="default"))


async def test_a_guest_that_goes_leaves_its_groups(land: Land):
    network, web = await shared(land), await group(land.admin)
    row = await land.deploy(networkids=network["id"], securitygroupids=web["id"])
    await land.admin("destroyVirtualMachine", id=row["id"], expunge=True)
    (left,) = await groups_of(land.admin, id=web["id"])
    assert 0 == left["virtualmachinecount"]


async def placed(land: Land, guest: dict[str, Any]) -> None:
    """The guest's incarnation is on the zone's host, as the orchestrator would have placed it."""

    def write(tx: Tx) -> None:
        machine = tx.one(sa.select(tables.machine).where(tables.machine.c.uuid == guest["id"]))
        host = tx.value(sa.select(tables.host.c.id))
        tx.insert(tables.placement, machine_id=machine.id, incarnation=1, host_id=host, wanted="running", created=tx.now)

    await land.stage.store.run(write)


async def document(land: Land) -> Any:
    def read(tx: Tx) -> Any:
        host = tx.one(sa.select(tables.host))
        return security_groups.document(tx, host)

    return await land.stage.store.read(read)


async def test_a_host_knows_its_ports_their_groups_and_the_members_of_which_rules_speak(land: Land):
    network, web, clients = await shared(land), await group(land.admin), await group(land.admin, "clients")
    here = await land.deploy(networkids=network["id"], securitygroupids=web["id"])
    elsewhere = await land.deploy(networkids=network["id"], securitygroupids=clients["id"])
    await placed(land, here)
    await land.job(
        "authorizeSecurityGroupIngress", securitygroupid=web["id"], protocol="tcp", startport=80, endport=80,
        **{"usersecuritygrouplist[0].account": "admin", "usersecuritygrouplist[0].group": "clients"},
    )  # fmt: skip
    found = await document(land)
    assert [(here["id"], 1, 0, (web["id"],))] == [(p.machine, p.incarnation, p.device, p.groups) for p in found.ports]
    known = {each.group: each for each in found.groups}
    assert {web["id"], clients["id"]} == set(known)
    assert (elsewhere["ipaddress"],) == known[clients["id"]].members
    assert () == known[web["id"]].members
    (rule,) = known[web["id"]].ingress
    assert ("tcp", 80, 80, "", clients["id"]) == (rule.protocol, rule.first, rule.last, rule.cidr, rule.group)


async def test_only_hosts_that_a_change_is_about_hear_of_it(land: Land):
    network, web, lonely = await shared(land), await group(land.admin), await group(land.admin, "lonely")
    guest = await land.deploy(networkids=network["id"], securitygroupids=web["id"])
    await placed(land, guest)

    async def waits(name: str) -> int:
        accepted = await land.admin("authorizeSecurityGroupIngress", securitygroupname=name, cidrlist="10.0.0.0/8")
        await land.serve(accepted["jobid"])
        return len(await wishes(land))

    assert 0 == await waits("lonely")
    assert 1 == await waits("web")
    assert lonely["id"] != web["id"]


async def wishes(land: Land) -> list[Any]:
    return await land.rows(sa.select(tables.turn).where(tables.turn.c.kind == security_groups.KIND))


async def test_a_job_waits_for_hosts_that_can_hear_of_it_and_for_no_others(land: Land):
    network, web = await shared(land), await group(land.admin)
    guest = await land.deploy(networkids=network["id"], securitygroupids=web["id"])
    await placed(land, guest)
    (host,) = await land.admin("listHosts", type="Routing")
    for number, (session, parts) in enumerate([(None, []), ("session", [(security_groups.KIND, "live")])]):
        await land.cloud.change(tables.host, host["id"], link_session=session)
        accepted = await land.admin("authorizeSecurityGroupIngress", securitygroupid=web["id"], cidrlist=f"10.{number}.0.0/16")
        assert parts == await land.open_parts(accepted["jobid"])
