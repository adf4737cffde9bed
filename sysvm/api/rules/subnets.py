"""Addresses of a guest network: which CIDRs, gateways and ranges can be, and what follows from what is given.

Pure: raises Refused with what to change.
"""

import ipaddress
import re
from dataclasses import dataclass

from sysvm.basics.errors import Refused

SMALLEST_PREFIX, LARGEST_PREFIX = 30, 8
_label = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_tag_in_uri = re.compile(r"(?:vlan|vxlan)://(\d+|untagged)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subnet:
    """A guest network's addresses; `first` to `last` go to guests."""

    cidr: str
    gateway: str
    netmask: str
    first: str
    last: str

    @property
    def prefix(self) -> int:
        """24 of 10.1.1.0/24."""
        return ipaddress.ip_network(self.cidr).prefixlen


def _address(text: str, name: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text.strip())
    except ValueError:
        raise Refused(f"Invalid {name}: {text}; expected an IPv4 address") from None


def of_cidr(cidr: str) -> Subnet:
    """The usual layout: gateway first, guests after it."""
    try:
        whole = ipaddress.IPv4Network(cidr.strip())
    except ValueError:
        raise Refused(f"Invalid CIDR {cidr}") from None
    first = whole.network_address + 1
    return subnet(str(first), str(whole.netmask))


def subnet(gateway: str, netmask: str, start: str | None = None, end: str | None = None) -> Subnet:
    """A subnet from its gateway and netmask; guests get addresses from `start` to `end`, or all but the gateway."""
    door = _address(gateway, "gateway")
    try:
        whole = ipaddress.IPv4Network(f"{door}/{netmask.strip()}", strict=False)
    except ValueError:
        raise Refused(f"Invalid netmask: {netmask}") from None
    if not LARGEST_PREFIX <= whole.prefixlen <= SMALLEST_PREFIX:
        raise Refused(f"Invalid netmask {netmask}: a guest network has between 4 and 2^24 addresses")
    if door in (whole.network_address, whole.broadcast_address):
        raise Refused(f"The gateway {door} is the first or last address of {whole}; it must be between them")
    _refuse_unusable(whole)
    first = _address(start, "startip") if start else whole.network_address + 1
    last = _address(end, "endip") if end else (first if start else whole.broadcast_address - 1)
    _check_range(whole, first, last)
    return Subnet(str(whole), str(door), str(whole.netmask), str(first), str(last))


def _refuse_unusable(whole: ipaddress.IPv4Network) -> None:
    for bad in ("169.254.0.0/16", "127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8"):
        if whole.overlaps(ipaddress.IPv4Network(bad)):
            raise Refused(f"{whole} cannot be a guest network: {bad} has another purpose")


def _check_range(whole: ipaddress.IPv4Network, first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> None:
    if first not in whole:
        raise Refused(f"startip {first} is not in {whole}")
    if last not in whole:
        raise Refused(f"endip {last} is not in {whole}")
    if first > last:
        raise Refused(f"startip {first} is after endip {last}")


def guest_part(cidr: str, part: str) -> tuple[str, str, str]:
    """`guestvmcidr`: first and last address for guests, and the rest as the reserved range."""
    whole = ipaddress.IPv4Network(cidr)
    try:
        inner = ipaddress.IPv4Network(part.strip())
    except ValueError:
        raise Refused("Invalid format of Guest VM CIDR.") from None
    if not inner.subnet_of(whole):
        raise Refused(f"Invalid value of Guest VM CIDR. For IP Reservation, Guest VM CIDR should be a subset of {cidr}")
    if inner == whole:
        raise Refused("The Reservation in effect covers the whole network; give a smaller Guest VM CIDR")
    rest = []
    if inner.network_address > whole.network_address:
        rest.append(f"{whole.network_address}-{inner.network_address - 1}")
    if inner.broadcast_address < whole.broadcast_address:
        rest.append(f"{inner.broadcast_address + 1}-{whole.broadcast_address}")
    return str(inner.network_address), str(inner.broadcast_address), ",".join(rest)


def check_domain(name: str) -> str:
    """A network domain such as "cs1.example.org"."""
    labels = name.split(".")
    if len(name) > 190 or not all(_label.fullmatch(label) for label in labels):
        raise Refused(
            "Invalid network domain. Total length shouldn't exceed 190 chars. Each domain label must be between 1 and"
            " 63 characters long, can contain ASCII letters 'a' through 'z', the digits '0' through '9', and the hyphen"
            " ('-'); can't start or end with \"-\""
        )
    return name.lower()


def check_hostname(name: str) -> str:
    """The name of a guest: one RFC 1123 label that is not a number."""
    if not _label.fullmatch(name) or name.isdigit():
        raise Refused(
            "Invalid name. Vm name can contain ASCII letters 'a' through 'z', the digits '0' through '9', and the hyphen"
            " ('-'), must be between 1 and 63 characters long, and can't start or end with \"-\" and can't start with digit"
        )
    if name[0].isdigit():
        raise Refused("Invalid name. Vm name can't start with a digit")
    return name


def vlan_tag(text: str | None) -> int | None:
    """The tag of "vlan://120", "120" or "untagged" (None)."""
    if text is None or not text.strip():
        return None
    value = text.strip().lower()
    found = _tag_in_uri.fullmatch(value)
    value = found.group(1) if found else value
    if value == "untagged":
        return None
    if not value.isdigit() or not 1 <= int(value) <= 4094:
        raise Refused(f"Invalid VLAN {text}: it must be untagged or a number from 1 to 4094")
    return int(value)


def tag_ranges(text: str, top: int) -> list[tuple[int, int]]:
    """ "500-599,700" as inclusive ranges."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise Refused(f"Invalid VLAN range {part}")
        begin, end = int(first), int(last or first)
        if not 1 <= begin <= end <= top:
            raise Refused(f"Invalid VLAN range {part}")
        found.append((begin, end))
    return found
