"""What VPCs, their tiers, numbered rules and static routes may be. Pure: raises Refused, or returns the parsed parts."""

import ipaddress
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from sysvm.api.rules import firewall
from sysvm.api.rules.firewall import Match
from sysvm.api.rules.subnets import Subnet
from sysvm.basics.errors import Refused

OURS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")  # RFC 1918 and 6598
ACTIONS, TRAFFIC = ("Allow", "Deny"), ("Ingress", "Egress")
WITH_PORTS = ("tcp", "udp")
LARGEST_NUMBER = 65535
SMALLEST_MTU, LARGEST_MTU = 576, 1500


def cidr(text: str) -> str:
    """The addresses of a VPC."""
    whole = _network(text)
    if not any(whole.subnet_of(IPv4Network(ours)) for ours in OURS):
        raise Refused(f"Invalid Cidr for VPC {text}: it must lie within one of {', '.join(OURS)}")
    if not 8 <= whole.prefixlen <= 29:
        raise Refused(f"Invalid Cidr for VPC {text}: its prefix must be from 8 to 29")
    return str(whole)


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text.strip())
    except ValueError:
        raise Refused(f"Invalid CIDR {text}: give the first address of the network and its prefix, as 10.0.0.0/16") from None


def tier(subnet: Subnet, vpc_cidr: str, others: Iterable[str]) -> None:
    """A tier lies in its VPC, and beside its other tiers."""
    own = IPv4Network(subnet.cidr)
    if not own.subnet_of(IPv4Network(vpc_cidr)):
        raise Refused(f"Network cidr {own} is not within vpc cidr {vpc_cidr}")
    for other in others:
        if own.overlaps(IPv4Network(other)):
            raise Refused(f"Network cidr {own} crosses the cidr {other} of another network of the VPC")


def public_mtu(given: int) -> int:
    """Of the router's public interface."""
    if not SMALLEST_MTU <= given <= LARGEST_MTU:
        raise Refused(f"Invalid publicmtu {given}: it is from {SMALLEST_MTU} to {LARGEST_MTU}")
    return given


def one_of(text: str | None, words: tuple[str, ...], name: str) -> str:
    """One of these words, in whatever case; the first one when none is given."""
    found = next((word for word in words if word.lower() == (text or words[0]).strip().lower()), None)
    if found is None:
        raise Refused(f"Invalid {name} {text}: it is {' or '.join(words)}")
    return found


def number(given: int) -> int:
    """Of a rule in its list."""
    if not 1 <= given <= LARGEST_NUMBER:
        raise Refused(f"Invalid number {given}: rules are numbered from 1 to {LARGEST_NUMBER}")
    return given


def match(protocol: str, first: int | None, last: int | None, icmp_type: int | None, icmp_code: int | None) -> Match:
    """What a numbered rule is about: tcp, udp, icmp, all, or the number of a protocol."""
    name = protocol.strip().lower()
    if name.isdigit() and name not in ("1", "6", "17"):
        if int(name) > 255:
            raise Refused(f"Invalid protocol number: {name}; it should be 0-255")
        if any(value is not None for value in (first, last, icmp_type, icmp_code)):
            raise Refused("Ports and ICMP types can be given for tcp, udp and icmp only")
        return Match(name)
    return firewall.match(protocol, first, last, icmp_type, icmp_code, firewall.EGRESS_PROTOCOLS)


def changed(standing: Match, given: Mapping[str, object], protocol: str | None) -> Match:
    """A rule after updateNetworkACLItem: what is not given stays, as far as it fits the protocol."""
    name = protocol or standing.protocol
    kept: dict[str, object] = {}
    if match(name, None, None, None, None).protocol == standing.protocol:
        if standing.protocol in WITH_PORTS:
            kept = {"startport": standing.first, "endport": standing.last}
        elif standing.protocol == "icmp":
            kept = {"icmptype": standing.icmp_type, "icmpcode": standing.icmp_code}
    now = {**kept, **given}
    return match(name, *(_integer(now.get(each)) for each in ("startport", "endport", "icmptype", "icmpcode")))


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


def route(text: str, next_hop: str, vpc_cidr: str, homes: Iterable[tuple[str, str]], standing: Iterable[str]) -> tuple[str, str]:
    """(destination, next hop) of a static route. `homes` are (cidr, the router's own address) of the networks that the VPC's
    router has; `standing` other routes' destinations."""
    whole = _network(text)
    if whole.prefixlen == 0 or any(whole.overlaps(IPv4Network(bad)) for bad in ("169.254.0.0/16", "127.0.0.0/8", "224.0.0.0/3")):
        raise Refused(f"The CIDR {whole} can't be routed: it is everything, or has another purpose")
    if whole.overlaps(IPv4Network(vpc_cidr)):
        raise Refused(f"CIDR should be outside of VPC cidr {vpc_cidr}")
    for other in standing:
        if whole.overlaps(IPv4Network(other)):
            raise Refused(f"New static route cidr {whole} conflicts with existing one {other}")
    try:
        hop = ipaddress.IPv4Address(next_hop.strip())
    except ValueError:
        raise Refused(f"Invalid next hop {next_hop}: give an IPv4 address") from None
    home = next((own for inside, own in homes if hop in IPv4Network(inside)), None)
    if home is None:
        raise Refused(f"The next hop {hop} is in no network of the VPC, nor in that of a private gateway")
    if str(hop) == home:
        raise Refused(f"The next hop {hop} is the VPC's own router")
    return str(whole), str(hop)


def beside(cidr: str, gateways: Iterable[str]) -> None:
    """A static route leads to none of the private gateways' own networks: these the router has at hand."""
    for other in gateways:
        if IPv4Network(cidr).overlaps(IPv4Network(other)):
            raise Refused(f"New static route cidr {cidr} conflicts with {other}, the network of a private gateway")


def is_in(address: str, cidr: str) -> bool:
    """Whether this is an address of the network."""
    try:
        return ipaddress.IPv4Address(address.strip()) in IPv4Network(cidr)
    except ValueError:
        return False
