"""Security groups on a host's bridges, as an nft table of the `bridge` family. Pure text and data.

The guard (guard.py) has seen to it that a frame is from whom it says; this table, at `forward`, says whether it may pass.
Each port that is held to groups is in the set `filtered`, from before it is plugged in: one that no document has spoken of
yet passes DHCP and what it asks of DNS, and nothing else. A port's groups are found by one map look-up on its name; each
set of groups that some port has is a chain, which jumps to a chain for each group; addresses are in sets. So a member
costs an element, a rule its group's chain, and a port's traffic never passes rules of groups that it is not in.

What was let through once goes on in both directions: connections are tracked (tracking.py). As in CloudStack, taking a rule
back does not end those that stand. A port none of whose groups has an egress rule may send everything.

Every rule carries a comment made from its own text, so that a listing shows whether it is there and in its place. What
differs is changed in one transaction.
"""

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sysvm.hosts.layout import Layout
from sysvm.hosts.network.tracking import KNOWN
from sysvm.wire.security_groups import Group, GroupRule, SecurityGroupsDocument

TABLE = "bridge sysvm_groups"
COUNTERS = ("refused_out", "refused_in")
PRIORITY = 10  # after br_netfilter, which leaves out what is due until itself when it gives a packet back

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Stretch = tuple[int, int, int]  # family, first and last address

