"""A router with real nft, dnsmasq and Apache between a guest and an outside: what it lets through, answers and drops.

Each test applies a whole document of its own, as the server would.
"""

import msgspec
import pytest

from sysvm.wire.channel import Diagnose, Diagnosed, RunTask, TrafficReport
from sysvm.wire.documents import DnsRecord, EgressRule, FirewallRule, PortForward, Ports, Protocol, Reservation
from sysvm.wire.machines import OperationSeen, OperationState
from tests.agent.documents import (
    ANY,
    GUEST,
    OUTSIDE,
    PUBLIC,
    ROUTER,
    SECOND,
    allow,
    dhcp,
    dns,
    egress,
    egress_rule,
    forward,
    interfaces,
    metadata,
    router,
    source_nat,
    static,
)
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root


def live(lab: Lab, **sections: object) -> None:
    """A document of these sections is."""
    lab.make_live(router(**sections))


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """The lab with servers: guest:80 and :8000-8002, outside:80 and :81."""
    lab.apply(router())
    lab.guest_address()
    for port in (80, 8000, 8001, 8002):
        lab.serve(lab.guest, GUEST, port)
    for port in (80, 81):
        lab.serve(lab.outside, OUTSIDE, port)
    return lab


def test_a_guest_leaves_as_the_public_address(world: Lab) -> None:
    """Source NAT: the outside sees the router's first public address."""
    live(world, source_nat=source_nat(), egress=egress(True))
    assert world.reached(world.guest, OUTSIDE, 80) == f"{PUBLIC} 80"


def test_egress_that_denies_lets_only_its_rules_out(world: Lab) -> None:
    """With a denying policy a rule opens."""
    live(world, source_nat=source_nat(), egress=egress(False, egress_rule("one", 80, f"{OUTSIDE}/32")))
    assert world.reached(world.guest, OUTSIDE, 80) == f"{PUBLIC} 80"
    assert world.is_blocked(world.guest, OUTSIDE, 81)


def test_egress_that_allows_holds_back_its_rules(world: Lab) -> None:
    """With an allowing policy a rule closes."""
    ping = EgressRule(rule="ping", device="eth0", protocol=Protocol.ICMP, sources=("10.1.1.0/24",), icmp_type=8)
    live(world, source_nat=source_nat(), egress=egress(True, egress_rule("one", 80), ping))
    assert world.is_blocked(world.guest, OUTSIDE, 80)
    assert world.reached(world.guest, OUTSIDE, 81) == f"{PUBLIC} 81"
    assert world.run(world.guest, "ping", "-c1", "-W1", OUTSIDE).returncode == 1


def test_without_an_egress_section_nothing_leaves(world: Lab) -> None:
    """The forward chain drops what no section speaks of."""
    live(world, source_nat=source_nat())
    assert world.is_blocked(world.guest, OUTSIDE, 80)


def test_a_port_forward_needs_its_firewall_rule(world: Lab) -> None:
    """Default deny per public address, decided by the port that the sender uses."""
    live(world, port_forwards=(forward("web", 2080, 80),))
    assert world.is_blocked(world.outside, PUBLIC, 2080)
    live(world, port_forwards=(forward("web", 2080, 80),), firewall=(allow("web", 80),))
    assert world.is_blocked(world.outside, PUBLIC, 2080)
    live(world, port_forwards=(forward("web", 2080, 80),), firewall=(allow("web", 2080),))
    assert world.reached(world.outside, PUBLIC, 2080) == f"{OUTSIDE} 80"


@pytest.mark.parametrize(
    ("sources", "passes"),
    [(("203.0.113.0/28",), True), ((f"{OUTSIDE}/32", "10.0.0.0/8"), True), (("198.51.100.0/24",), False), (ANY, True)],
)
def test_a_firewall_rule_looks_at_the_source(world: Lab, sources: tuple[str, ...], passes: bool) -> None:
    """Only the networks of the rule come in."""
    live(world, port_forwards=(forward("web", 2080, 80),), firewall=(allow("web", 2080, sources=sources),))
    assert (world.reached(world.outside, PUBLIC, 2080) == f"{OUTSIDE} 80") is passes


def test_overlapping_firewall_rules_are_one_opening(world: Lab) -> None:
    """Rules of one address may overlap in ports and sources."""
    rules = (
        allow("wide", 8000, 8002, ("203.0.113.0/24", "203.0.113.0/28")),
        allow("narrow", 8001, sources=(f"{OUTSIDE}/32",)),
        allow("same", 8001),
    )
    live(world, port_forwards=(forward("all", 8000, 8000, 8002),), firewall=rules)
    assert [world.reached(world.outside, PUBLIC, port) for port in (8000, 8001)] == [
        f"{OUTSIDE} 8000",
        f"{OUTSIDE} 8001",
    ]


