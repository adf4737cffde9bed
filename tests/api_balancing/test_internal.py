"""Load balancers inside VPCs by the API: what can be made and what is refused, and which machine a rule wants."""

from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import addresses, documents, internal_lbs, keys, nics
from sysvm.store.store import Row, Tx
from sysvm.wire.documents import RouterDocument
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import make_tier, make_vpc

INSIDE = "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB"


@dataclass
class Tier:
    """A tier with two guests, in a VPC."""

    land: Land
    vpc: dict[str, Any]
    network: dict[str, Any]
    guests: tuple[dict[str, Any], ...]

    async def make(self, who: Asker | None = None, **params: Any) -> dict[str, Any]:
        """A load balancer."""
        made: dict[str, Any] = await self.land.job("createLoadBalancer", who=who, **self.given(**params))
        return made

    def given(self, **params: Any) -> dict[str, Any]:
        """The parameters of one."""
        plain = {
            "name": "inside", "scheme": "Internal", "algorithm": "roundrobin", "sourceport": 80, "instanceport": 8080,
            "networkid": self.network["id"], "sourceipaddressnetworkid": self.network["id"],
        }  # fmt: skip
        return {name: value for name, value in {**plain, **params}.items() if value is not None}

    async def assign(self, rule: dict[str, Any], *which: int) -> list[tuple[str, str]]:
        """Guests stand behind it; what the job waits for."""
        ids = ",".join(self.guests[number]["id"] for number in which)
        accepted = await self.land.admin("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=ids)
        waits = await self.land.open_parts(accepted["jobid"])
        await self.land.serve(accepted["jobid"])
        return waits

    async def machine(self, address: str) -> str:
        """One that balances at the address, as the orchestrator would have made it; its id."""

        def write(tx: Tx) -> str:
            network = tx.one(sa.select(tables.network).where(tables.network.c.uuid == self.network["id"]))
            assert network is not None
            offering = sa.select(tables.service_offering.c.id).where(
                tables.service_offering.c.unique_name == "Cloud.Com-InternalLBVm"
            )
            host = tx.value(sa.select(tables.host.c.id))
            owner = {"account_id": network.account_id, "domain_id": network.domain_id, "domain_path": network.domain_path}
            id_ = tx.insert(
                tables.machine, uuid=self.land.stage.ids.uuid(), name="b-9-VM", kind="router", hypervisor="Simulator",
                zone_id=network.zone_id, host_id=host, service_offering_id=tx.value(offering), network_id=network.id,
                role="INTERNAL_LB_VM", wanted="running", power="running", agent_up=True, document_live="x",
                template_version="4.20.0", created=tx.now, **owner,
            )  # fmt: skip
            nics.add_nic(tx, id_, 0, "guest", network_id=network.id, addresses=((address, 24),), is_default=True)
            nics.add_nic(tx, id_, 1, "control", addresses=((addresses.take_control_ip(tx, host, id_), 16),))
            row = tx.get(tables.machine, id_)
            assert row is not None
            return str(row.uuid)

        return await self.land.stage.store.run(write)

    async def row(self) -> Row:
        """The tier's row."""
        (found,) = await self.land.rows(sa.select(tables.network).where(tables.network.c.uuid == self.network["id"]))
        return found


@pytest.fixture
async def tier(land: Land) -> Tier:
    """Everything is there and running."""
    vpc = await make_vpc(land)
    network = await make_tier(land, vpc, offering=INSIDE)
    guests = [await land.deploy(networkids=network["id"], name=name) for name in ("one", "two")]
    return Tier(land, vpc, network, tuple(guests))


# ---------------------------------------------------------------- rules
async def test_a_load_balancer_takes_an_address_of_its_tier(tier: Tier):
    """It is nobody else's from then on, although nothing answers there before somebody stands behind it."""
    accepted = await tier.land.admin("createLoadBalancer", **tier.given(description="text"))
    assert [] == await tier.land.open_parts(accepted["jobid"])
    (row,) = await tier.land.admin("listLoadBalancers", id=accepted["id"])
    assert_row_matches_catalogue("listLoadBalancers", row)
    assert ("inside", "text", "roundrobin", tier.network["id"], tier.network["id"]) == tuple(
        row[name] for name in ("name", "description", "algorithm", "networkid", "sourceipaddressnetworkid")
    )
    assert [{"sourceport": 80, "instanceport": 8080, "state": "Add"}] == row["loadbalancerrule"]
    assert row["sourceipaddress"].startswith("10.8.1.") and [] == row["loadbalancerinstance"]
    third = await tier.land.deploy(networkids=tier.network["id"])
    assert row["sourceipaddress"] not in {each["nic"][0]["ipaddress"] for each in (*tier.guests, third)}
    with refusal(431, "reserved in network"):
        await tier.land.deploy(networkids=tier.network["id"], ipaddress=row["sourceipaddress"])
    assert [] == await tier.land.admin("listLoadBalancerRules")


WRONG = [
    ({"scheme": "Public"}, 431, "Supported value is Internal"),
    ({"algorithm": "fair"}, 431, "Invalid algorithm"),
    ({"sourceport": 0}, 431, "sourceport"),
    ({"instanceport": 70000}, 431, "instanceport"),
    ({"sourceport": 8081}, 431, "haproxy is listening"),
    ({"sourceipaddress": "here"}, 431, "it is an IPv4 address"),
    ({"sourceipaddress": "fd00::1"}, 431, "it is an IPv4 address"),
    ({"sourceipaddress": "10.8.2.9"}, 431, "not in the range"),
    ({"sourceipaddress": "10.8.1.1"}, 431, "reserved"),
]


@pytest.mark.parametrize(("params", "status", "words"), WRONG)
async def test_one_that_cannot_be_is_refused(tier: Tier, params: dict[str, Any], status: int, words: str):
    with refusal(status, words):
        await tier.make(**params)
    assert [] == await tier.land.admin("listLoadBalancers", listall=True)


async def test_addresses_of_guests_are_theirs(tier: Tier):
    with refusal(431, "already in use"):
        await tier.make(sourceipaddress=tier.guests[0]["nic"][0]["ipaddress"])


async def test_each_kind_has_its_networks(tier: Tier):
    """Public ones are not made where a tier balances inside, nor the other way round; the address is the tier's own."""
    plain = await make_tier(tier.land, tier.vpc, 2)
    with refusal(431, "doesn't support internal load balancers"):
        await tier.make(networkid=plain["id"], sourceipaddressnetworkid=plain["id"])
    with refusal(431, "load balancer's own network"):
        await tier.make(sourceipaddressnetworkid=plain["id"])
    ip = await tier.land.job("associateIpAddress", vpcid=tier.vpc["id"])
    public = {"name": "p", "algorithm": "source", "publicport": 80, "privateport": 80, "publicipid": ip["id"]}
    with refusal(431, "internal load balancers only"):
        await tier.land.admin("createLoadBalancerRule", **public, networkid=tier.network["id"])
    rule = await tier.land.job("createLoadBalancerRule", **public, networkid=plain["id"])
    with refusal(431, "is a public one"):
        await tier.land.admin("deleteLoadBalancer", id=rule["id"])


async def test_two_rules_share_an_address_but_no_port(tier: Tier):
    first = await tier.make(sourceipaddress="10.8.1.77")
    second = await tier.make(sourceipaddress="10.8.1.77", sourceport=81, name="more")
    assert {"10.8.1.77"} == {each["sourceipaddress"] for each in (first, second)}
    with refusal(537, "is taken by load balancer inside"):
        await tier.make(sourceipaddress="10.8.1.77")
    other = await tier.make()
    assert "10.8.1.77" != other["sourceipaddress"]
    found = await tier.land.admin("listLoadBalancers", sourceipaddress="10.8.1.77", networkid=tier.network["id"])
    assert [first["id"], second["id"]] == [each["id"] for each in found]
    assert [second["id"]] == [each["id"] for each in await tier.land.admin("listLoadBalancers", keyword="mor")]


async def test_load_balancers_are_their_vpcs_accounts(land: Land):
    """Also where an administrator makes them; others see none of it and change none."""
    owner, other = await land.stage.user("tenant"), await land.stage.user("other")
    vpc = await make_vpc(land, owner)
    network = await make_tier(land, vpc, who=owner, offering=INSIDE)
    made = await Tier(land, vpc, network, ()).make()
    assert "tenant" == made["account"]
    assert [made["id"]] == [each["id"] for each in await owner("listLoadBalancers")]
    assert [] == await other("listLoadBalancers", listall=True)
    for command in ("listLoadBalancers", "deleteLoadBalancer"):
        with refusal(531, "permission"):
            await other(command, id=made["id"])
    with refusal(531, "permission"):
        await other("createLoadBalancer", **Tier(land, vpc, network, ()).given(sourceport=99))


# ---------------------------------------------------------------- members and the machine
async def test_the_first_member_wants_a_machine(tier: Tier):
    """Whose turn tells when it serves; once it is there it is told of further ones."""
    rule = await tier.make(sourceipaddress="10.8.1.77")
    assert [("internal_lb", "serving")] == await tier.assign(rule, 0)
    row = await tier.row()
    ruled, needed = await tier.land.stage.store.read(lambda tx: internal_lbs.ruled(tx, row.id))
    assert ({"10.8.1.77"}, {"10.8.1.77"}) == (ruled, needed)
    vm = await tier.machine("10.8.1.77")
    assert [("machine", "live")] == await tier.assign(rule, 1)
    (row,) = await tier.land.admin("listLoadBalancers", id=rule["id"])
    assert [{"sourceport": 80, "instanceport": 8080, "state": "Active"}] == row["loadbalancerrule"]
    assert [(guest["id"], guest["nic"][0]["ipaddress"]) for guest in tier.guests] == [
        (each["id"], each["ipaddress"]) for each in row["loadbalancerinstance"]
    ]
    behind = await tier.land.admin("listLoadBalancerRuleInstances", id=rule["id"])
    assert [guest["id"] for guest in tier.guests] == [each["id"] for each in behind]
    accepted = await tier.land.admin("removeFromLoadBalancerRule", id=rule["id"], virtualmachineids=tier.guests[0]["id"])
    assert [("machine", "live")] == await tier.land.open_parts(accepted["jobid"])
    (shown,) = await tier.land.admin("listInternalLoadBalancerVMs", networkid=tier.network["id"])
    assert vm == shown["id"]


async def test_a_machine_is_told_the_rules_of_its_address(tier: Tier):
    """And of no other one; its router is told of none of them."""
    rule, far = await tier.make(sourceipaddress="10.8.1.77"), await tier.make(sourceipaddress="10.8.1.78")
    vm = await tier.machine("10.8.1.77")
    await tier.assign(rule, 0, 1)
    await tier.assign(far, 0)
    await tier.land.job("createLBStickinessPolicy", lbruleid=rule["id"], name="s", methodname="SourceBased")
    stage = tier.land.stage

    def read(tx: Tx) -> RouterDocument:
        (machine,) = tx.rows(tables.machine, "uuid = :uuid", uuid=vm)
        found = documents.document_of(tx, machine, keys.ensure_keys(tx, stage.vault, stage.ids))
        assert isinstance(found, RouterDocument)
        return found

    document = await stage.store.run(read)
    assert document.balancing is not None
    (told,) = document.balancing.rules
    assert (rule["id"], "10.8.1.77", 80, 8080) == (told.rule, told.public, told.port, told.private_port)
    assert tuple(guest["nic"][0]["ipaddress"] for guest in tier.guests) == told.members and told.stickiness is not None
    assert [("guest", ("10.8.1.77/24",)), ("control", ("169.254.0.2/16",))] == [
        (each.role, each.addresses) for each in document.interfaces
    ]
    assert ((), None, (), ()) == (document.dhcp, document.dns, document.source_nat, document.firewall)


async def test_the_machine_goes_with_the_last_rule_of_its_address(tier: Tier):
    rules = [await tier.make(sourceipaddress="10.8.1.77", sourceport=port) for port in (80, 81)]
    await tier.machine("10.8.1.77")
    accepted = await tier.land.admin("deleteLoadBalancer", id=rules[0]["id"])
    assert [("machine", "live")] == await tier.land.open_parts(accepted["jobid"])
    accepted = await tier.land.admin("deleteLoadBalancer", id=rules[1]["id"])
    assert [("machine", "gone")] == await tier.land.open_parts(accepted["jobid"])
    # Its address may be had again at once, by a load balancer.
    again = await tier.make(sourceipaddress="10.8.1.77")
    assert [("internal_lb", "serving")] == await tier.assign(again, 0)


async def test_a_guest_that_goes_leaves_its_place(tier: Tier):
    rule = await tier.make(sourceipaddress="10.8.1.77")
    await tier.machine("10.8.1.77")
    await tier.assign(rule, 0)
    wish = (
        sa.select(tables.turn.c.wish)
        .join(tables.machine, tables.machine.c.id == tables.turn.c.id)
        .where(tables.turn.c.kind == "machine", tables.machine.c.name == "b-9-VM")
    )
    (before,) = await tier.land.rows(wish)
    await tier.land.admin("destroyVirtualMachine", id=tier.guests[0]["id"], expunge=True)
    (after,) = await tier.land.rows(wish)
    assert after.wish > before.wish
    (row,) = await tier.land.admin("listLoadBalancers", id=rule["id"])
    assert [] == row["loadbalancerinstance"]


# ---------------------------------------------------------------- machines for operators
async def test_machines_are_listed_started_and_stopped(tier: Tier):
    await tier.make(sourceipaddress="10.8.1.77")
    vm = await tier.machine("10.8.1.77")
    (row,) = await tier.land.admin("listInternalLoadBalancerVMs", vpcid=tier.vpc["id"])
    assert_row_matches_catalogue("listInternalLoadBalancerVMs", row)
    assert ("INTERNAL_LB_VM", "Running", tier.vpc["id"], tier.vpc["name"], tier.network["id"], "10.8.1.77", "b-9-VM") == tuple(
        row[name] for name in ("role", "state", "vpcid", "vpcname", "guestnetworkid", "guestipaddress", "name")
    )
    assert [row] == await tier.land.admin("listInternalLoadBalancerVMs", forvpc=True, keyword="b-9", state="Running")
    assert [] == await tier.land.admin("listInternalLoadBalancerVMs", forvpc=False)
    stopped = await tier.land.job("stopInternalLoadBalancerVM", id=vm)
    assert vm == stopped["id"]
    accepted = await tier.land.admin("startInternalLoadBalancerVM", id=vm)
    assert [("machine", "running")] == await tier.land.open_parts(accepted["jobid"])
    counted = await tier.land.admin("listInfrastructure")
    assert (0, 1) == (counted["routers"], counted["ilbvms"])


async def test_a_stopped_machine_keeps_nobody_waiting(tier: Tier):
    rule = await tier.make(sourceipaddress="10.8.1.77")
    vm = await tier.machine("10.8.1.77")
    await tier.land.set_machine(vm, wanted="stopped", power="stopped")
    assert [] == await tier.assign(rule, 0)


async def test_it_is_no_router(tier: Tier):
    """By the commands for those nothing is done to it."""
    await tier.make(sourceipaddress="10.8.1.77")
    vm = await tier.machine("10.8.1.77")
    assert [] == await tier.land.admin("listRouters", listall=True)
    for command in ("stopRouter", "rebootRouter", "destroyRouter"):
        with refusal(431, "Unable to find router"):
            await tier.land.admin(command, id=vm)
    (guest,) = tier.guests[:1]
    for command in ("startInternalLoadBalancerVM", "stopInternalLoadBalancerVM"):
        with refusal(431, "Can't find internal lb vm"):
            await tier.land.admin(command, id=guest["id"])


async def test_it_may_have_a_larger_offering_of_its_own_kind(tier: Tier):
    await tier.make(sourceipaddress="10.8.1.77")
    vm = await tier.machine("10.8.1.77")
    await tier.land.set_machine(vm, wanted="stopped", power="stopped")
    size = {"displaytext": "x", "cpunumber": 2, "cpuspeed": 1000, "memory": 1024, "issystem": True}
    inside, router = [
        await tier.land.admin("createServiceOffering", name=kind, systemvmtype=kind, **size)
        for kind in ("internalloadbalancervm", "domainrouter")
    ]
    with refusal(431, "is for a domainrouter, not for a internalloadbalancervm"):
        await tier.land.admin("scaleSystemVm", id=vm, serviceofferingid=router["id"])
    scaled = await tier.land.job("scaleSystemVm", id=vm, serviceofferingid=inside["id"])
    assert inside["id"] == scaled["serviceofferingid"]


async def test_a_restart_takes_the_machines_along(tier: Tier):
    """Of the VPC with cleanup as next incarnations; without, those that were stopped run again."""
    await tier.make(sourceipaddress="10.8.1.77")
    vm = await tier.machine("10.8.1.77")
    accepted = await tier.land.admin("restartVPC", id=tier.vpc["id"], cleanup=True)
    assert ("machine", "running") in await tier.land.open_parts(accepted["jobid"])
    incarnation = sa.select(tables.machine.c.incarnation).where(tables.machine.c.uuid == vm)
    assert [2] == [row.incarnation for row in await tier.land.rows(incarnation)]
    await tier.land.set_machine(vm, wanted="stopped", power="stopped")
    await tier.land.cloud.change(tables.network, tier.network["id"], state="Implemented")
    accepted = await tier.land.admin("restartNetwork", id=tier.network["id"])
    assert ("machine", "running") in await tier.land.open_parts(accepted["jobid"])
    assert [2] == [row.incarnation for row in await tier.land.rows(incarnation)]


async def test_an_offering_of_the_other_kind_is_refused_while_there_are_rules(tier: Tier):
    await tier.make()
    other = await tier.land.network_offering("DefaultIsolatedNetworkOfferingForVpcNetworks")
    with refusal(536, "has another provider of Lb"):
        await tier.land.admin("updateNetwork", id=tier.network["id"], networkofferingid=other)
