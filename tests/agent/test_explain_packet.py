"""explainPacket and the live rules, against the kernel: what is explained is compared with what really passes.

Every packet of the table is explained first, and then sent; the router is asked nothing that it could answer from its document
alone, for rules are changed by hand, too.
"""

from dataclasses import dataclass

import pytest

from sysvm.wire.documents import EgressRule, FirewallRule, Protocol
from sysvm.wire.explaining import Fate, RulesShown, ShowRules
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
from tests.agent.lab import Lab
from tests.agent.questions import TCP, asked, explained

pytestmark = pytest.mark.root
UDP, ICMP = 17, 1
PING = EgressRule(rule="egress-ping", device="eth0", protocol=Protocol.ICMP, sources=("10.1.1.0/24",), icmp_type=8)
PONG = FirewallRule(rule="pong", public=PUBLIC, protocol=Protocol.ICMP, sources=ANY, icmp_type=8, icmp_code=-1)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """A router with rules of every kind, and servers: guest:80 and :8000-8002, outside:80, :81 and :443."""
    document = router(
        interfaces=interfaces(SECOND),
        source_nat=source_nat(),
        static_nat=(static("static"),),
        port_forwards=(forward("web", 2080, 80), forward("range", 8000, 8000, 8002), forward("shut", 2081, 80)),
        firewall=(
            allow("open-web", 2080),
            allow("near-range", 8000, 8001, ("203.0.113.0/28", "10.0.0.0/8")),
            allow("far-range", 8002, sources=("198.51.100.0/24",)),
            allow("static-web", 80, public=SECOND),
            allow("leads-nowhere", 2090),
            PONG,
        ),
        egress=egress(False, egress_rule("out-web", 80, f"{OUTSIDE}/32"), PING),
        dhcp=dhcp(),
        dns=dns(),
        metadata=metadata(),
    )
    report = lab.apply(document)
    assert report.faults == ()
    lab.guest_address()
    for port in (80, 8000, 8001, 8002):
        lab.serve(lab.guest, GUEST, port)
    for port in (80, 81, 443):
        lab.serve(lab.outside, OUTSIDE, port)
    return lab


@dataclass(frozen=True)
class Case:
    """A packet, and what should become of it."""

    source: str
    destination: str
    port: int
    fate: Fate
    rule: str = ""
    ends: str = ""
    protocol: int = TCP


DROP, ACCEPT = Fate.DROP, Fate.ACCEPT
CASES = {
    "a forwarded port that is open": Case(OUTSIDE, PUBLIC, 2080, ACCEPT, "open-web", f"{GUEST}:80"),
    "a forwarded port without its opening": Case(OUTSIDE, PUBLIC, 2081, DROP),
    "a range, from a network that may": Case(OUTSIDE, PUBLIC, 8001, ACCEPT, "near-range", f"{GUEST}:8001"),
    "a range, from a network that may not": Case(OUTSIDE, PUBLIC, 8002, DROP),
    "an open port that leads nowhere": Case(OUTSIDE, PUBLIC, 2090, DROP),
    "static NAT": Case(OUTSIDE, SECOND, 80, ACCEPT, "static-web", f"{GUEST}:80"),
    "static NAT, another port": Case(OUTSIDE, SECOND, 8000, DROP),
    "a guest to what an egress rule allows": Case(GUEST, OUTSIDE, 80, ACCEPT, "out-web", f"{OUTSIDE}:80"),
    "a guest to what none allows": Case(GUEST, OUTSIDE, 443, DROP),
    "a guest to its own public address": Case(GUEST, PUBLIC, 2080, ACCEPT, "open-web", f"{GUEST}:80"),
    "a guest to the metadata": Case(GUEST, ROUTER, 80, ACCEPT, "", f"{ROUTER}:80"),
    "a guest to the router's ssh": Case(GUEST, ROUTER, 22, DROP),
    "the outside to the router's names": Case(OUTSIDE, PUBLIC, 53, DROP),
    "a ping from outside": Case(OUTSIDE, PUBLIC, 0, ACCEPT, "pong", PUBLIC, ICMP),
    "a ping of a guest": Case(GUEST, OUTSIDE, 0, ACCEPT, "egress-ping", OUTSIDE, ICMP),
}


@pytest.mark.parametrize("what", CASES)
def test_what_is_explained_is_what_happens(world: Lab, what: str) -> None:
    """The fate, the rule of the API that decided, and where it ends; then the packet is sent."""
    case = CASES[what]
    said = explained(world, case.source, case.destination, case.protocol, case.port)
    assert (said.fate, said.rule) == (case.fate, case.rule), said.words
    if case.ends:
        assert case.ends == (f"{said.destination}:{said.port}" if said.port else said.destination)
    namespace = world.guest if case.source == GUEST else world.outside
    if case.protocol == ICMP:
        passes = world.run(namespace, "ping", "-c1", "-W1", case.destination).returncode == 0
    else:
        passes = not world.is_blocked(namespace, case.destination, case.port)
    assert passes is (case.fate is ACCEPT)