def test_ranges_keep_or_shift_their_ports(world: Lab) -> None:
    """A range to the same numbers, and a range to others."""
    forwards = (forward("same", 8000, 8000, 8002), forward("shifted", 9000, 8000, 9002))
    live(world, port_forwards=forwards, firewall=(allow("a", 8000, 9002),))
    assert world.reached(world.outside, PUBLIC, 8002) == f"{OUTSIDE} 8002"
    assert world.reached(world.outside, PUBLIC, 9001) == f"{OUTSIDE} 8001"


def test_static_nat_goes_both_ways(world: Lab) -> None:
    """Everything to the address is the guest's, and the guest leaves as that address."""
    sections = {"source_nat": source_nat(), "egress": egress(True), "static_nat": (static(),)}
    live(world, interfaces=interfaces(SECOND), **sections, firewall=(allow("web", 80, public=SECOND),))
    assert world.reached(world.outside, SECOND, 80) == f"{OUTSIDE} 80"
    assert world.is_blocked(world.outside, SECOND, 8000)
    assert world.reached(world.guest, OUTSIDE, 80) == f"{SECOND} 80"


def test_a_guest_reaches_its_own_public_address(world: Lab) -> None:
    """Hairpin: the guest's connection comes back by way of the router."""
    live(world, port_forwards=(forward("web", 2080, 80),), firewall=(allow("web", 2080),))
    assert world.reached(world.guest, PUBLIC, 2080) == f"{ROUTER} 80"


def test_ping_from_outside_needs_a_rule_and_from_inside_none(world: Lab) -> None:
    """ICMP to a public address is the firewall's; guests may always ping their gateway."""
    live(world)
    assert world.run(world.outside, "ping", "-c1", "-W1", PUBLIC).returncode == 1
    assert world.run(world.guest, "ping", "-c1", "-W1", ROUTER).returncode == 0
    rule = FirewallRule(rule="ping", public=PUBLIC, protocol=Protocol.ICMP, sources=ANY, icmp_type=8, icmp_code=-1)
    live(world, firewall=(rule,))
    assert world.run(world.outside, "ping", "-c1", "-W1", PUBLIC).returncode == 0


def test_the_router_itself_offers_nothing_to_the_outside(world: Lab) -> None:
    """DNS and metadata are for guests, whatever the firewall rules say."""
    everything = FirewallRule(rule="all", public=PUBLIC, protocol=Protocol.ALL, sources=ANY)
    live(world, dns=dns(), metadata=metadata(), firewall=(everything,))
    assert world.is_blocked(world.outside, PUBLIC, 80)
    assert world.asked(world.outside, PUBLIC, "web.cs2.cloud.internal") == "silence"
    world.out(world.outside, "ip", "route", "replace", "10.1.1.0/24", "via", PUBLIC)
    try:
        assert world.is_blocked(world.outside, ROUTER, 80)
        assert world.is_blocked(world.outside, GUEST, 80)
    finally:
        world.out(world.outside, "ip", "route", "del", "10.1.1.0/24")


def test_bytes_are_counted_per_public_address_over_changes_of_rules(world: Lab) -> None:
    """Counters survive a new ruleset, and a whole replacement."""
    live(world, port_forwards=(forward("web", 2080, 80),), firewall=(allow("web", 2080),))
    world.reached(world.outside, PUBLIC, 2080)
    (first,) = [each for each in world.report().counters if each.address == PUBLIC]
    assert first.received > 100 and first.sent > 100
    world.out(world.router, "nft", "add", "chain", "inet", "sysvm", "stranger")
    live(world)
    (second,) = [each for each in world.report().counters if each.address == PUBLIC]
    assert second.received >= first.received and second.sent >= first.sent


def test_traffic_is_told_as_often_as_the_document_says(world: Lab) -> None:
    """What is told only grows; a document with 0 asks for silence."""
    rules = {"port_forwards": (forward("web", 2080, 80),), "firewall": (allow("web", 2080),)}
    live(world, **rules, stats_interval_s=1)
    world.reached(world.outside, PUBLIC, 2080)
    since = len(world.host.notices)
    first = world.host.heard(TrafficReport, since)
    second = world.host.heard(TrafficReport, len(world.host.notices))
    assert first.life == second.life
    one, other = ({each.address: each for each in report.counters}[PUBLIC] for report in (first, second))
    assert 0 < one.received <= other.received
    live(world, **rules)
    assert world.report().live


