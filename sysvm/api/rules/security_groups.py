"""What a rule of a security group may say. Pure: raises Refused with CloudStack's texts, or returns the parsed parts."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from sysvm.api.rules.firewall import Match, icmp
from sysvm.basics.errors import Refused

NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Given:
    """What a call says of ports and ICMP."""

    first: int | None = None
    last: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


def match(protocol: str | None, given: Given) -> Match:
    """The parsed parts of a rule."""
    name = _protocol(protocol or "all")
    if name in ("tcp", "udp"):
        return _ports(name, given)
    if name in ("icmp", "icmpv6"):
        return Match(name, icmp_type=icmp("type", given.icmp_type), icmp_code=icmp("code", given.icmp_code))
    if given.first is not None or given.last is not None:
        raise Refused(f"startport and endport are for tcp and udp only, not for protocol {protocol}")
    return Match(name)


def _protocol(text: str) -> str:
    name = text.strip().lower()
    if name.isdecimal() and int(name) > 255:
        raise Refused(f"Invalid protocol number: {name}")
    name = NUMBERS.get(name, name)
    if not name.isdecimal() and name not in ("tcp", "udp", "icmp", "icmpv6", "all"):
        raise Refused(f"Invalid protocol {text}: it is tcp, udp, icmp, icmpv6, all or a number from 0 to 255")
    return name


def _ports(name: str, given: Given) -> Match:
    first = given.first if given.first is not None else given.last
    last = given.last if given.last is not None else given.first
    if first is None or last is None or not 0 <= first <= last <= 65535:
        raise Refused(f"Invalid port range specified, startPort = {given.first}, endPort = {given.last}")
    return Match(name, first, last)


def cidrs(given: Iterable[str], rule: Match) -> tuple[str, ...]:
    """Normal forms of CIDRs, in order, without repetition; of the family that the rule's protocol has."""
    found: dict[str, None] = {}
    for text in given:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError:
            raise Refused(f"Invalid cidr {text}: write the network's first address and its length") from None
        if "/" not in text:
            raise Refused(f"Invalid cidr {text}: write the network's first address and its length")
        if {"icmp": 4, "icmpv6": 6}.get(rule.protocol, network.version) != network.version:
            raise Refused(f"Invalid cidr {text}: protocol {rule.protocol} has addresses of the other family")
        found[str(network)] = None
    return tuple(found)


def name(text: str) -> str:
    """A group's name."""
    found = text.strip()
    if not found or len(found) > LONGEST_NAME:
        raise Refused(f"The name of a security group has 1 to {LONGEST_NAME} characters")
    return found
