"""From documents to rulesets, differences, files and commands: pure, without root."""

import msgspec
import pytest

from sysvm.agent.boot import nic_lines, renames
from sysvm.agent.diagnose import command
from sysvm.agent.roles.router import conntrack, dnsmasq, interfaces, listing, metadata, rules, ruleset
from sysvm.agent.roles.router.interfaces import Seen
from sysvm.agent.roles.router.ruleset import Chain, Collection, Names, Ruleset
from sysvm.agent.roles.router.service import Wrong
from sysvm.agent.services import passwords
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Diagnose
from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.machines import Nic, Segment, Traffic
from tests.agent import documents as d


def elements(document: RouterDocument, name: str) -> dict[str, str]:
    """The elements of one set or map that a document renders to."""
    (found,) = [each for each in rules.render(document).collections if each.name == name]
    return dict(found.elements)


FORWARDS = {
    "a single port": (d.forward("a", 2080, 80), {"203.0.113.10 . 6 . 2080": "10.1.1.5 . 80"}, {}),
    "a range that keeps its ports": (
        d.forward("a", 8000, 8000, 8005),
        {},
        {"203.0.113.10 . 6 . 8000-8005": "10.1.1.5"},
    ),
    "a shifted range": (
        d.forward("a", 8000, 9000, 8001),
        {"203.0.113.10 . 6 . 8000": "10.1.1.5 . 9000", "203.0.113.10 . 6 . 8001": "10.1.1.5 . 9001"},
        {},
    ),
}


@pytest.mark.parametrize("what", FORWARDS)
def test_a_forward_is_an_element(what: str) -> None:
    """Of the map of ports, or of the map of ranges."""
    forward, ports, ranges = FORWARDS[what]
    document = d.router(port_forwards=(forward,))
    assert (elements(document, "ports"), elements(document, "ranges")) == (ports, ranges)


def test_open_ports_are_elements_and_the_rest_a_chain_of_the_address() -> None:
    """Whatever the number of plain openings, a packet is looked up once."""
    document = d.router(firewall=(d.allow("a", 80), d.allow("b", 22, sources=("10.0.0.0/8", "10.1.0.0/16")), d.allow("c", 1, 9)))
    rendered = rules.render(document)
    (chain,) = [each for each in rendered.chains if each.name == "fw_203_0_113_10"]
    assert elements(document, "open") == {"203.0.113.10 . 6 . 80": ""}
    assert chain.rules == ("ip saddr { 10.0.0.0/8 } tcp dport 22 accept", "tcp dport 1-9 accept")


def replaced(name: str, **fields: object) -> RouterDocument:
    """A router with one forward of which some fields are wrong."""
    forward = msgspec.structs.replace(d.forward(name, 80, 80), **fields)
    return d.router(port_forwards=(forward,))