def test_a_connection_ends_with_the_forward_that_made_it(world: Lab) -> None:
    """The next owner of the address does not inherit it; others go on."""
    forwards = (forward("one", 2080, 80), forward("two", 2081, 80))
    rules = (allow("a", 2080), allow("b", 2081))
    live(world, port_forwards=forwards, firewall=rules)
    with world.connected(world.outside, PUBLIC, 2080) as ended, world.connected(world.outside, PUBLIC, 2081) as kept:
        assert ended.recv(100) and kept.recv(100)
        live(world, port_forwards=forwards[1:], firewall=rules)
        kept.sendall(b"still here")
        assert kept.recv(100) == b"still here"
        flows = world.out(world.router, "conntrack", "-L", "-d", PUBLIC)
        assert "dport=2081" in flows and "dport=2080" not in flows


def test_a_guest_gets_its_address_by_dhcp(world: Lab) -> None:
    """Address, mask, gateway, name server, domain, MTU and an infinite lease, from the document alone."""
    live(world, dhcp=dhcp(), dns=dns())
    lease = leased(world)
    assert {key: lease.get(key) for key in ("ip", "subnet", "router", "dns", "domain", "mtu", "lease")} == {
        "ip": GUEST,
        "subnet": "255.255.255.0",
        "router": ROUTER,
        "dns": ROUTER,
        "domain": "cs2.cloud.internal",
        "mtu": "1450",
        "lease": "4294967295",
    }


def test_a_nic_that_is_not_the_default_gets_no_gateway(world: Lab) -> None:
    """Neither a gateway nor name servers."""
    live(world, dhcp=dhcp(default=False), dns=dns())
    lease = leased(world)
    assert (lease["ip"], lease.get("router"), lease.get("dns")) == (GUEST, None, None)


