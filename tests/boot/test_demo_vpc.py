"""A VPC beside the demo's network: its router is a container that gets and loses NICs while it serves."""

from collections.abc import Iterator
from typing import Any

import pytest

from sysvm.cli.client import Json
from tests.boot.patience import NotYet
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


class Vpc:
    """The VPC of a test; nothing of it is left."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, world.client
        self.zone = self.client.rows("listZones", "zone")[0]["id"]
        (offering,) = self.client.rows("listVPCOfferings", "vpcoffering", name="Default VPC offering")
        given = {"cidr": "10.8.0.0/16", "vpcofferingid": offering["id"], "zoneid": self.zone}
        self.id = self.client.job("createVPC", name="v", **given)["vpc"]["id"]
        lists = self.client.rows("listNetworkACLLists", "networkacllist")
        self.acls = {row["name"]: row["id"] for row in lists}

    def tier(self, number: int) -> Json:
        """A network that lets everything in, once the router has it."""
        named = {"name": "DefaultIsolatedNetworkOfferingForVpcNetworks"}
        (offering,) = self.client.rows("listNetworkOfferings", "networkoffering", **named)
        made = self.client.call(
            "createNetwork", name=f"t{number}", zoneid=self.zone, networkofferingid=offering["id"], vpcid=self.id,
            gateway=f"10.8.{number}.1", netmask="255.255.255.0", aclid=self.acls["default_allow"],
        )["network"]  # fmt: skip

        def implemented() -> Json:
            (row,) = self.client.rows("listNetworks", "network", id=made["id"])
            if row["state"] != "Implemented":
                raise NotYet(f"it is {row['state']}: {row.get('note')}")
            return row

        return self.world.until(implemented, "the tier to be there")

    def guest(self, tier: Json) -> Json:
        """One that shows a page."""
        like = self.world.machine("one")
        same: dict[str, Any] = {name: like[name] for name in ("serviceofferingid", "templateid", "zoneid")}
        made = self.client.job("deployVirtualMachine", name="inside", networkids=tier["id"], **same)
        return dict(made["virtualmachine"])

    def router(self) -> Json:
        """Its only one."""
        (row,) = self.client.rows("listRouters", "router", vpcid=self.id, listall="true")
        return row

    def remove(self) -> None:
        """Guests, tiers, VPC."""
        for guest in self.client.rows("listVirtualMachines", "virtualmachine", vpcid=self.id, listall="true"):
            self.client.job("destroyVirtualMachine", id=guest["id"], expunge="true")
        for tier in self.client.rows("listNetworks", "network", vpcid=self.id, listall="true"):
            self.client.job("deleteNetwork", id=tier["id"])
        self.client.job("deleteVPC", id=self.id)


@pytest.fixture
def vpc(demo: World) -> Iterator[Vpc]:
    """Beside the demo's own network."""
    demo.until(demo.all_run, "everything runs")
    made = Vpc(demo)
    try:
        yield made
    finally:
        made.remove()


def test_a_vpc_serves_while_its_tiers_come_and_go(demo: World, vpc: Vpc):
    """The same life of the router has one tier more, one less, other rules; then its next life has all of it."""
    web = vpc.tier(1)
    guest = vpc.guest(web)
    ip = vpc.client.job("associateIpAddress", vpcid=vpc.id)["ipaddress"]
    door = {"ipaddressid": ip["id"], "protocol": "tcp", "publicport": 8080, "privateport": 80}
    vpc.client.job("createPortForwardingRule", virtualmachineid=guest["id"], networkid=web["id"], **door)

    def answered() -> bool:
        return "tiny guest inside" in answers(ip["ipaddress"], 8080)

    demo.until(answered, "the guest's page")
    vpc.client.job("replaceNetworkACLList", aclid=vpc.acls["default_deny"], networkid=web["id"])
    with pytest.raises(TimeoutError):
        answers(ip["ipaddress"], 8080)
    vpc.client.job("createNetworkACL", networkid=web["id"], protocol="tcp", startport=80)
    assert answered()
    life = demo.incarnation(vpc.router()["id"])
    data = vpc.tier(2)
    assert {web["id"], data["id"]} == {nic.get("networkid") for nic in vpc.router()["nic"] if nic["traffictype"] == "Guest"}
    assert answered()
    vpc.client.job("deleteNetwork", id=data["id"])
    assert answered()
    assert life == demo.incarnation(vpc.router()["id"])
    vpc.client.job("restartVPC", id=vpc.id, cleanup="true")
    assert life < demo.incarnation(vpc.router()["id"])
    assert answered()