def test_asking_moves_nothing(world: Lab) -> None:
    """No packet, no counter, no connection."""

    def state() -> str:
        counters = world.out(world.router, "nft", "list", "counters")
        return counters + world.out(world.router, "conntrack", "-L")

    world.out(world.router, "conntrack", "-F")
    before = state()
    for case in CASES.values():
        explained(world, case.source, case.destination, case.protocol, case.port)
    assert before == state()


def test_the_words_name_the_rules_in_their_order(world: Lab) -> None:
    """Arrival, firewall, port forwarding, route, forward, departure."""
    said = explained(world, OUTSIDE, PUBLIC, TCP, 2080)
    assert said.words.startswith(f"TCP port 2080 from {OUTSIDE} to {PUBLIC} passes: it leaves through eth0 to {GUEST}:80")
    assert said.words.endswith("by firewall rule open-web")
    assert ["arrival", "prerouting", "prerouting", "prerouting", "routing", "forward", "departure"] == [
        step.place for step in said.steps
    ]
    assert [step.rule for step in said.steps if step.rule] == ["open-web", "web"]
    out = explained(world, GUEST, OUTSIDE, TCP, 80)
    assert out.source == SECOND  # of its static NAT, before source NAT
    assert "egress policy denies" in explained(world, GUEST, OUTSIDE, TCP, 443).words
    assert f"no firewall rule of {PUBLIC} lets TCP port 2081" in explained(world, OUTSIDE, PUBLIC, TCP, 2081).words
    assert "no rule leads TCP port 2090" in explained(world, OUTSIDE, PUBLIC, TCP, 2090).words


def test_the_live_rules_are_asked_and_not_the_document(world: Lab) -> None:
    """A table that somebody has put beside ours decides, and is named; so is what cannot be judged."""
    words = "table ip stranger { chain c { type filter hook forward priority -5; tcp dport 80 drop; }; }"
    assert world.run(world.router, "nft", "-f", "-", said=words).returncode == 0
    try:
        said = explained(world, OUTSIDE, PUBLIC, TCP, 2080)
        assert (said.fate, said.rule) == (Fate.DROP, "")
        assert said.steps[-1].table == "ip stranger" and said.steps[-1].text == "tcp dport 80 drop"
        assert "not of the router's configuration" in said.words
        assert world.is_blocked(world.outside, PUBLIC, 2080)
        odd = "flush chain ip stranger c; add rule ip stranger c ip length 60 drop"
        world.run(world.router, "nft", "-f", "-", said=odd)
        assert explained(world, OUTSIDE, PUBLIC, TCP, 2080).fate is Fate.UNKNOWN
    finally:
        world.out(world.router, "nft", "delete", "table", "ip", "stranger")
    assert explained(world, OUTSIDE, PUBLIC, TCP, 2080).fate is Fate.ACCEPT


def test_a_way_that_is_missing_is_told(world: Lab) -> None:
    """The kernel's route for this very packet."""
    world.out(world.router, "ip", "route", "add", "unreachable", "203.0.113.77/32")
    try:
        said = explained(world, GUEST, "203.0.113.77", TCP, 80)
        assert (said.fate, said.steps[-1].place) == (Fate.DROP, "routing")
    finally:
        world.out(world.router, "ip", "route", "del", "unreachable", "203.0.113.77/32")


def test_live_rules_are_shown_with_the_ids_of_the_api(world: Lab) -> None:
    """Rules, elements, and what somebody added by hand."""
    shown = asked(world, ShowRules(), RulesShown)
    assert isinstance(shown, RulesShown)
    owned = {each.rule for each in shown.rules if each.rule}
    assert owned == {
        "web", "range", "shut", "static", "open-web", "near-range", "far-range", "static-web", "leads-nowhere", "pong",
        "out-web", "egress-ping",
    }  # fmt: skip
    (element,) = [each for each in shown.rules if each.rule == "web"]
    assert (element.place, element.text) == ("map ports", f"{PUBLIC} . 6 . 2080 : {GUEST} . 80")
    (rule,) = [each for each in shown.rules if each.rule == "out-web"]
    assert (rule.place, rule.text) == ("chain egress_eth0", f"ip daddr {OUTSIDE} tcp dport 80 accept")
    assert {each.kind for each in shown.rules} >= {"firewallrule", "portforwardingrule", "staticnat", ""}
    assert "stranger" not in {each.kind for each in shown.rules}
