"""The first packet of a new connection as nftables sees it, and the values of expressions about it. Pure.

An expression about something that the packet does not have (the port of a ping) ends its rule, as in the kernel: NoMatch.
What is not known here is Unjudged, never guessed. Values are integers, IP addresses, names, or tuples of those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
Value = int | str | Address | tuple[Any, ...]
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
PORTS = frozenset({TCP, UDP, 33, 132, 136})
NEW = 8  # bits of ct state and ct status
SNAT, DNAT = 16, 32
SYN = 2


class NoMatch(Exception):
    """The packet has no such thing: the rule ends here."""


class Unjudged(Exception):
    """A rule says something that is not understood here."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Where it is on its way is in `arrives` and `leaves`: empty before that is known."""

    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    port: int = 0
    icmp_type: int = 8
    icmp_code: int = 0
    arrives: str = ""
    leaves: str = ""
    status: int = 0
    mark: int = 0
    ct_mark: int = 0

    @property
    def family(self) -> str:
        """ip or ip6."""
        return "ip" if self.destination.version == 4 else "ip6"


def _ports(packet: Packet, protocol: str) -> None:
    wanted = {"tcp": {TCP}, "udp": {UDP}, "th": PORTS, "sctp": {132}, "dccp": {33}, "udplite": {136}}[protocol]
    if packet.protocol not in wanted:
        raise NoMatch


def _network(field: str) -> Callable[[Packet, str], Value]:
    def value(packet: Packet, protocol: str) -> Value:
        if protocol != packet.family:
            raise NoMatch
        known: dict[str, Value] = {"saddr": packet.source, "daddr": packet.destination}
        return known.get(field, packet.protocol)

    return value


def _transport(field: str) -> Callable[[Packet, str], Value]:
    def value(packet: Packet, protocol: str) -> Value:
        _ports(packet, protocol)
        return {"sport": packet.source_port, "dport": packet.port, "flags": SYN}[field]

    return value


def _echo(field: str) -> Callable[[Packet, str], Value]:
    def value(packet: Packet, protocol: str) -> Value:
        if packet.protocol != {"icmp": ICMP, "icmpv6": ICMP6}[protocol]:
            raise NoMatch
        return {"type": packet.icmp_type, "code": packet.icmp_code}[field]

    return value


_PAYLOAD: dict[tuple[str, str], Callable[[Packet, str], Value]] = {
    **{(protocol, field): _network(field) for protocol in ("ip", "ip6") for field in ("saddr", "daddr")},
    ("ip", "protocol"): _network("protocol"),
    ("ip6", "nexthdr"): _network("nexthdr"),
    **{
        (protocol, field): _transport(field)
        for protocol in ("tcp", "udp", "th", "sctp", "dccp", "udplite")
        for field in ("sport", "dport")
    },
    ("tcp", "flags"): _transport("flags"),
    **{(protocol, field): _echo(field) for protocol in ("icmp", "icmpv6") for field in ("type", "code")},
}
_FAMILY = {4: 2, 6: 10}


def _names(packet: Packet) -> dict[str, Value]:
    return {
        "iifname": packet.arrives,
        "oifname": packet.leaves,
        "iif": packet.arrives,
        "oif": packet.leaves,
        "l4proto": packet.protocol,
        "nfproto": _FAMILY[packet.destination.version],
        "mark": packet.mark,
        "secpath": 0,  # it came as it is, in no tunnel
    }


def _tracking(packet: Packet) -> dict[str, Value]:
    return {"state": NEW, "status": packet.status, "mark": packet.ct_mark, "direction": "original"}


def value_of(expression: Any, packet: Packet) -> Value:
    """The value of a left side, or of a constant. Raises NoMatch and Unjudged."""
    match expression:
        case bool() | int():
            return int(expression)
        case str():
            return constant(expression)
        case {"payload": {"protocol": protocol, "field": field}} if (protocol, field) in _PAYLOAD:
            return _PAYLOAD[protocol, field](packet, protocol)
        case {"meta": {"key": key}} if key in _names(packet):
            return _names(packet)[key]
        case {"ct": {"key": key}} if key in _tracking(packet):
            return _tracking(packet)[key]
        case {"concat": parts}:
            return tuple(value_of(part, packet) for part in parts)
        case {"&": [left, right]}:
            return number(left, packet) & number(right, packet)
        case {"|": [left, right]}:
            return number(left, packet) | number(right, packet)
        case {"^": [left, right]}:
            return number(left, packet) ^ number(right, packet)
        case list():
            return any_of(expression)
        case _:
            raise Unjudged(f"{expression}")


def number(expression: Any, packet: Packet) -> int:
    """The value of something that bits can be taken of."""
    found = value_of(expression, packet)
    if not isinstance(found, int):
        raise Unjudged(f"{expression} is no number")
    return found


def any_of(flags: list[Any]) -> int:
    """Flags that nft lists one by one."""
    if not all(isinstance(flag, int) for flag in flags):
        raise Unjudged(f"{flags}")
    return sum(set(flags))


def constant(text: str) -> Value:
    """An address, or a name."""
    if text[:1].isdigit() or ":" in text:
        try:
            return ip_address(text)
        except ValueError:
            return text
    return {"ipv4": 2, "ipv6": 10}.get(text, text)