def test_a_new_guest_is_served_by_the_same_dnsmasq(world: Lab) -> None:
    """Additions are read again, not restarted for; a re-used address belongs to its new owner at once."""
    live(world, dhcp=dhcp(), dns=dns())
    before = world.daemons()
    more = tuple(
        Reservation(mac=f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", address=f"10.1.1.{n}", hostname=f"vm-{n}")
        for n in range(10, 200)
    )
    live(world, dhcp=dhcp(*more), dns=dns())
    assert world.daemons() == before
    assert world.asked(world.guest, ROUTER, "vm-77.cs2.cloud.internal") == "10.1.1.77"
    assert leased(world)["ip"] == GUEST
    other = Reservation(mac="02:00:00:00:ff:01", address=GUEST, hostname="heir")
    live(world, dhcp=(msgspec.structs.replace(dhcp()[0], reservations=(other,)),), dns=dns())
    assert leased(world, mac="02:00:00:00:ff:01")["ip"] == GUEST
    assert leased(world) == {}
    # dnsmasq has told the kernel that the heir has the address; in this world the old guest goes on using it.
    world.out(world.router, "ip", "neighbour", "flush", "all")


def test_names_of_the_network_are_answered_to_guests(world: Lab) -> None:
    """Guests by name, the alias of the router, further records; not a name of the zone that nobody has."""
    records = (DnsRecord(name="db", addresses=("10.1.1.9",)),)
    live(world, dhcp=dhcp(), dns=dns(*records))
    answers = [world.asked(world.guest, ROUTER, f"{name}.cs2.cloud.internal") for name in ("web", "data-server", "db", "nobody")]
    assert answers == [GUEST, ROUTER, "10.1.1.9", "3"]


def test_metadata_answers_by_the_asking_address(world: Lab) -> None:
    """User data and keys of the guest that asks; others are denied; nothing can be written or climbed out of."""
    live(world, metadata=metadata(instance_id="i-2-3-VM", vm_id="7", public_keys="ssh-ed25519 AAAA me"))
    asked = [
        ("/latest/user-data", "200 #!/bin/sh\necho hello\n"),
        ("/latest/meta-data/", "200 instance-id\npublic-keys\nvm-id\n"),
        ("/latest/meta-data/vm-id", "200 7"),
        ("/latest/public-keys", "200 ssh-ed25519 AAAA me"),
    ]
    assert [(path, world.http(world.guest, ROUTER, path)) for path, _ in asked] == asked
    for path in ("/latest/meta-data/other", "/10.1.1.5/user-data", "/../apache.conf", "/latest/meta-data/%2e%2e/keys"):
        assert world.http(world.guest, ROUTER, path)[:3] in ("400", "403", "404"), path
    assert world.http(world.guest, ROUTER, "/latest/user-data", method="DELETE")[:3] in ("403", "405")
    world.out(world.guest, "ip", "address", "add", "10.1.1.6/24", "dev", "eth0")
    world.out(world.guest, "ip", "route", "replace", "10.1.1.1", "dev", "eth0", "src", "10.1.1.6")
    try:
        assert world.http(world.guest, ROUTER, "/latest/user-data")[:3] == "403"
    finally:
        world.out(world.guest, "ip", "route", "del", "10.1.1.1", "dev", "eth0")
        world.out(world.guest, "ip", "address", "del", "10.1.1.6/24", "dev", "eth0")


def test_new_user_data_needs_no_restart_of_apache(world: Lab) -> None:
    """A change of a guest is a change of files; a megabyte is served."""
    live(world, metadata=metadata())
    before = world.daemons()
    live(world, metadata=metadata(userdata=b"x" * 1024 * 1024))
    assert world.http(world.guest, ROUTER, "/latest/user-data") == "200 " + "x" * 1024 * 1024
    assert world.daemons() == before


def test_a_password_is_told_once(world: Lab) -> None:
    """Asked for, acknowledged, gone, also for the same document again; a new one is told again."""

    def says(request: str) -> str:
        return world.http(world.guest, ROUTER, "/", 8080, request)

    live(world, metadata=metadata("first"))
    assert says("DomU_Request: send_my_password\r\n") == "200 first"
    assert says("domu_request: send_my_password\r\n") == "200 first"
    assert says("DomU_Request: saved_password\r\n") == "200 saved_password"
    assert says("DomU_Request: send_my_password\r\n") == "200 saved_password"
    assert says("DomU_Request: else\r\n") == "200 bad_request"
    assert says("") == "200 bad_request"
    live(world, metadata=metadata("first"))
    world.kill_agent()
    world.start_agent()
    live(world, metadata=metadata("first", userdata=b"other"))
    assert says("DomU_Request: send_my_password\r\n") == "200 saved_password"
    live(world, metadata=metadata("second"))
    assert says("DomU_Request: send_my_password\r\n") == "200 second"


def test_an_operator_can_ping_from_the_router(world: Lab) -> None:
    """Diagnostics run as tasks, once per name."""
    live(world)
    call = RunTask(name="ping-1", body=Diagnose(kind="ping", address=OUTSIDE, params="-c 1"))
    assert world.host is not None
    world.host.call(call, OperationSeen)
    done = until(lambda: next((o for o in world.report().operations if o.state is OperationState.DONE), None), "the ping")
    assert done.result is not None
    result = msgspec.msgpack.decode(done.result, type=Diagnosed)
    assert (result.exit_code, "1 received" in result.stdout) == (0, True)
    assert world.host.call(call, OperationSeen) == done


def test_ten_thousand_forwards_are_one_step(world: Lab) -> None:
    """All are there or none; the last one works; a refused document leaves them as they were."""
    many = tuple(forward(str(n), 10_000 + n, 80) for n in range(10_000))
    rules = tuple(allow(str(n), 10_000 + n) for n in range(10_000))
    live(world, port_forwards=many, firewall=rules)
    assert world.reached(world.outside, PUBLIC, 19_999) == f"{OUTSIDE} 80"
    twice = (*many, forward("twice", 12_345, 81))
    report = world.apply(router(port_forwards=twice, firewall=rules))
    assert (report.live, [fault.service for fault in report.faults]) == ("", ["nftables"])
    assert "12345" in report.faults[0].why
    assert world.reached(world.outside, PUBLIC, 12_345) == f"{OUTSIDE} 80"


def test_a_udp_forward_beside_a_tcp_forward(world: Lab) -> None:
    """Protocols have ports of their own."""
    udp = PortForward(
        rule="dns",
        public=PUBLIC,
        protocol=Protocol.UDP,
        ports=Ports(2080, 2080),
        private=GUEST,
        private_ports=Ports(53, 53),
    )
    live(world, port_forwards=(udp, forward("web", 2080, 80)), firewall=(allow("web", 2080),))
    assert world.reached(world.outside, PUBLIC, 2080) == f"{OUTSIDE} 80"


def leased(world: Lab, mac: str = "") -> dict[str, str]:
    """What a real DHCP client is given; empty when nobody answers."""
    script = world.root / "leased"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && env > "$0.env"\nexit 0\n')
    script.chmod(0o755)
    told = world.root / "leased.env"
    told.unlink(missing_ok=True)
    device = "eth0"
    if mac:
        world.out(world.guest, "ip", "link", "add", "link", "eth0", "name", "other", "address", mac, "type", "macvlan")
        world.out(world.guest, "ip", "link", "set", "other", "up")
        device = "other"
    try:
        world.run(
            world.guest,
            "busybox",
            "udhcpc",
            "-i",
            device,
            "-n",
            "-q",
            "-f",
            "-t",
            "4",
            "-T",
            "1",
            "-O",
            "mtu",
            "-s",
            str(script),
        )
    finally:
        if mac:
            world.out(world.guest, "ip", "link", "del", "other")
    if not told.exists():
        return {}
    return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)
