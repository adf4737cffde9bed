"""Ranges of addresses: parsing, and what may lie beside what.

Pure: what already exists is handed in. Sizes are bounded here because every public address becomes a row.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from sysvm.basics.errors import Refused

LARGEST_RANGE = 65536  # addresses; a public range becomes that many rows
LARGEST_VLAN = 4094
LARGEST_VNI = 16777215
UNTAGGED = "untagged"
OUTSIDE = ("Public", "Portable")  # what people elsewhere reach


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses of one subnet, from `first` to `last`."""

    subnet: IPv4Network
    gateway: IPv4Address
    first: IPv4Address
    last: IPv4Address

    @property
    def netmask(self) -> str:
        """255.255.255.0."""
        return str(self.subnet.netmask)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Existing:
    """A range that is there already."""

    traffic: str
    zone: str
    subnet: IPv4Network
    first: IPv4Address
    last: IPv4Address
    vlan: str


def ipv4(text: str, name: str) -> IPv4Address:
    """The address of a parameter."""
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise Refused(f"Please enter a valid IPv4 address for {name}; {text!r} is none") from None


def resolver(text: str | None, name: str) -> str:
    """The address of a DNS server of either family, or an empty string."""
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise Refused(f"Please enter a valid IP address for {name}; {text!r} is none") from None


def subnet_of(gateway: str, netmask: str) -> IPv4Network:
    """The network that gateway and netmask describe."""
    at = ipv4(gateway, "gateway")
    mask = ipv4(netmask, "netmask")
    try:
        network = IPv4Network(f"{at}/{mask}", strict=False)
    except ValueError:
        raise Refused(f"The netmask {netmask} is not a netmask such as 255.255.255.0") from None
    if network.netmask != mask:  # a host mask such as 0.0.0.255 parses, too
        raise Refused(f"The netmask {netmask} is not a netmask such as 255.255.255.0")
    if network.prefixlen > 30:
        raise Refused(f"The subnet {network} is too small: it holds no gateway and address beside it")
    if at in (network.network_address, network.broadcast_address):
        raise Refused(f"The gateway {gateway} is the network or broadcast address of {network}")
    return network


def span(gateway: str, netmask: str, first: str, last: str | None) -> Span:
    """A range inside the subnet of its gateway, the gateway not in it."""
    network = subnet_of(gateway, netmask)
    begin = ipv4(first, "startip")
    end = ipv4(last, "endip") if last else begin
    for at in (begin, end):
        if at not in network:
            raise Refused(f"The address {at} is not in the subnet {network} of gateway {gateway}, netmask {netmask}")
        if at in (network.network_address, network.broadcast_address):
            raise Refused(f"The address {at} is the network or broadcast address of {network}")
    if begin > end:
        raise Refused(f"The start address {begin} comes after the end address {end}")
    if int(end) - int(begin) + 1 > LARGEST_RANGE:
        size = int(end) - int(begin) + 1
        raise Refused(f"The range {begin}-{end} holds {size} addresses; at most {LARGEST_RANGE} are possible in one range")
    at = ipv4(gateway, "gateway")
    if begin <= at <= end:
        raise Refused(f"The gateway {gateway} shouldn't be in the range {begin}-{end}")
    return Span(network, at, begin, end)


def vlan(text: str | None) -> str:
    """ "untagged" or the number of a VLAN as text; vlan:// before it is accepted."""
    bare = (text or UNTAGGED).strip().lower().removeprefix("vlan://")
    if bare in (UNTAGGED, "0", ""):
        return UNTAGGED
    if not bare.isdecimal() or not 1 <= int(bare) <= LARGEST_VLAN:
        raise Refused(f"The VLAN {text!r} is neither 'untagged' nor a number from 1 to {LARGEST_VLAN}")
    return str(int(bare))


def vnet(text: str | None, *, largest: int = LARGEST_VNI) -> str:
    """ "100-200" or "100-200,300" of a physical network, normalised; empty when not given."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    found: list[tuple[int, int]] = []
    for part in parts:
        first, dash, last = part.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            raise Refused(f"Please specify a valid vlan range such as 100-199; {part!r} is none")
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high <= largest:
            raise Refused(f"The vlan range {part} must rise and lie between 1 and {largest}")
        if any(low <= other[1] and other[0] <= high for other in found):
            raise Refused(f"The vlan range {part} overlaps another one of {text}")
        found.append((low, high))
    return ",".join(f"{low}-{high}" for low, high in sorted(found))


def in_vnet(number: str, ranges: str) -> bool:
    """Whether a VLAN lies in the ranges of a physical network."""
    if not number.isdecimal():
        return False
    pairs = (part.partition("-") for part in ranges.split(",") if part)
    return any(int(low) <= int(number) <= int(high or low) for low, _, high in pairs)


def refuse_overlap(new: Span, others: Iterable[Existing], *, traffic: str, zone: str) -> None:
    """Addresses of public, portable, management and storage ranges are given out once in the whole cloud. A portable range is
    of all zones: it or the other one has an empty `zone`."""
    for other in others:
        if new.first <= other.last and other.first <= new.last:
            where = f"zone {other.zone}" if other.zone else "all zones"
            raise Refused(
                f"The range {new} overlaps the {other.traffic.lower()} range {other.first}-{other.last} of {where}; "
                "choose addresses that no other range has"
            )
        mixed = (traffic in OUTSIDE) != (other.traffic in OUTSIDE)
        near = other.zone == zone or not (zone and other.zone)
        if mixed and near and new.subnet.overlaps(other.subnet):
            raise Refused(
                f"The subnet {new.subnet} of this {traffic.lower()} range overlaps the subnet {other.subnet} of a "
                f"{other.traffic.lower()} range of this zone; public and private addresses must be of different subnets"
            )


def guest_cidr(text: str) -> str:
    """The CIDR for guest networks whose maker names none."""
    try:
        network = IPv4Network(text.strip(), strict=False)
    except ValueError:
        raise Refused(f"Please enter a valid guest cidr such as 10.1.1.0/24; {text!r} is none") from None
    if not network.is_private:
        raise Refused(f"The guest cidr {network} is not a private one; use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    if network.prefixlen > 29:
        raise Refused(f"The guest cidr {network} is too small; at most /29")
    return str(network)
