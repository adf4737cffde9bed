"""What a private gateway of a VPC may be: its addresses, what it is plugged into. Pure: raises Refused, or returns the parts."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from sysvm.api.rules import ranges
from sysvm.basics.errors import Refused

UNTAGGED = "untagged"
LARGEST = {"vlan": ranges.LARGEST_VLAN, "vxlan": ranges.LARGEST_VNI}
UNUSABLE = ("169.254.0.0/16", "127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Place:
    """The network that it leads to, the machine there that routes lead to, and the address of the VPC's router."""

    cidr: str
    gateway: str
    address: str


@dataclass(frozen=True, slots=True)
class Tag:
    """How its network is told apart: none (untagged), vlan or vxlan."""

    isolation: str
    number: int | None

    def __str__(self) -> str:
        return f"{self.isolation}://{self.number}" if self.number is not None else UNTAGGED


def place(gateway: str, address: str, netmask: str) -> Place:
    """Both addresses are of one network, and two."""
    whole = ranges.subnet_of(gateway, netmask)
    for bad in UNUSABLE:
        if whole.overlaps(IPv4Network(bad)):
            raise Refused(f"{whole} cannot be a private gateway's network: {bad} has another purpose")
    door, own = ranges.ipv4(gateway, "gateway"), ranges.ipv4(address, "ipaddress")
    if own not in whole:
        raise Refused(f"The ip address {own} isn't in the subnet {whole} of gateway {door}, netmask {netmask}")
    if own in (whole.network_address, whole.broadcast_address):
        raise Refused(f"The ip address {own} is the network or broadcast address of {whole}")
    if own == door:
        raise Refused(
            f"The ip address {own} is the gateway's: ipaddress is the VPC's router, gateway the machine that routes lead to"
        )
    return Place(str(whole), str(door), str(own))


def apart(cidr: str, others: Iterable[tuple[str, str]]) -> None:
    """The router tells networks apart by their addresses; `others` are (what has them, CIDR)."""
    own = IPv4Network(cidr)
    for what, other in others:
        if own.overlaps(IPv4Network(other)):
            raise Refused(f"The private gateway's network {own} overlaps {other}, the {what}")


def tag(text: str, method: str) -> Tag:
    """ "100", "vlan://100", "vxlan://5001" or "untagged"; a bare number is what the physical network isolates by."""
    scheme, _, bare = text.strip().lower().rpartition("://")
    if bare == UNTAGGED and scheme in ("", "vlan"):
        return Tag("none", None)
    isolation = scheme or method
    if isolation not in LARGEST or not bare.isdecimal() or not 1 <= int(bare) <= LARGEST[isolation]:
        most = LARGEST.get(isolation, ranges.LARGEST_VLAN)
        raise Refused(f"Invalid vlan {text}: it is untagged, or a number from 1 to {most}, as vlan://100 or vxlan://5001")
    return Tag(isolation, int(bare))
