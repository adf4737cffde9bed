"""What the range of a VPN's clients, a user's name and a password may be. Pure: raises Refused with CloudStack's texts."""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from sysvm.basics.errors import Refused

PORTS = (500, 4500, 1701)  # IKE, ESP inside UDP, L2TP
LARGEST = 1 << 16
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9@._-]{2,63}")
_PASSWORD = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9@+=._-]{2,31}")
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"  # nobody takes O for 0


def clients(text: str, taken: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """First and last address of clients: the range without its first one, which CloudStack keeps for the server.

    `taken` are (what, CIDR) that the range must not touch.
    """
    ends = text.strip().split("-")
    if len(ends) != 2:
        raise Refused(f"Invalid ip range: {text}; give it as 10.1.2.1-10.1.2.8")
    try:
        first, last = IPv4Address(ends[0].strip()), IPv4Address(ends[1].strip())
    except AddressValueError:
        raise Refused(f"Invalid ip in range specification {text}") from None
    if first >= last:
        raise Refused(f"Invalid ip range {text}: it holds no address beside the server's, which is the first one")
    if int(last) - int(first) >= LARGEST:
        raise Refused(f"Invalid ip range {text}: more than {LARGEST} addresses")
    if not _may_be_clients(first, last):
        raise Refused(f"Invalid ip range {text}: these addresses cannot be clients'")
    for what, cidr in taken:
        there = IPv4Network(cidr, strict=False)
        if first <= there.broadcast_address and there.network_address <= last:
            raise Refused(f"Invalid ip range: {text} overlaps with {what} {cidr}")
    return str(first + 1), str(last)


def _may_be_clients(first: IPv4Address, last: IPv4Address) -> bool:
    special = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
    nets = [IPv4Network(text) for text in special]
    return not any(first <= net.broadcast_address and net.network_address <= last for net in nets)


def name(text: str) -> str:
    """The name of a user."""
    if not _NAME.fullmatch(text):
        raise Refused("Username has to begin with a letter or digit, and has 3-64 characters: letters, digits and the set '@.-_'")
    return text


def password(text: str) -> str:
    """The password of a user."""
    if not _PASSWORD.fullmatch(text):
        raise Refused(
            "Password has to begin with a letter or digit, and has 3-32 characters: letters, digits and the set '@+=.-_'"
        )
    return text


def preshared_key(numbers: Iterable[int]) -> str:
    """A key made of random numbers below `LETTERS`."""
    return "".join(_LETTERS[number] for number in numbers)


LETTERS = len(_LETTERS)
