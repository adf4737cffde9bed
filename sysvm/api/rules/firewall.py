"""What a firewall, egress or port forwarding rule may say, and when two rules cannot stand side by side.

Pure: raises Refused with CloudStack's texts, or returns the parsed parts. Conflicts carry Why.RULE_CONFLICT (537).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sysvm.basics.errors import Refused, Why

INGRESS_PROTOCOLS = ("tcp", "udp", "icmp")
EGRESS_PROTOCOLS = ("tcp", "udp", "icmp", "all")
FORWARD_PROTOCOLS = ("tcp", "udp")
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Match:
    """What traffic a rule is about. Ports are inclusive; None means that the rule does not look at them, -1 the same for ICMP."""

    protocol: str
    first: int | None = None
    last: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule that is there already."""

    uuid: str
    purpose: str  # Firewall | PortForwarding | StaticNat | LoadBalancing | Vpn
    match: Match
    sources: frozenset[str] = frozenset()
    network_id: int | None = None


def match(
    protocol: str,
    first: int | None,
    last: int | None,
    icmp_type: int | None,
    icmp_code: int | None,
    allowed: Sequence[str] = INGRESS_PROTOCOLS,
) -> Match:
    """The parsed parts of a firewall rule."""
    name = _protocol(protocol, allowed)
    if name != "icmp" and (icmp_type is not None or icmp_code is not None):
        raise Refused("Can specify icmpCode and icmpType for ICMP protocol only")
    if name == "icmp":
        if first is not None or last is not None:
            raise Refused("Can't specify start/end port when protocol is ICMP")
        return Match(name, icmp_type=icmp("type", icmp_type), icmp_code=icmp("code", icmp_code))
    if name == "all":
        if first is not None or last is not None:
            raise Refused("Do not pass ports to protocol ALL, protocol ALL does not need them. Unable to create firewall rule")
        return Match(name)
    if first is None and last is None:
        return Match(name)
    ports = port_range(first, last, "publicPort")
    return Match(name, ports[0], ports[1])


def _protocol(protocol: str, allowed: Sequence[str]) -> str:
    name = protocol.strip().lower()
    name = {"6": "tcp", "17": "udp", "1": "icmp"}.get(name, name)
    if name not in allowed:
        raise Refused(f"Protocol {protocol} is not supported here; use one of {', '.join(allowed)}")
    return name


def icmp(what: str, value: int | None) -> int:
    """A type or a code; -1 for all."""
    if value is None:
        return -1
    if not -1 <= value <= 255:
        raise Refused(f"Invalid ICMP {what} specified: {value}; it is from 0 to 255, or -1 for all")
    return value


def port_range(first: int | None, last: int | None, name: str) -> tuple[int, int]:
    """An inclusive range; one end alone means one port."""
    begin = first if first is not None else last
    end = last if last is not None else first
    assert begin is not None and end is not None
    if not 1 <= begin <= 65535:
        raise Refused(f"{name} is an invalid value: {begin}")
    if not 1 <= end <= 65535:
        raise Refused(f"{name} range is an invalid value: {end}")
    if begin > end:
        raise Refused("Start port can't be bigger than end port")
    return begin, end


def forwarding(
    protocol: str, public: tuple[int | None, int | None], private: tuple[int | None, int | None]
) -> tuple[Match, tuple[int, int]]:
    """The parsed parts of a port forwarding rule; the ranges have the same size."""
    name = _protocol(protocol, FORWARD_PROTOCOLS)
    outside, inside = port_range(*public, "publicPort"), port_range(*private, "privatePort")
    if outside[1] - outside[0] != inside[1] - inside[0]:
        raise Refused("Source port and destination port ranges should be of equal sizes.")
    return Match(name, *outside), inside


def cidrs(given: Iterable[str], kind: str = "Source") -> tuple[str, ...]:
    """Normal forms of CIDRs, in order, without repetition."""
    found: dict[str, None] = {}
    for text in given:
        try:
            parsed = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            raise Refused(f"{kind} cidrs formatting error {text}") from None
        if "/" not in text:
            raise Refused(f"{kind} cidrs formatting error {text}")
        found[str(parsed)] = None
    return tuple(found)


def egress_sources(given: Iterable[str], network_cidr: str) -> tuple[str, ...]:
    """CIDRs of guests that an egress rule is about; the network's own when none is given."""
    sources = cidrs(given)
    if not sources:
        return (network_cidr,) if network_cidr else ()
    inside = ipaddress.ip_network(network_cidr)
    for source in sources:
        parsed = ipaddress.ip_network(source)
        if str(parsed) == ANYWHERE:
            continue
        if parsed.version != inside.version or not parsed.subnet_of(inside):  # type: ignore[arg-type]
            raise Refused(f"Source CIDR {source} is not within the network's CIDR {network_cidr}")
    return sources


def _overlap(one: Match, other: Match) -> bool:
    if one.first is None or other.first is None or one.last is None or other.last is None:
        return one.protocol == other.protocol and one.protocol not in ("icmp",)
    return one.first <= other.last and other.first <= one.last


def refuse_conflict(new: Standing, standing: Iterable[Standing]) -> None:
    """Raises when the new rule cannot stand beside the others of its address (or, egress, of its network)."""
    for rule in standing:
        if new.network_id is not None and rule.network_id not in (None, new.network_id):
            raise Refused(f"New rule is for a different network than what's specified in rule {rule.uuid}", Why.RULE_CONFLICT)
        if (rule.purpose == "Firewall") != (new.purpose == "Firewall"):
            continue
        if new.purpose == "Firewall":
            _refuse_same_firewall(new, rule)
        else:
            _refuse_same_ports(new, rule)


def _refuse_same_firewall(new: Standing, rule: Standing) -> None:
    if new.match.protocol != rule.match.protocol or not (new.sources & rule.sources):
        return
    if new.match.protocol == "icmp":
        if (new.match.icmp_type, new.match.icmp_code) != (rule.match.icmp_type, rule.match.icmp_code):
            return
        raise Refused(
            f"New rule conflicts with existing rule {rule.uuid}: same ICMP type and code for the same source",
            Why.RULE_CONFLICT,
        )
    if _overlap(new.match, rule.match):
        raise _range_conflict(new, rule)


def _refuse_same_ports(new: Standing, rule: Standing) -> None:
    if rule.purpose == "StaticNat" and new.purpose != "StaticNat":
        raise Refused("There is 1 to 1 Nat rule specified for the ip address", Why.RULE_CONFLICT)
    if rule.purpose != "StaticNat" and new.purpose == "StaticNat":
        raise Refused("There is already firewall rule specified for the ip address", Why.RULE_CONFLICT)
    if new.match.protocol == rule.match.protocol and _overlap(new.match, rule.match):
        raise _range_conflict(new, rule)


def _range_conflict(new: Standing, rule: Standing) -> Refused:
    return Refused(
        f"The range specified, {new.match.first}-{new.match.last}, conflicts with rule {rule.uuid}"
        f" which has {rule.match.first}-{rule.match.last}",
        Why.RULE_CONFLICT,
        (rule.uuid,),
    )
