"""How a packet goes through rules as nft lists them: pure, without a kernel. What the kernel does is in test_explain_packet."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from sysvm.agent.roles.router.explaining.judging import judge
from sysvm.agent.roles.router.explaining.live import Live, Route, tables_of, words_of
from sysvm.agent.roles.router.explaining.owners import Owners
from sysvm.agent.roles.router.explaining.packet import Packet
from sysvm.agent.roles.router.explaining.way import Kernel, Way
from sysvm.wire.explaining import Fate
from tests.agent.documents import router

WEB = Packet(ip_address("198.51.100.7"), ip_address("203.0.113.10"), 6, 40000, 80, arrives="eth2")
PING = replace(WEB, protocol=1)
SIX = Packet(ip_address("2001:db8::7"), ip_address("2001:db8:1::1"), 6, 40000, 80, arrives="eth2")
ACCEPT, DROP = {"accept": None}, {"drop": None}


def chain(name: str, *rules: list[Any], table: str = "t", family: str = "inet", **base: Any) -> list[dict[str, Any]]:
    """A chain of a listing, with its rules."""
    made: list[dict[str, Any]] = [{"chain": {"family": family, "table": table, "name": name, **base}}]
    for handle, expr in enumerate(rules, 1):
        made.append({"rule": {"family": family, "table": table, "chain": name, "handle": handle, "expr": expr}})
    return made


def hooked(name: str, *rules: list[Any], hook: str = "forward", prio: int = 0, policy: str = "drop", type_: str = "filter",
           **more: Any) -> list[dict[str, Any]]:  # fmt: skip
    """A base chain."""
    return chain(name, *rules, type=type_, hook=hook, prio=prio, policy=policy, **more)


def listing(*parts: list[dict[str, Any]], tables: tuple[tuple[str, str], ...] = (("inet", "t"),)) -> list[dict[str, Any]]:
    """All of it."""
    heads = [{"table": {"family": family, "name": name}} for family, name in tables]
    return [*heads, *(each for part in parts for each in part)]


def verdict(packet: Packet, *parts: list[dict[str, Any]]) -> str:
    """Of the chain "base"."""
    (table,) = tables_of(listing(*parts))
    return judge(table, table.chains["base"], packet).verdict


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    """A match statement."""
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    """A field of a header."""
    return {"payload": {"protocol": protocol, "field": field}}


PORT, SOURCE, DEVICE = payload("th", "dport"), payload("ip", "saddr"), {"meta": {"key": "iifname"}}
BIT = {"&": [payload("tcp", "flags"), [2, 4]]}
BOTH = {"concat": ["198.51.100.7", {"range": [1, 99]}]}
TABLE = {
    "a range": (match(PORT, {"range": [1, 80]}), WEB, True),
    "beyond a range": (match(PORT, {"range": [81, 90]}), WEB, False),
    "another port": (match(PORT, 80, "!="), WEB, False),
    "a greater port": (match(PORT, 79, ">"), WEB, True),
    "a port of a ping": (match(PORT, 80, "!="), PING, False),
    "one of a set": (match(PORT, {"set": [22, {"range": [79, 81]}]}), WEB, True),
    "a prefix": (match(SOURCE, {"prefix": {"addr": "198.51.100.0", "len": 24}}), WEB, True),
    "an IPv4 address of an IPv6 packet": (match(SOURCE, "198.51.100.7", "!="), SIX, False),
    "an IPv6 prefix": (match(payload("ip6", "saddr"), {"prefix": {"addr": "2001:db8::", "len": 32}}), SIX, True),
    "an interface by its beginning": (match(DEVICE, "eth*"), WEB, True),
    "flags under a mask": (match(BIT, 2), WEB, True),
    "a new connection": (match({"ct": {"key": "state"}}, 8, "in"), WEB, True),
    "an established one": (match({"ct": {"key": "state"}}, [2, 4], "in"), WEB, False),
    "a limit that is not reached": ({"limit": {"rate": 1, "per": "second"}}, WEB, True),
    "beyond a limit": ({"limit": {"rate": 1, "per": "second", "inv": True}}, WEB, False),
    "an element with a timeout": (match(SOURCE, {"set": [{"elem": {"val": "198.51.100.7", "timeout": 5}}]}), WEB, True),
    "a concatenation": (match({"concat": [SOURCE, PORT]}, {"set": [BOTH]}), WEB, True),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_a_rule_matches_what_the_kernel_would_match(what: str) -> None:
    """And accepts; where it does not match, the policy drops."""
    statement, packet, is_met = TABLE[what]
    assert verdict(packet, hooked("base", [statement, ACCEPT])) == ("accept" if is_met else "drop")


def jump(to: str, way: str = "jump") -> dict[str, Any]:
    """To another chain."""
    return {way: {"target": to}}


def test_chains_are_gone_through_as_in_the_kernel() -> None:
    """A jump comes back, a return too; a goto does not; a loop is not followed for ever."""
    back = chain("other", [match(PORT, 80), {"return": None}], [DROP])
    assert verdict(WEB, hooked("base", [jump("other")], [ACCEPT]), back) == "accept"
    assert verdict(WEB, hooked("base", [jump("other", "goto")], [ACCEPT]), back) == "drop"
    assert verdict(WEB, hooked("base", [jump("loop")]), chain("loop", [jump("loop")])) == "unknown"
    assert verdict(WEB, hooked("base", [jump("nowhere")])) == "unknown"


def test_what_is_not_understood_is_never_guessed() -> None:
    """An expression, a statement, an operator; but only where the packet comes to it."""
    odd = match({"meta": {"key": "cpu"}}, 1)
    assert verdict(WEB, hooked("base", [odd, DROP], [ACCEPT])) == "unknown"
    assert verdict(WEB, hooked("base", [{"xt": {"type": "match"}}, DROP])) == "unknown"
    assert verdict(WEB, hooked("base", [match(PORT, 80, "~"), DROP])) == "unknown"
    assert verdict(WEB, hooked("base", [match(PORT, 81), odd, DROP], [ACCEPT])) == "accept"


def explained(packet: Packet, objects: list[dict[str, Any]], local: tuple[str, ...] = ("203.0.113.10",)) -> Any:
    """The whole way, by a kernel with three routes."""

    def route(asked: Packet) -> Route:
        to = str(asked.destination)
        if to in local:
            return Route("lo", is_local=True)
        if to == "10.66.0.1":
            return Route(why="Network is unreachable")
        return Route("eth0") if to.startswith("10.1.1.") else Route("eth2", "203.0.113.1")

    kernel = Kernel(route, lambda device, address: "", lambda asked: False, lambda device, family: "203.0.113.10")
    return Way(Live(tables_of(objects), {}), Owners(router()), kernel, replace(packet, arrives="")).explain()


def dnat(to: str, port: int = 0) -> list[Any]:
    """A rule that rewrites the destination."""
    return [{"dnat": {"family": "ip", "addr": to, **({"port": port} if port else {})}}]


def test_chains_of_all_tables_are_asked_by_priority() -> None:
    """Whatever the order of the listing; the first translation is the last."""
    tables = (("inet", "t"), ("ip", "u"))
    objects = listing(
        hooked("late", dnat("10.1.1.9"), hook="prerouting", prio=-90, policy="accept", type_="nat"),
        hooked(
            "early",
            dnat("10.1.1.5", 8080),
            hook="prerouting",
            prio=-100,
            policy="accept",
            type_="nat",
            table="u",
            family="ip",
        ),
        tables=tables,
    )
    said = explained(WEB, objects)
    assert (said.fate, said.destination, said.port, said.leaves) == (Fate.ACCEPT, "10.1.1.5", 8080, "eth0")
    blocked = [*objects, *hooked("first", [match(PORT, 80), DROP], hook="prerouting", prio=-300)]
    assert (explained(WEB, blocked).fate, explained(WEB, blocked).steps[-1].chain) == (Fate.DROP, "first")


def test_where_a_packet_ends_is_told() -> None:
    """At the router, nowhere, or from the router itself; what masquerades comes from the interface."""
    assert "nothing listens on port 80" in explained(WEB, []).steps[-1].words
    assert explained(replace(WEB, destination=ip_address("10.66.0.1")), []).steps[-1].place == "routing"
    out = hooked("out", [{"masquerade": None}], hook="postrouting", policy="accept", type_="nat")
    guest = replace(WEB, source=ip_address("10.1.1.5"), destination=ip_address("192.0.2.1"))
    assert (explained(guest, listing(out)).source, explained(guest, listing(out)).arrives) == ("203.0.113.10", "eth0")
    own = explained(replace(guest, source=ip_address("203.0.113.10")), listing(hooked("o", hook="output")))
    assert (own.fate, own.steps[-1].place) == (Fate.DROP, "output")


def test_words_of_rules_are_found_by_their_handles() -> None:
    """As nft writes them, without comments."""
    text = "table inet t { # handle 1\n\tset s { # handle 2\n\t\telements = { 1 }\n\t}\n\n\tchain c { # handle 3\n"
    text += '\t\ttype filter hook input priority 0; policy drop;\n\t\ttcp dport 80 accept comment "x" # handle 7\n\t}\n}\n'
    assert words_of(text) == {("inet t", "c", 7): "tcp dport 80 accept"}
