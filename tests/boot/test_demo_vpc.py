"""A VPC beside the demo's network: its router is a container that gets and loses NICs while it serves; and its private gateways,
to a network of the operator and to the demo's own network; and clients of its VPN; and a load balancer inside a tier."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sysvm.cli.client import Json
from tests.agent.vpn_client import VpnClient
from tests.boot.outside import Outside, place_outside
from tests.boot.patience import NotYet
from tests.boot.serial import Serial
from tests.boot.vpn import NAME, PASSWORD, READ
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
        """A network that lets everything in, once the router has it; load balancing is internal there."""
        named = {"name": "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB"}
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

    def guest(self, tier: Json, name: str = "inside") -> Json:
        """One that shows a page."""
        like = self.world.machine("one")
        same: dict[str, Any] = {name: like[name] for name in ("serviceofferingid", "templateid", "zoneid")}
        made = self.client.job("deployVirtualMachine", name=name, networkids=tier["id"], **same)
        return dict(made["virtualmachine"])

    def router(self) -> Json:
        """Its only one."""
        (row,) = self.client.rows("listRouters", "router", vpcid=self.id, listall="true")
        return row

    def balancers(self) -> list[Json]:
        """The machines that balance inside."""
        return self.client.rows("listInternalLoadBalancerVMs", "internalloadbalancervm", vpcid=self.id, listall="true")

    def members_are_up(self, rule: str) -> bool:
        """As who balances sees them. Raises NotYet."""
        rows = self.client.rows("listLoadBalancerRuleInstances", "loadbalancerruleinstance", id=rule)
        if ["UP", "UP"] != (seen := [row.get("servicestate") for row in rows]):
            raise NotYet(f"the members are {seen}")
        return True

    def remove(self) -> None:
        """Guests, tiers, VPC."""
        for guest in self.client.rows("listVirtualMachines", "virtualmachine", vpcid=self.id, listall="true"):
            self.client.job("destroyVirtualMachine", id=guest["id"], expunge="true")
        for tier in self.client.rows("listNetworks", "network", vpcid=self.id, listall="true"):
            self.client.job("deleteNetwork", id=tier["id"])
        self.client.job("deleteVPC", id=self.id)


@pytest.fixture(scope="module")
def vpc(demo: World) -> Iterator[Vpc]:
    """Beside the demo's own network."""
    demo.until(demo.all_run, "everything runs")
    made = Vpc(demo)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def web(vpc: Vpc) -> Json:
    """Its first tier."""
    return vpc.tier(1)


@pytest.fixture(scope="module")
def guest(vpc: Vpc, web: Json) -> Json:
    """In its first tier."""
    return vpc.guest(web)


def test_a_vpc_serves_while_its_tiers_come_and_go(demo: World, vpc: Vpc, web: Json, guest: Json):
    """The same life of the router has one tier more, one less, other rules; then its next life has all of it."""
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


BALANCED = "10.8.1.200"


