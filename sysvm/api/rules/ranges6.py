"""Ranges of IPv6 addresses for guests of shared networks: parsing, and what can be. Pure.

The prefix is 64 bits long, as CloudStack has it: an address is made of it and a NIC's MAC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from sysvm.basics.errors import Refused

PARAMETERS = ("startipv6", "endipv6", "ip6gateway", "ip6cidr")
PREFIX = 64


@dataclass(frozen=True, slots=True)
class Span6:
    """Addresses of one subnet, from `first` to `last`."""

    subnet: IPv6Network
    gateway: IPv6Address
    first: IPv6Address
    last: IPv6Address

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def is_given(params: Mapping[str, Any]) -> bool:
    """Whether a call speaks of IPv6."""
    return any(params.get(name) for name in PARAMETERS)


def span(params: Mapping[str, Any]) -> Span6 | None:
    """The range of a call: all addresses of ip6cidr, or those from startipv6 to endipv6."""
    if not is_given(params):
        return None
    if not (params.get("ip6gateway") and params.get("ip6cidr")):
        raise Refused("ip6gateway and ip6cidr should be defined together when IPv6 addresses are given")
    subnet = _subnet(params["ip6cidr"])
    gateway = _inside(params["ip6gateway"], "ip6gateway", subnet)
    if params.get("endipv6") and not params.get("startipv6"):
        raise Refused("endipv6 needs startipv6")
    if not params.get("startipv6"):
        return Span6(subnet, gateway, subnet.network_address + 1, subnet.broadcast_address)
    first = _inside(params["startipv6"], "startipv6", subnet)
    last = _inside(params["endipv6"], "endipv6", subnet) if params.get("endipv6") else first
    if first > last:
        raise Refused(f"startipv6 {first} is after endipv6 {last}")
    return Span6(subnet, gateway, first, last)


def prefix(text: str) -> IPv6Network:
    """A prefix of guest networks: a subnet of 64 bits, or what holds several of them."""
    try:
        found = IPv6Network(text.strip())
    except ValueError:
        raise Refused(f"Invalid prefix {text}; expected an IPv6 network such as 2001:db8:100::/48") from None
    if not 16 <= found.prefixlen <= PREFIX:
        raise Refused(f"The prefix {found} must have 16 to {PREFIX} bits: each network gets {PREFIX} of them")
    return _for_guests(found)


def _subnet(text: str) -> IPv6Network:
    try:
        subnet = IPv6Network(text.strip())
    except ValueError:
        raise Refused(f"Invalid ip6cidr {text}; expected an IPv6 network such as 2001:db8:1:2::/64") from None
    if subnet.prefixlen != PREFIX:
        raise Refused(f"The cidr size of IPv6 network must be {PREFIX} bits; {subnet} has {subnet.prefixlen}")
    return _for_guests(subnet)


def _for_guests(subnet: IPv6Network) -> IPv6Network:
    if subnet.is_multicast or subnet.is_link_local or subnet.is_loopback or subnet.is_unspecified:
        raise Refused(f"{subnet} cannot be a guest network: it has another purpose")
    return subnet


def _inside(text: str, name: str, subnet: IPv6Network) -> IPv6Address:
    try:
        address = IPv6Address(text.strip())
    except ValueError:
        raise Refused(f"Invalid {name}: {text}; expected an IPv6 address") from None
    if address not in subnet:
        raise Refused(f"{name} {address} is not in ip6cidr {subnet}")
    if address == subnet.network_address:
        raise Refused(f"{name} {address} is the anycast address of all routers of {subnet}")
    return address
