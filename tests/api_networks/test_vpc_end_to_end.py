"""A VPC over a whole server on simulated hosts: one router, which gets and loses NICs while it serves."""

import asyncio
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import documents, usage, vpcs
from sysvm.store.store import Tx
from sysvm.wire.channel import Counter, TrafficReport
from sysvm.wire.documents import RouterDocument
from tests.api.rows import assert_row_matches_catalogue
from tests.simulation.client import Client, ground
from tests.simulation.cloud import Cloud, Server
from tests.simulation.loop import run


def test_a_vpc_from_its_first_to_its_last_moment():
    """Two tiers, a guest in each, addresses, rules, a route, a restart; all gone at the end."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.running_server() as server:
            zone_id = await cloud.zone(guests_only=True)
            await cloud.store.run(lambda tx: ground(tx, cloud, zone_id))
            await asyncio.wait_for(Story(cloud, server).tell(), 3600)

    async def whole() -> None:
        async with cloud.world():
            await main()

    run(cloud.clock, whole())


class Story:
    """What a tenant does with a VPC."""

    def __init__(self, cloud: Cloud, server: Server) -> None:
        self.cloud, self.server = cloud, server
        self.client = Client(cloud)
        self.ask, self.job, self.one = self.client.ask, self.client.job, self.client.one
        self.vpc: dict[str, Any] = {}

    async def tell(self) -> None:
        zone = await self.one("listZones")
        offering = await self.one("listVPCOfferings", name="Default VPC offering")
        self.vpc = await self.job(
            "createVPC", name="v", displaytext="v", cidr="10.8.0.0/16", vpcofferingid=offering["id"], zoneid=zone["id"]
        )
        assert_row_matches_catalogue("createVPC", self.vpc)
        router = await self.one("listRouters", vpcid=self.vpc["id"])
        assert ("Running", self.vpc["id"], ["control", "public"]) == (
            router["state"], router["vpcid"], [nic["traffictype"].lower() for nic in router["nic"]],
        )  # fmt: skip
        web, data = await self.tier(zone, "web", 1), await self.tier(zone, "data", 2)
        first, second = await self.guest(zone, "w", web), await self.guest(zone, "d", data)
        assert ("Running", "Running") == (first["state"], second["state"])
        assert router["id"] == (await self.one("listRouters", forvpc=True))["id"]
        document = await self.document()
        assert [("eth2", "10.8.1.0/24"), ("eth3", "10.8.2.0/24")] == [(tier.device, tier.cidr) for tier in document.vpc.tiers]
        await self.rules(web, first)
        await self.addresses(web, data, first, second)
        await self.traffic(web)
        await self.routes(second)
        await self.private_gateway(router)
        await self.balanced_inside(zone)
        assert 1400 == (await self.job("updateVPC", id=self.vpc["id"], publicmtu=1400))["publicmtu"]
        assert [1500, 1400, 1500] == [each.mtu for each in (await self.document()).interfaces[:3]]
        await self.job("restartVPC", id=self.vpc["id"], cleanup=True)
        assert router["id"] == (await self.one("listRouters", vpcid=self.vpc["id"], state="Running"))["id"]
        await self.end(web, data, first, second)

    async def document(self) -> RouterDocument:
        """What the router is told."""

        def read(tx: Tx) -> RouterDocument:
            (vpc,) = tx.all(sa.select(tables.vpc))
            (router,) = vpcs.routers_of(tx, vpc.id)
            found = documents.document_of(tx, router, self.server.context.keys)
            assert isinstance(found, RouterDocument)
            assert found.vpc is not None
            return found

        return await self.cloud.store.read(read)

    async def tier(self, zone: dict[str, Any], name: str, number: int, kind: str = "") -> dict[str, Any]:
        offering = await self.one("listNetworkOfferings", name=f"DefaultIsolatedNetworkOfferingForVpcNetworks{kind}")
        allow = [row for row in await self.ask("listNetworkACLLists") if row["name"] == "default_allow"]
        made = await self.ask(
            "createNetwork", zoneid=zone["id"], name=name, displaytext=name, networkofferingid=offering["id"],
            vpcid=self.vpc["id"], gateway=f"10.8.{number}.1", netmask="255.255.255.0", aclid=allow[0]["id"],
        )  # fmt: skip
        assert (self.vpc["id"], "default_allow") == (made["vpcid"], made["aclname"])
        for _ in range(60):
            found = await self.one("listNetworks", id=made["id"])
            if found["state"] == "Implemented":
                return found
            await self.cloud.clock.sleep(1)
        raise AssertionError(f"{name} is not implemented: {found}")

    async def guest(self, zone: dict[str, Any], name: str, network: dict[str, Any]) -> dict[str, Any]:
        offering = await self.ask("createServiceOffering", name=name, displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
        return await self.job(
            "deployVirtualMachine", name=name, zoneid=zone["id"], serviceofferingid=offering["id"],
            networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001",
        )  # fmt: skip

    async def rules(self, web: dict[str, Any], guest: dict[str, Any]) -> None:
        """A list of one's own: made, filled, put in force, changed."""
        made = await self.job("createNetworkACLList", name="mine", vpcid=self.vpc["id"])
        item = await self.job("createNetworkACL", aclid=made["id"], protocol="tcp", startport=80, cidrlist="10.8.2.0/24")
        assert ("Active", 1, "Allow") == (item["state"], item["number"], item["action"])
        await self.job("replaceNetworkACLList", aclid=made["id"], networkid=web["id"])
        (tier, _) = (await self.document()).vpc.tiers
        assert [(1, True, "tcp", ("10.8.2.0/24",), 80)] == [
            (rule.number, rule.allow, rule.protocol, rule.cidrs, rule.first) for rule in tier.ingress
        ]
        await self.job("updateNetworkACLItem", id=item["id"], startport=81, endport=82, action="deny")
        (tier, _) = (await self.document()).vpc.tiers
        assert [(False, 81, 82)] == [(rule.allow, rule.first, rule.last) for rule in tier.ingress]
        await self.job("deleteNetworkACL", id=item["id"])
        (tier, _) = (await self.document()).vpc.tiers
        assert () == tier.ingress

    async def addresses(self, web: Any, data: Any, first: Any, second: Any) -> None:
        """Port forwarding, static NAT and a load balancer, on addresses of the VPC."""
        taken = [await self.job("associateIpAddress", vpcid=self.vpc["id"]) for _ in range(3)]
        forward, static, balanced = taken
        made = await self.job(
            "createPortForwardingRule", ipaddressid=forward["id"], protocol="tcp", publicport=22, privateport=22,
            virtualmachineid=first["id"], networkid=web["id"],
        )  # fmt: skip
        assert web["id"] == made["networkid"]
        await self.ask("enableStaticNat", ipaddressid=static["id"], virtualmachineid=second["id"], networkid=data["id"])
        rule = await self.job(
            "createLoadBalancerRule", publicipid=balanced["id"], algorithm="roundrobin", name="lb", publicport=80,
            privateport=80, networkid=web["id"],
        )  # fmt: skip
        await self.job("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=first["id"])
        document = await self.document()
        assert [first["nic"][0]["ipaddress"]] == [each.private for each in document.port_forwards]
        assert [second["nic"][0]["ipaddress"]] == [each.private for each in document.static_nat]
        assert [(first["nic"][0]["ipaddress"],)] == [each.members for each in document.balancing.rules]
        assert ((), (), "10.8.0.0/16") == (document.firewall, document.egress, document.source_nat[0].source)
        public = {address.split("/")[0] for address in document.interfaces[1].addresses}
        assert {row["ipaddress"] for row in await self.ask("listPublicIpAddresses", vpcid=self.vpc["id"])} == public
        assert 4 == len(public)

    async def traffic(self, web: dict[str, Any]) -> None:
        """Of each address: counted for the tier that it serves, else for the oldest one."""
        router = await self.one("listRouters", vpcid=self.vpc["id"])
        held = {row["ipaddress"]: row["id"] for row in await self.ask("listPublicIpAddresses", vpcid=self.vpc["id"])}

        async def says(amount: int) -> None:
            counters = tuple(Counter(address=address, sent=amount, received=0) for address in held)
            report = TrafficReport(life="a", counters=counters)
            await self.cloud.store.run(lambda tx: usage.metered(tx, router["id"], report))

        await says(100)
        await says(150)
        rows = await self.ask("listUsageRecords", type=4, startdate="2023-11-01", enddate="2023-12-31")
        assert dict.fromkeys(held.values(), "150") == {row["usageid"]: row["rawusage"] for row in rows}
        (source_nat,) = [row for row in rows if row["issourcenat"]]
        assert web["id"] == source_nat["networkid"]

    async def routes(self, guest: dict[str, Any]) -> None:
        """By way of a guest; out of the document with it."""
        hop = guest["nic"][0]["ipaddress"]
        route = await self.job("createStaticRoute", vpcid=self.vpc["id"], cidr="192.168.77.0/24", nexthop=hop)
        assert "Active" == route["state"]
        assert [("192.168.77.0/24", hop)] == [(each.destination, each.via) for each in (await self.document()).vpc.routes]
        await self.job("deleteStaticRoute", id=route["id"])
        assert () == (await self.document()).vpc.routes

    async def balanced_inside(self, zone: dict[str, Any]) -> None:
        """A load balancer of a tier has a machine from its first member to its end, or to that of the tier."""
        inner = await self.tier(zone, "inner", 3, "WithInternalLB")
        guest = await self.guest(zone, "i", inner)
        place = {"networkid": inner["id"], "sourceipaddressnetworkid": inner["id"], "scheme": "Internal"}
        given = {"algorithm": "leastconn", "sourceport": 80, "instanceport": 8080, **place}
        one, two = [await self.job("createLoadBalancer", name=name, **given) for name in ("one", "two")]
        assert [] == await self.ask("listInternalLoadBalancerVMs")
        for made in (one, two):
            await self.job("assignToLoadBalancerRule", id=made["id"], virtualmachineids=guest["id"])
        rows = await self.ask("listInternalLoadBalancerVMs", networkid=inner["id"], state="Running")
        assert {one["sourceipaddress"], two["sourceipaddress"]} == {row["guestipaddress"] for row in rows}
        assert_row_matches_catalogue("listInternalLoadBalancerVMs", rows[0])
        stopped = await self.job("stopInternalLoadBalancerVM", id=rows[0]["id"])
        assert ("Stopped", f"b-{stopped['name'].split('-')[1]}-VM") == (stopped["state"], stopped["name"])
        assert "Running" == (await self.job("startInternalLoadBalancerVM", id=rows[0]["id"]))["state"]
        types = {row["type"] for row in await self.ask("listEvents", keyword=stopped["name"], pagesize=100, page=1)}
        assert {"INTERNALLBVM.CREATE", "INTERNALLBVM.START", "INTERNALLBVM.STOP"} <= types
        await self.job("deleteLoadBalancer", id=one["id"])
        (left,) = await self.ask("listInternalLoadBalancerVMs")
        assert two["sourceipaddress"] == left["guestipaddress"]
        await self.job("destroyVirtualMachine", id=guest["id"], expunge=True)
        await self.job("deleteNetwork", id=inner["id"])
        assert [] == await self.ask("listInternalLoadBalancerVMs", listall=True)
        assert [] == await self.ask("listLoadBalancers", listall=True)

    async def private_gateway(self, router: dict[str, Any]) -> None:
        """The router has one more NIC, with a route, rules and source NAT, and then it has not."""
        allow = [row["id"] for row in await self.ask("listNetworkACLLists") if row["name"] == "default_allow"]
        given = {"gateway": "10.77.0.1", "ipaddress": "10.77.0.9", "netmask": "255.255.255.0", "vlan": "vxlan://9000"}
        made = await self.job("createPrivateGateway", vpcid=self.vpc["id"], sourcenatsupported=True, **given)
        assert "Ready" == made["state"]
        route = await self.job("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")
        await self.job("replaceNetworkACLList", gatewayid=made["id"], aclid=allow[0])
        document = await self.document()
        (gateway,) = document.vpc.gateways
        assert ("eth4", "10.77.0.0/24", "10.77.0.9", [True], [True]) == (
            gateway.device, gateway.cidr, gateway.leaves_as, [rule.allow for rule in gateway.ingress],
            [rule.allow for rule in gateway.egress],
        )  # fmt: skip
        assert [("172.30.0.0/16", "10.77.0.1")] == [(each.destination, each.via) for each in document.vpc.routes]
        assert ("private", ("10.77.0.9/24",), None, 1450) == (
            document.interfaces[4].role, document.interfaces[4].addresses, document.interfaces[4].gateway,
            document.interfaces[4].mtu,
        )  # fmt: skip
        assert 2 == len(document.vpc.tiers)
        shown = (await self.one("listRouters", vpcid=self.vpc["id"]))["nic"][4]
        assert ("Guest", "10.77.0.9") == (shown["traffictype"], shown["ipaddress"])
        await self.job("destroyRouter", id=router["id"])
        for _ in range(600):
            found = await self.ask("listRouters", vpcid=self.vpc["id"])
            if [row["state"] for row in found] == ["Running"] and found[0]["id"] != router["id"]:
                break
            await self.cloud.clock.sleep(1)
        router |= found[0]
        (again,) = (await self.document()).vpc.gateways
        assert gateway.cidr == again.cidr
        await self.job("deleteStaticRoute", id=route["id"])
        await self.job("deletePrivateGateway", id=made["id"])
        assert ((), ()) == ((await self.document()).vpc.gateways, (await self.document()).vpc.routes)
        assert [] == await self.ask("listPrivateGateways")
        # The VPC's end takes the next one along.
        await self.job("createPrivateGateway", vpcid=self.vpc["id"], **given)

    async def end(self, web: Any, data: Any, first: Any, second: Any) -> None:
        """A tier goes, the other one stays; then everything."""
        await self.job("destroyVirtualMachine", id=second["id"], expunge=True)
        await self.job("deleteNetwork", id=data["id"])
        router = await self.one("listRouters", vpcid=self.vpc["id"])
        assert [web["id"]] == [nic["networkid"] for nic in router["nic"] if nic["networkname"]]
        assert ["10.8.1.0/24"] == [tier.cidr for tier in (await self.document()).vpc.tiers]
        await self.job("destroyVirtualMachine", id=first["id"], expunge=True)
        await self.job("deleteNetwork", id=web["id"])
        await self.job("deleteVPC", id=self.vpc["id"])
        for command in ("listVPCs", "listRouters", "listNetworks", "listPublicIpAddresses", "listStaticRoutes",
                        "listPrivateGateways"):  # fmt: skip
            assert [] == await self.ask(command, listall=True), command
        assert ["default_deny", "default_allow"] == [row["name"] for row in await self.ask("listNetworkACLLists")]