WRONG = {
    "an address that is none": (replaced("a", private="10.1.1.5; accept"), "is no IPv4 address"),
    "lengths that differ": (replaced("a", ports=d.Ports(80, 81)), "is not as long as"),
    "a port beyond the last": (replaced("a", ports=d.Ports(70000, 70000)), "is no range of ports"),
    "a forward of ICMP": (replaced("a", protocol=d.Protocol.ICMP), "has no ports"),
    "two forwards of one port": (
        d.router(port_forwards=(d.forward("a", 1, 1, 9), d.forward("b", 9, 80))),
        "a and b both want port 9",
    ),
    "two static NATs of one guest": (d.router(static_nat=(d.static(), d.static("b", d.PUBLIC))), "has another static NAT"),
    "a source that is no network": (d.router(firewall=(d.allow("a", 80, sources=("all",)),)), "is no IPv4 network"),
    "a device with a quote": (
        d.router(egress=(msgspec.structs.replace(d.egress(True)[0], device="\"eth0"),)),
        "is no interface name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_true_is_refused_with_its_rule(what: str) -> None:
    """Nothing that is not understood reaches nft."""
    document, words = WRONG[what]
    with pytest.raises(Wrong, match=words):
        rules.render(document)


def test_a_change_costs_what_changed() -> None:
    """One more forward among thousands is one element; nothing is flushed."""
    many = tuple(d.forward(str(n), 10_000 + n, 80) for n in range(2000))
    old, new = (rules.render(d.router(port_forwards=each)) for each in (many, (*many, d.forward("x", 5000, 80))))
    assert ruleset.change(old, new) == "add element inet sysvm ports { 203.0.113.10 . 6 . 5000 : 10.1.1.5 . 80 }\n"
    assert ruleset.change(new, old) == "delete element inet sysvm ports { 203.0.113.10 . 6 . 5000 }\n"
    assert ruleset.change(new, new) == ""


def test_counters_are_never_replaced() -> None:
    """Neither by a change nor by a whole table."""
    one, two = (rules.render(d.router(interfaces=d.interfaces(*extra))) for extra in ((), (d.SECOND,)))
    changed = ruleset.change(one, two) or ""
    assert "add counter inet sysvm in_203_0_113_11" in changed and "counter inet sysvm in_203_0_113_10" not in changed
    there = Names(counters=one.counters, sets=frozenset({"public"}), chains=frozenset({"old"}))
    text = ruleset.whole(two, there)
    assert "counter inet sysvm in_203_0_113_10" not in text and "delete chain inet sysvm old" in text


def test_a_map_that_changes_its_type_needs_the_whole_table() -> None:
    """As after a new release."""
    old, new = (Ruleset(frozenset(), (Collection("m", kind),), ()) for kind in ("ipv4_addr", "ipv4_addr : verdict"))
    assert ruleset.change(old, new) is None


def test_a_listing_is_compared_by_elements_and_marks() -> None:
    """Lost, strange, changed and reordered things are told apart."""
    wanted = Ruleset(frozenset(), (Collection("open", "ipv4_addr", {"10.0.0.1": ""}),), (Chain("x", ("accept", "drop")),))
    first, second = (ruleset.mark(rule) for rule in ("accept", "drop"))

    def listed(members: list[str], comments: list[str]) -> str:
        seen = [{"set": {"name": "open", "elem": members}}, {"chain": {"name": "x"}}]
        return listing.difference([*seen, *({"rule": {"chain": "x", "comment": each}} for each in comments)], wanted)

    assert listed(["10.0.0.1"], [first, second]) == ""
    assert listed([], [first, second]) == "open lacks 10.0.0.1"
    assert listed(["10.0.0.1", "10.0.0.2"], [first, second]) == "open has 10.0.0.2 too much"
    assert listed(["10.0.0.1"], [second, first]) == "chain x has its rules in another order"
    assert listed(["10.0.0.1"], [first, second, "by hand"]) == "chain x lacks 0 of its rules and has 1 strange ones"


FLOWS = """\
tcp      6 431999 ESTABLISHED src=198.51.100.1 dst=203.0.113.10 sport=40000 dport=80 src=10.1.1.5 dst=198.51.100.1 sport=80 dport=40000 [ASSURED] mark=0 use=1
tcp      6 431999 ESTABLISHED src=198.51.100.1 dst=203.0.113.10 sport=40001 dport=81 src=10.1.1.5 dst=198.51.100.1 sport=81 dport=40001 [ASSURED] mark=0 use=1
udp      17 29 src=198.51.100.1 dst=203.0.113.11 sport=5 dport=53 src=10.1.1.5 dst=198.51.100.1 sport=53 dport=5 mark=0 use=1
icmp     1 29 src=10.1.1.5 dst=198.51.100.1 type=8 code=0 id=7 src=198.51.100.1 dst=203.0.113.11 type=0 code=0 id=7 mark=0 use=1
tcp      6 100 ESTABLISHED src=10.1.1.5 dst=198.51.100.1 sport=9 dport=80 src=198.51.100.1 dst=203.0.113.10 sport=80 dport=9 mark=0 use=1
"""  # noqa: E501


def test_only_flows_of_rules_that_have_gone_end() -> None:
    """By the rule that made them; source NAT of the same guest goes on."""
    full = rules.render(d.router(port_forwards=(d.forward("a", 80, 80), d.forward("b", 81, 81)), static_nat=(d.static(),)))
    less = rules.render(d.router(port_forwards=(d.forward("b", 81, 81),)))
    gone = conntrack.ended(full, less)
    assert [gone.includes(flow) for flow in conntrack.parse(FLOWS)] == [True, False, True, True, False]
    assert not conntrack.ended(full, full)


def test_dhcp_and_dns_files_follow_the_document() -> None:
    """Options by tag, reservations for ever, names with and without the domain."""
    files = dnsmasq.render(d.router(dhcp=d.dhcp(), dns=d.dns()))
    assert files is not None
    assert "dhcp-range=set:eth0,10.1.1.0,static,255.255.255.0,infinite" in files.options
    assert "dhcp-authoritative" in files.options.splitlines() and "no-ping" in files.options.splitlines()
    assert files.reservations == "02:00:0a:01:01:05,10.1.1.5,web,infinite\n"
    assert files.names == "10.1.1.5 web.cs2.cloud.internal web\n10.1.1.1 data-server.cs2.cloud.internal data-server\n"
    assert dnsmasq.render(d.router()) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostname", "a\nb"),
        ("hostname", "a,set:x"),
        ("mac", "02:00"),
        ("address", "10.1.1.5,x"),
        ("address", "10.2.1.5"),
    ],
)
def test_no_reservation_writes_a_second_line(field: str, value: str) -> None:
    """Names, MACs and addresses are parsed before they reach a file."""
    network = d.dhcp()[0]
    bad = msgspec.structs.replace(network.reservations[0], **{field: value})
    with pytest.raises(Wrong):
        dnsmasq.render(d.router(dhcp=(msgspec.structs.replace(network, reservations=(bad,)),)))


def test_metadata_keys_are_no_paths() -> None:
    """A key names a file below the guest's folder and nothing else; user data has a limit."""
    guest = d.metadata().guests[0]
    for bad in (
        msgspec.structs.replace(guest, metadata={"../x": "1"}),
        msgspec.structs.replace(guest, address="10.1.1.5/../.."),
        msgspec.structs.replace(guest, userdata=b"x" * (1024 * 1024 + 1)),
        msgspec.structs.replace(guest, password="a\nb"),
    ):
        with pytest.raises(Wrong):
            metadata.render(d.router(metadata=msgspec.structs.replace(d.metadata(), guests=(bad,))))


