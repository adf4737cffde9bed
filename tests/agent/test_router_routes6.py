"""IPv6 of an isolated network: a guest's kernel makes its address of what the router advertises, and real packets go both ways
as far as the rules let them. The outside is an operator's router that has a route to the prefix.
"""

import errno
import socket
import struct

import msgspec
import pytest

from sysvm.agent.roles.router import rules6
from sysvm.wire.documents import Dhcp6, DhcpNetwork, Dns, Ports, Protocol, Reservation, Routed6, RouterDocument, Rule6
from sysvm.wire.explaining import Explained, ExplainPacket, Fate
from tests.agent import documents
from tests.agent.documents import GUEST, ROUTER
from tests.agent.lab import GUEST_MAC, Lab, until
from tests.agent.questions import asked
from tests.agent.test_router_serves6 import Client, advertisement, client, told

pytestmark = pytest.mark.root
__all__ = ["client"]  # the fixture
CIDR, GATEWAY = "2001:db8:1:2::/64", "2001:db8:1:2::1"
PUBLIC, UPSTREAM = "2001:db8:ff::a", "2001:db8:ff::1"
HELD = "2001:db8:1:2:0:aff:fe01:105"  # of GUEST_MAC
OTHER, CLAIMED = "2001:db8:ee::7", "2001:db8:1:2::99"  # of the outside, the second one without any right
NEIGHBOUR_ADVERTISEMENT = 136


def routed(*, allow: bool = True, ingress: tuple[Rule6, ...] = (), egress: tuple[Rule6, ...] = ()) -> RouterDocument:
    """A router of a dual-stack network, whose gateway it is."""
    guest, public = documents.interfaces()
    dhcp = DhcpNetwork(
        device="eth0", cidr="10.1.1.0/24", gateway=ROUTER, dns=(ROUTER,), domain="cs2.cloud.internal", mtu=1450,
        reservations=(Reservation(mac=GUEST_MAC, address=GUEST, hostname="web", address6=HELD),),
        six=Dhcp6(cidr=CIDR, dns=(GATEWAY,), is_gateway=True),
    )  # fmt: skip
    guest = msgspec.structs.replace(guest, addresses=(*guest.addresses, f"{GATEWAY}/64"))
    public = msgspec.structs.replace(public, addresses=(*public.addresses, f"{PUBLIC}/64"), gateway6=UPSTREAM)
    return documents.router(
        interfaces=(guest, public),
        dhcp=(dhcp,),
        dns=Dns(domain="cs2.cloud.internal", listen=(ROUTER, GATEWAY), allow=("10.1.1.0/24", CIDR)),
        source_nat=documents.source_nat(),
        egress=documents.egress(allow=True),
        routed6=(Routed6(device="eth0", cidr=CIDR, egress_allow=allow, ingress=ingress, egress=egress),),
    )


def tcp(rule: str, first: int, last: int = 0, **more: tuple[str, ...]) -> Rule6:
    """A rule about TCP ports."""
    return Rule6(rule=rule, protocol=Protocol.TCP, ports=Ports(first, last or first), **more)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """Servers on both sides; the outside has the operator's route, and a second address for who asks for it."""
    lab.out(lab.outside, "ip", "address", "replace", f"{UPSTREAM}/64", "dev", "eth0", "nodad")
    for other in (OTHER, CLAIMED):
        lab.out(lab.outside, "ip", "address", "replace", f"{other}/128", "dev", "eth0", "preferred_lft", "0", "nodad")
    lab.out(lab.outside, "ip", "route", "replace", CIDR, "via", PUBLIC)
    for port in (8001, 8002, 8003, 8004):
        lab.serve(lab.guest, "::", port)
        lab.serve(lab.outside, "::", port)
    return lab