def test_a_guest_calls_through_an_internal_load_balancer(demo: World, vpc: Vpc, web: Json, guest: Json):
    """In its own tier, where both guests answer in turn; also after the next life of the machine that balances, and after its
    sudden death. With the last rule the machine goes."""
    client, other = vpc.client, vpc.guest(web, "beside")
    place = {"networkid": web["id"], "sourceipaddressnetworkid": web["id"], "sourceipaddress": BALANCED}
    given = {"name": "lb", "scheme": "Internal", "algorithm": "roundrobin", "sourceport": 80, "instanceport": 80}
    rule = client.job("createLoadBalancer", **given, **place)["loadbalancer"]
    assert [] == vpc.balancers()
    client.job("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=f"{guest['id']},{other['id']}")
    (machine,) = vpc.balancers()
    assert ("Running", BALANCED, "INTERNAL_LB_VM") == tuple(machine[name] for name in ("state", "guestipaddress", "role"))
    (outside,) = client.rows("listPublicIpAddresses", "publicipaddress", vpcid=vpc.id, issourcenat="true")
    asked = {"type": "ping", "ipaddress": outside["ipaddress"], "params": "-c 1"}
    said = client.job("runDiagnostics", targetid=machine["id"], **asked)["diagnostics"]
    assert "0" == said["exitcode"], f"its way out of the tier is the VPC's router: {said}"
    client.job("createLBHealthCheckPolicy", lbruleid=rule["id"], pingpath="/", intervaltime=1)
    demo.until(lambda: vpc.members_are_up(rule["id"]), "the machine to tell of both guests")
    with Serial(demo.layout.channel(guest["id"], demo.incarnation(guest["id"])) / "serial.sock") as line:
        line.wake()

        def both_answer() -> bool:
            said = line.ask(f"for n in 1 2 3 4; do timeout 5 wget -q -O - http://{BALANCED}/ || echo nobody; done")
            found = {name for name in ("inside", "beside", "nobody") if name in said}
            if found != {"inside", "beside"}:
                raise NotYet(f"{sorted(found)} answer: {said[-200:]!r}")
            return True

        demo.until(both_answer, "both guests to answer")
        life = demo.incarnation(machine["id"])
        client.job("restartVPC", id=vpc.id, cleanup="true")
        assert life < demo.incarnation(machine["id"])
        assert both_answer()
        demo.until(demo.kill(lambda: demo.init(machine["id"])), "its next life")
        demo.until(both_answer, "both guests to answer again")
        client.job("deleteLoadBalancer", id=rule["id"])
        assert [] == vpc.balancers()
        assert "nobody" in line.ask(f"timeout 5 wget -q -O - http://{BALANCED}/ || echo nobody")
    client.job("destroyVirtualMachine", id=other["id"], expunge="true")


def test_a_client_of_the_vpcs_vpn_is_on_its_tiers(demo: World, vpc: Vpc, guest: Json):
    """Whatever their lists say; also after the router's next life. The users are the account's."""
    client = vpc.client
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", vpcid=vpc.id, issourcenat="true")
    vpn = client.job("createRemoteAccessVpn", publicipid=ip["id"], iprange="10.200.0.1-10.200.0.9")["remoteaccessvpn"]
    client.job("addVpnUser", username=NAME, password=PASSWORD)
    with place_outside(demo) as place:
        visitor = VpnClient(place, place.address)

        def greets() -> bool:
            page = place.run(place.outside, sys.executable, "-c", READ, f"http://{guest['nic'][0]['ipaddress']}/").stdout
            if "tiny guest inside" not in page:
                raise NotYet(f"it says {page!r}")
            return True

        try:
            for life in (demo.incarnation(vpc.router()["id"]), None):
                words = {"public": ip["ipaddress"], "key": str(vpn["presharedkey"]), "network": "10.8.0.0/16"}
                assert "" == visitor.login(NAME, PASSWORD, **words), visitor.log()
                demo.until(greets, "the guest of the tier")
                visitor.logout()
                if life is not None:
                    client.job("restartVPC", id=vpc.id, cleanup="true")
                    assert life < demo.incarnation(vpc.router()["id"])
        finally:
            visitor.close()
            client.job("removeVpnUser", username=NAME)
            client.job("deleteRemoteAccessVpn", publicipid=ip["id"])


# ---------------------------------------------------------------- private gateways
OWN, MACHINE, FAR = "10.77.0.9", "10.77.0.1", "172.30.0.1"
SAYS = """
import http.server

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"you are " + self.client_address[0].encode())

http.server.ThreadingHTTPServer(("0.0.0.0", 80), Page).serve_forever()
"""


@contextmanager
def machine_behind(demo: World) -> Iterator[Outside]:
    """A machine of the operator on the hosts' untagged network, which has one more network behind it, and shows who asks."""
    with place_outside(demo, 249) as behind:
        for line in (f"address add {MACHINE}/24 dev eth0", f"address add {FAR}/32 dev lo", f"route add 10.8.0.0/16 via {OWN}"):
            done = behind.run(behind.outside, "ip", *line.split())
            assert done.returncode == 0, done.stderr
        page = behind.spawn(behind.outside, sys.executable, "-c", SAYS)
        try:
            yield behind
        finally:
            page.kill()
            page.wait()


def test_a_guest_reaches_a_machine_behind_a_private_gateway(demo: World, vpc: Vpc, guest: Json):
    """By a static route, as far as the gateway's list lets it, also after the router's next life; with source NAT it comes from
    the gateway's address. Both gateways are NICs that the same life of the router gets."""
    client, life = vpc.client, demo.incarnation(vpc.router()["id"])
    one = demo.machine("one")["ipaddress"]
    (net,) = [row for row in client.rows("listNetworks", "network") if "vpcid" not in row]
    with machine_behind(demo), Serial(demo.layout.channel(guest["id"], demo.incarnation(guest["id"])) / "serial.sock") as line:

        def says(address: str, words: str) -> bool:
            said = line.ask(f"timeout 5 wget -q -O - http://{address}/ || echo nobody")
            if words not in said:
                raise NotYet(f"{address} says {said!r} to the guest, not {words!r}")
            return True

        given = {"vpcid": vpc.id, "gateway": MACHINE, "ipaddress": OWN, "netmask": "255.255.255.0", "vlan": "untagged"}
        made = client.job("createPrivateGateway", **given)["privategateway"]
        assert ("Ready", "default_deny", "vlan://untagged") == (made["state"], made["aclname"], made["vlan"])
        route = client.job("createStaticRoute", gatewayid=made["id"], cidr="172.30.0.0/16")["staticroute"]
        assert says(FAR, "nobody")
        client.job("replaceNetworkACLList", gatewayid=made["id"], aclid=vpc.acls["default_allow"])
        demo.until(lambda: says(FAR, f"you are {guest['nic'][0]['ipaddress']}"), "the machine behind the gateway")
        near = {"gateway": one, "ipaddress": "10.1.1.250", "netmask": net["netmask"], "associatednetworkid": net["id"]}
        more = {"sourcenatsupported": "true", "aclid": vpc.acls["default_allow"]}
        other = client.job("createPrivateGateway", vpcid=vpc.id, **near, **more)["privategateway"]
        demo.until(lambda: says(one, "tiny guest one"), "the demo's guest, by source NAT")
        assert life == demo.incarnation(vpc.router()["id"])
        client.job("restartVPC", id=vpc.id, cleanup="true")
        assert life < demo.incarnation(vpc.router()["id"])
        assert says(FAR, f"you are {guest['nic'][0]['ipaddress']}")
        assert says(one, "tiny guest one")
        client.job("replaceNetworkACLList", gatewayid=made["id"], aclid=vpc.acls["default_deny"])
        assert says(FAR, "nobody")
        client.job("deleteStaticRoute", id=route["id"])
        nics = len(vpc.router()["nic"])
        for gateway in (made, other):
            client.job("deletePrivateGateway", id=gateway["id"])
        assert nics - 2 == len(vpc.router()["nic"])
        assert says(one, "nobody")