def test_addresses_change_by_what_differs() -> None:
    """Nothing when equal; the way out is set again when an address has gone; the primary address is the first."""
    wanted = interfaces.render(d.router(interfaces=d.interfaces(d.SECOND)))
    guest = Seen(1500, True, ("10.1.1.1/24",), ())
    right = Seen(1500, True, ("203.0.113.10/24", "203.0.113.11/24"), (d.OUTSIDE,))
    assert interfaces.steps(wanted, {"eth0": guest, "eth2": right}) == ()
    lacking = Seen(1500, True, ("203.0.113.10/24",), (d.OUTSIDE,))
    assert interfaces.steps(wanted, {"eth0": guest, "eth2": lacking}) == ("address add 203.0.113.11/24 dev eth2",)
    turned = Seen(1500, True, ("203.0.113.11/24", "203.0.113.10/24"), (d.OUTSIDE,))
    assert interfaces.steps(wanted, {"eth0": guest, "eth2": turned}) == (
        "address del 203.0.113.11/24 dev eth2",
        "address del 203.0.113.10/24 dev eth2",
        "address add 203.0.113.10/24 dev eth2",
        "address add 203.0.113.11/24 dev eth2",
        "route replace default via 203.0.113.1 dev eth2",
    )


def test_an_address_belongs_to_one_interface() -> None:
    """Two owners are a fault of the document."""
    twice = (
        *d.interfaces(),
        Interface(device="eth3", mac="02:00:00:00:00:03", role="public", addresses=(f"{d.PUBLIC}/24",)),
    )
    with pytest.raises(Wrong, match="is on eth2 and eth3"):
        interfaces.render(d.router(interfaces=twice))


def test_interfaces_that_swap_their_names_go_by_a_third() -> None:
    """Found by MAC, whatever the kernel called them."""
    assert renames({"a": "eth0", "b": "eth1"}, {"a": "eth0", "b": "eth1"}) == ()
    assert renames({"a": "eth0"}, {"a": "ens3"}) == ("link set dev ens3 down", "link set dev ens3 name eth0")
    swapped = renames({"a": "eth0", "b": "eth1"}, {"a": "eth1", "b": "eth0"})
    assert swapped[2:] == (
        "link set dev eth1 name move0",
        "link set dev eth0 name move1",
        "link set dev move0 name eth0",
        "link set dev move1 name eth1",
    )


def test_only_the_default_nic_brings_a_way_out() -> None:
    """Both families."""
    nic = Nic(
        device=2, mac="02:00:00:00:00:02", segment=Segment(key="p", traffic=Traffic.PUBLIC), mtu=1450,
        addresses=("203.0.113.10/24", "2001:db8::a/64"), gateway="203.0.113.1", gateway6="2001:db8::1", default=True,
    )  # fmt: skip
    assert nic_lines(nic) == (
        "link set dev eth2 mtu 1450 up",
        "address replace 203.0.113.10/24 dev eth2",
        "address replace 2001:db8::a/64 dev eth2 nodad",
        "route replace default via 203.0.113.1 dev eth2",
        "route replace default via 2001:db8::1 dev eth2",
    )
    assert nic_lines(msgspec.structs.replace(nic, default=False, addresses=())) == ("link set dev eth2 mtu 1450 up",)


def test_diagnostics_run_only_what_is_known() -> None:
    """Options are read one by one."""
    ping = command(Diagnose(kind="ping", address="10.1.1.5", params="-c 2 -s 100"))
    assert ping == ("ping", "-n", "-w", "30", "-c", "2", "-s", "100", "10.1.1.5")
    for kind, address, params in (
        ("nmap", "10.1.1.5", ""), ("ping", "-h", ""), ("ping", "10.1.1.5", "-f"), ("ping", "10.1.1.5", "-c 1000000"),
        ("ping", "10.1.1.5", "-c 1; id"), ("arping", "10.1.1.5", "-I ../x"), ("traceroute", "10.1.1.5", "-m"),
        ("ping", "10.1.1.5", "'"),
    ):  # fmt: skip
        with pytest.raises(Refused):
            command(Diagnose(kind=kind, address=address, params=params))


@pytest.mark.parametrize(
    ("head", "request_word"),
    [
        (b"GET / HTTP/1.0\r\nDomU_Request: send_my_password\r\n\r\n", "send_my_password"),
        (b"GET / HTTP/1.1\nHost: x\ndomu_request:saved_password\n\n", "saved_password"),
        (b"GET / HTTP/1.0\r\n\r\n", ""),
        (b"DomU_Request: send_my_password\r\n\r\n", ""),
        (b"\xff\xfe\r\n\r\n", ""),
    ],
)
def test_the_password_server_reads_one_header(head: bytes, request_word: str) -> None:
    """Whatever else is said."""
    assert passwords.request_of(head) == request_word