def joined(lab: Lab) -> str:
    """The address that the guest's kernel has made of the router's advertisement, when it may be used."""

    def made() -> str:
        words = lab.out(lab.guest, "ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "global", "-tentative").split()
        return words[3].partition("/")[0] if len(words) > 3 else ""

    if not made():
        lab.out(lab.guest, "ip", "link", "set", "eth0", "down")
        lab.out(lab.guest, "ip", "link", "set", "eth0", "up")
    return until(made, "an address of the advertised prefix")


def test_a_guest_makes_its_address_and_finds_its_way_out(world: Lab) -> None:
    """Advertised as the way out, addresses are made of the prefix, nothing is managed."""
    world.make_live(routed())
    assert told(advertisement(world)) == (False, 1800, True, True)
    assert joined(world) == HELD
    assert "via fe80::" in until(lambda: world.out(world.guest, "ip", "-6", "route", "show", "default"), "a default route")
    assert world.run(world.guest, "ping", "-c1", "-W5", UPSTREAM).returncode == 0
    assert world.run(world.guest, "ping", "-c1", "-W5", GATEWAY).returncode == 0


def test_who_asks_dhcpv6_gets_the_same_address(world: Lab, client: Client) -> None:
    """Advertisements do not send guests there; one that goes by itself has a lease by its MAC."""
    world.make_live(routed())
    assert client.ask()["new_ip6_address"] == HELD


def test_the_outside_sees_the_guest_as_it_is_and_comes_in_by_rule_only(world: Lab) -> None:
    """No address is rewritten; without a rule nothing comes in, not even a ping."""
    world.make_live(routed())
    joined(world)
    assert world.reached(world.guest, UPSTREAM, 8003) == f"{HELD} 8003"
    assert not world.opens6(world.outside, HELD, 8001)
    assert world.run(world.outside, "ping", "-c1", "-W1", HELD).returncode != 0
    ping = Rule6(rule="ping", protocol=Protocol.ICMP, icmp_type=128, icmp_code=-1)
    world.make_live(routed(ingress=(tcp("one", 8001, destinations=(f"{HELD}/128",)), ping)))
    assert world.reached(world.outside, HELD, 8001) == f"{UPSTREAM} 8001"
    assert not world.opens6(world.outside, HELD, 8002)
    assert world.run(world.outside, "ping", "-c1", "-W5", HELD).returncode == 0


def test_a_rule_lets_its_sources_in_and_nobody_who_claims_to_be_a_guest(world: Lab) -> None:
    """The other address of the outside is nobody's; one of the network's own prefix does not come from there."""
    world.make_live(routed(ingress=(tcp("one", 8001, 8003, sources=("2001:db8:ee::/48",)),)))
    joined(world)
    assert not world.opens6(world.outside, HELD, 8001)
    assert world.reached(world.outside, HELD, 8001, own=OTHER) == f"{OTHER} 8001"
    world.make_live(routed(ingress=(tcp("one", 8001),)))
    assert world.reached(world.outside, HELD, 8001)
    assert not world.opens6(world.outside, HELD, 8001, own=CLAIMED)


@pytest.mark.parametrize(("allow", "reached"), [(True, {8004}), (False, {8003})])
def test_egress_rules_are_the_exceptions_of_the_policy(world: Lab, allow: bool, reached: set[int]) -> None:
    """What the policy allows, a rule denies; what it denies, a rule allows."""
    world.make_live(routed(allow=allow, egress=(tcp("one", 8003, destinations=(f"{UPSTREAM}/128",)),)))
    joined(world)
    for port in (8003, 8004):
        assert {port for port in (8003, 8004) if world.opens6(world.guest, UPSTREAM, port)} == reached


def test_the_router_itself_is_shut_from_outside(world: Lab) -> None:
    """Its public address answers nobody; name service is for guests."""
    world.make_live(routed(ingress=(Rule6(rule="all", protocol=Protocol.ALL),)))
    joined(world)
    assert not [port for port in (22, 53) if world.opens6(world.outside, PUBLIC, port)]
    assert not [port for port in (53, 8080) if world.opens6(world.outside, GATEWAY, port)]
    assert world.opens6(world.guest, GATEWAY, 53)


def test_what_somebody_changes_by_hand_is_mended(world: Lab) -> None:
    """A rule that is deleted, forwarding that is switched off."""
    world.make_live(routed(ingress=(tcp("one", 8001),)))
    assert world.host is not None
    world.out(world.router, "nft", "flush", "chain", "inet", "sysvm", rules6.inward("eth0"))
    until(lambda: "dport 8001" in world.out(world.router, "nft", "list", "ruleset"), "the rule to be back")
    world.out(world.router, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")
    read = ("sysctl", "-n", "net.ipv6.conf.all.forwarding")
    until(lambda: world.out(world.router, *read).strip() == "1", "forwarding to be back")


def test_a_packet_is_explained_by_the_rule_that_decides(world: Lab) -> None:
    """Both ways, with the id of the rule or the policy."""
    world.make_live(routed(allow=False, ingress=(tcp("in-rule", 8001),), egress=(tcp("out-rule", 8003),)))
    joined(world)

    def explained(source: str, destination: str, port: int) -> Explained:
        body = ExplainPacket(source=source, destination=destination, protocol=6, port=port, source_port=40000)
        return asked(world, body, Explained)

    came, lost = explained(UPSTREAM, HELD, 8001), explained(UPSTREAM, HELD, 8002)
    assert (Fate.ACCEPT, "in-rule", "ipv6firewallrule") == (came.fate, came.rule, came.kind)
    assert (Fate.DROP, "") == (lost.fate, lost.rule)
    assert "no IPv6 firewall rule lets TCP port 8002" in lost.words
    left, kept = explained(HELD, UPSTREAM, 8003), explained(HELD, UPSTREAM, 8004)
    assert (Fate.ACCEPT, "out-rule", "eth2") == (left.fate, left.rule, left.leaves)
    assert Fate.DROP is kept.fate
    assert "egress policy" in kept.words


def test_who_takes_over_tells_its_neighbours_over_ipv6(world: Lab) -> None:
    """An address that comes is announced to all nodes: an advertisement that overrides, with a right checksum."""
    world.make_live(routed())
    joined(world)
    with world.open_raw(world.guest) as ear:
        ear.bind(("eth0", 0x86DD))
        ear.settimeout(60)
        world.out(world.router, "ip", "address", "del", f"{GATEWAY}/64", "dev", "eth0")  # it is put back, as one that comes
        while True:
            try:
                frame = ear.recv(2000)
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            if (
                frame[20] == 58
                and frame[54] == NEIGHBOUR_ADVERTISEMENT
                and frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1")
            ):
                break
    assert frame[62:78] == socket.inet_pton(socket.AF_INET6, GATEWAY)
    assert frame[58] == 0xA0  # a router's, overrides
    pseudo = frame[22:54] + struct.pack("!II", len(frame) - 54, 58)
    words = struct.unpack(f"!{len(pseudo + frame[54:]) // 2}H", pseudo + frame[54:])
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_of_a_network_that_is_routed_no_longer_nothing_stays(world: Lab) -> None:
    """Chains, forwarding, advertisements."""
    world.make_live(routed(ingress=(tcp("one", 8001),)))
    world.make_live(documents.router(dhcp=documents.dhcp(), dns=documents.dns()))
    rules = world.out(world.router, "nft", "list", "ruleset")
    assert "chain six" not in rules
    assert "in6_eth0" not in rules
    assert world.out(world.router, "sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"
    assert "enable-ra" not in (world.paths.run / "dnsmasq" / "options").read_text()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Rule6(rule="bad", protocol=Protocol.TCP, ports=Ports(9, 8)), "no range of ports"),
        (Rule6(rule="bad", protocol=Protocol.ICMP, icmp_type=300), "no ICMPv6 type"),
        (Rule6(rule="bad", protocol=Protocol.ALL, sources=("10.1.1.0/24",)), "no IPv6 network"),
    ],
)
def test_a_rule_that_cannot_be_leaves_what_was_there(world: Lab, rule: Rule6, why: str) -> None:
    """The router says which one, and keeps its rules."""
    world.make_live(routed(ingress=(tcp("one", 8001),)))
    report = world.apply(routed(ingress=(rule,)))
    (fault,) = report.faults
    assert "IPv6 firewall rule bad" in fault.why
    assert why in fault.why
    assert "dport 8001" in world.out(world.router, "nft", "list", "ruleset")