_NEIGHBOURS = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld2-listener-report"
FIXED: Mapping[str, tuple[str, ...]] = {
    "onward": (
        f"{KNOWN} accept",
        "ether type arp accept",
        f"ether type ip6 icmpv6 type {{ {_NEIGHBOURS} }} accept",
        "iifname @filtered goto leave",
        "goto arrive",
    ),
    "leave": (
        "ether type ip udp sport 68 udp dport 67 goto arrive",
        "ether type ip6 udp sport 546 udp dport 547 goto arrive",
        "meta l4proto { tcp, udp } th dport 53 goto arrive",
        "iifname vmap @out",
        "counter name refused_out drop",
    ),
    "arrive": (
        "oifname != @filtered accept",
        "ether type ip udp sport 67 udp dport 68 accept",
        "ether type ip6 udp sport 547 udp dport 546 accept",
        "oifname vmap @into",
        "counter name refused_in drop",
    ),
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """A set of addresses. Networks are replaced together, single addresses come and go one by one."""

    family: int
    elements: frozenset[str]
    interval: bool

    @property
    def declared(self) -> str:
        """Its properties in words of nft."""
        flags = " flags interval;" if self.interval else ""
        return f"{{ type ipv{self.family}_addr;{flags} }}"


@dataclass(frozen=True, slots=True)
class Table:
    """The table, without the set of filtered ports: that is kept by whoever makes ports."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(FIXED))
    sets: Mapping[str, Addresses] = field(default_factory=dict)
    into: Mapping[str, str] = field(default_factory=dict)  # port -> chain
    out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """The same as the kernel lists it: of rules the comments, of sets the stretches."""

    chains: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, frozenset[Stretch]]
    into: Mapping[str, str]
    out: Mapping[str, str]


def base_ruleset() -> str:
    """The table as it is before the first port; harmless to repeat."""
    lines = [
        f"add table {TABLE}",
        f"add set {TABLE} filtered {{ type ifname; }}",
        f"add map {TABLE} into {{ type ifname : verdict; }}",
        f"add map {TABLE} out {{ type ifname : verdict; }}",
        *(f"add counter {TABLE} {name}" for name in COUNTERS),
        f"add chain {TABLE} onward {{ type filter hook forward priority {PRIORITY}; policy accept; }}",
        *(f"add chain {TABLE} {name}" for name in ("leave", "arrive")),
        *(f"flush chain {TABLE} {name}" for name in FIXED),
    ]
    return "\n".join([*lines, *(line for name, rules in FIXED.items() for line in _rules(name, rules)), ""])


def port_ruleset(port: str) -> str:
    """The port is held to groups."""
    return f'add element {TABLE} filtered {{ "{port}" }}\n'


def port_removal(port: str) -> str:
    """Forgets `port`; harmless to repeat."""
    element = f'element {TABLE} filtered {{ "{port}" }}\n'
    return f"add {element}delete {element}"


# ---------------------------------------------------------------- what it shall be
def render(layout: Layout, document: SecurityGroupsDocument) -> Table:
    """The whole table."""
    chains, sets = dict(FIXED), dict(_members(document.groups))
    groups = {group.group: group for group in document.groups}
    for group in document.groups:
        for way, rules in (("in", group.ingress), ("out", group.egress)):
            texts, needed = _of_group(group.group, way, rules, groups)
            chains[_chain(way, group.group)] = texts
            sets |= needed
    into, out = {}, {}
    for port in document.ports:
        name = layout.port(port.machine, port.incarnation, port.device)
        held = [groups[uuid] for uuid in sorted(set(port.groups)) if uuid in groups]
        into[name], out[name] = _chain("ports_in", *port.groups), _chain("ports_out", *port.groups)
        chains[into[name]] = (*(f"jump {_chain('in', group.group)}" for group in held), "counter name refused_in drop")
        chains[out[name]] = tuple(_leaving(held))
    return Table(chains, sets, into, out)


def _leaving(held: Iterable[Group]) -> Iterator[str]:
    limited = [group for group in held if group.egress]
    yield from (f"jump {_chain('out', group.group)}" for group in limited)
    yield "counter name refused_out drop" if limited else "goto arrive"


def _chain(prefix: str, *groups: str) -> str:
    digest = hashlib.sha256("\0".join(sorted(set(groups))).encode()).hexdigest()
    return f"{prefix}_{digest[:24]}"


def _members(groups: Iterable[Group]) -> Iterator[tuple[str, Addresses]]:
    for group in groups:
        for family in (4, 6):
            found = frozenset(text for text in group.members if (":" in text) == (family == 6))
            yield _members_name(group.group, family), Addresses(family, found, interval=False)


def _members_name(group: str, family: int) -> str:
    return f"{_chain('members', group)}_{family}"


def _of_group(
    group: str, way: str, rules: tuple[GroupRule, ...], groups: Mapping[str, Group]
) -> tuple[tuple[str, ...], dict[str, Addresses]]:
    """The rules of a chain, and the sets that they look into. Rules that differ in their CIDR only are one."""
    end, verdict = ("saddr", "accept") if way == "in" else ("daddr", "goto arrive")
    texts: list[str] = []
    cidrs: dict[tuple[str, int], list[Network]] = {}
    for rule in rules:
        if rule.cidr:
            network = ipaddress.ip_network(rule.cidr)
            cidrs.setdefault((_match(rule), network.version), []).append(network)
        elif rule.group in groups:
            texts += [
                f"{_ip(family)} {end} @{_members_name(rule.group, family)}{_match(rule)} {verdict}" for family in _families(rule)
            ]
    sets = {}
    for (match, family), networks in cidrs.items():
        name = f"{_chain(f'{way}_cidrs', group, match)}_{family}"
        whole = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
        sets[name] = Addresses(family, frozenset(str(network) for network in whole), interval=True)
        texts.append(f"{_ip(family)} {end} @{name}{match} {verdict}")
    return tuple(sorted(set(texts))), sets


def _ip(family: int) -> str:
    return "ip" if family == 4 else "ip6"


def _families(rule: GroupRule) -> tuple[int, ...]:
    return {"icmp": (4,), "icmpv6": (6,)}.get(rule.protocol, (4, 6))


def _match(rule: GroupRule) -> str:
    """What follows the address in a rule; empty for everything."""
    match rule.protocol:
        case "all":
            return ""
        case "tcp" | "udp" if rule.first is not None and rule.last is not None:
            return f" {rule.protocol} dport {rule.first}-{rule.last}"
        case "icmp" | "icmpv6" if rule.first is not None:
            code = f" {rule.protocol} code {rule.last}" if rule.last is not None else ""
            return f" {rule.protocol} type {rule.first}{code}"
        case "icmpv6":
            return " meta l4proto ipv6-icmp"
        case protocol:
            return f" meta l4proto {protocol}"


# ---------------------------------------------------------------- what it is
def parse(answer: str) -> Listed:
    """The table, from `nft -j list table`."""
    chains: dict[str, list[str]] = {}
    sets: dict[str, frozenset[Stretch]] = {}
    maps: dict[str, dict[str, str]] = {}
    for item in json.loads(answer or "{}").get("nftables", []):
        if "chain" in item:
            chains.setdefault(item["chain"]["name"], [])
        elif "rule" in item:
            chains.setdefault(item["rule"]["chain"], []).append(item["rule"].get("comment", ""))
        elif "map" in item:
            maps[item["map"]["name"]] = {key: _target(verdict) for key, verdict in item["map"].get("elem", ())}
        elif "set" in item and item["set"]["name"] != "filtered":
            sets[item["set"]["name"]] = _stretches(item["set"].get("elem", ()))
    named = {name: tuple(comments) for name, comments in chains.items()}
    return Listed(named, sets, maps.get("into", {}), maps.get("out", {}))


def _target(verdict: dict[str, Any]) -> str:
    return str(verdict.get("goto", {}).get("target", ""))


def _stretches(elements: Iterable[Any]) -> frozenset[Stretch]:
    return _joined(_stretch(element) for element in elements)


def _stretch(element: Any) -> Stretch:
    if isinstance(element, dict) and "range" in element:
        first, last = (ipaddress.ip_address(end) for end in element["range"])
        return first.version, int(first), int(last)
    if isinstance(element, dict):
        prefix = element["prefix"]
        element = f"{prefix['addr']}/{prefix['len']}"
    network = ipaddress.ip_network(element)
    return network.version, int(network.network_address), int(network.broadcast_address)


def _joined(stretches: Iterable[Stretch]) -> frozenset[Stretch]:
    """Neighbours as one: a listing may show them so."""
    found: list[Stretch] = []
    for family, first, last in sorted(stretches):
        if found and found[-1][0] == family and found[-1][2] + 1 >= first:
            found[-1] = (family, found[-1][1], max(last, found[-1][2]))
        else:
            found.append((family, first, last))
    return frozenset(found)


# ---------------------------------------------------------------- from one to the other
def change(live: Listed, wanted: Table) -> str:
    """One transaction that makes the table what it shall be; empty when it is. Counters and filtered ports stay."""
    marks = {name: tuple(map(mark, rules)) for name, rules in wanted.chains.items()}
    changed = [name for name in wanted.chains if live.chains.get(name) != marks[name]]
    gone = sorted(live.chains.keys() - wanted.chains.keys())
    sets_gone = sorted(live.sets.keys() - wanted.sets.keys())
    lines = [f"add chain {TABLE} {name}" for name in changed if name not in live.chains]
    for name, each in wanted.sets.items():
        lines += _set_lines(name, live.sets.get(name), each)
    for name, before, after in (("into", live.into, wanted.into), ("out", live.out, wanted.out)):
        lines += _map_lines("delete", name, before, after)
    lines += [f"flush chain {TABLE} {name}" for name in (*changed, *gone) if name in live.chains]
    lines += [line for name in changed for line in _rules(name, wanted.chains[name])]
    for name, before, after in (("into", live.into, wanted.into), ("out", live.out, wanted.out)):
        lines += _map_lines("add", name, after, before)
    lines += [f"delete chain {TABLE} {name}" for name in gone]
    lines += [f"delete set {TABLE} {name}" for name in sets_gone]
    return "\n".join([*lines, ""]) if lines else ""


def mark(rule: str) -> str:
    """The comment of a rule."""
    return hashlib.sha256(rule.encode()).hexdigest()[:16]


def _rules(chain: str, rules: Iterable[str]) -> list[str]:
    return [f'add rule {TABLE} {chain} {rule} comment "{mark(rule)}"' for rule in rules]


def _set_lines(name: str, live: frozenset[Stretch] | None, wanted: Addresses) -> list[str]:
    lines = [f"add set {TABLE} {name} {wanted.declared}"] if live is None else []
    if live == _stretches(wanted.elements):
        return lines
    if wanted.interval or live is None:
        lines += [f"flush set {TABLE} {name}"] if live else []
        return lines + _elements("add", name, wanted.elements)
    there = {str(_address(family, n)) for family, first, last in live for n in range(first, last + 1)}
    return lines + _elements("delete", name, there - wanted.elements) + _elements("add", name, wanted.elements - there)


def _address(family: int, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number)


def _elements(verb: str, name: str, elements: Iterable[str]) -> list[str]:
    texts = ", ".join(sorted(elements))
    return [f"{verb} element {TABLE} {name} {{ {texts} }}"] if texts else []


def _map_lines(verb: str, name: str, these: Mapping[str, str], those: Mapping[str, str]) -> list[str]:
    differ = sorted((port, chain) for port, chain in these.items() if those.get(port) != chain)
    texts = ", ".join(f'"{port}" : goto {chain}' for port, chain in differ)
    return [f"{verb} element {TABLE} {name} {{ {texts} }}"] if texts else []
