"""What a customer gateway of a site-to-site VPN may be. Pure: raises Refused with CloudStack's texts.

Policies are lists of "cipher-hash", with ";group" behind it, which IKE needs and ESP may have.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from itertools import combinations

from sysvm.basics.errors import Refused

LONGEST_S, SHORTEST_S = 86400, 60
IKE_S, ESP_S = 86400, 3600
VERSIONS = ("ike", "ikev1", "ikev2")
_CIPHERS = frozenset(("3des", "aes128", "aes192", "aes256"))
_HASHES = frozenset(("md5", "sha1", "sha256", "sha384", "sha512"))
_GROUPS = frozenset(f"modp{bits}" for bits in (1024, 1536, 2048, 3072, 4096, 6144, 8192))
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBERS = re.compile(r"[0-9.]+")


def gateway(text: str) -> str:
    """The address or the name of the other side."""
    given = text.strip()
    try:
        found = IPv4Address(given)
    except AddressValueError:
        labels = given.lower().split(".")
        if len(given) <= 253 and len(labels) > 1 and not _NUMBERS.fullmatch(given) and all(map(_LABEL.fullmatch, labels)):
            return given
        raise Refused(f"The customer gateway ip/Domain {text} is invalid!") from None
    if found.is_unspecified or found.is_loopback or found.is_multicast or int(found) == (1 << 32) - 1:
        raise Refused(f"The customer gateway ip/Domain {text} is invalid!")
    return given


def cidrs(text: str, most: int, far: str) -> tuple[str, ...]:
    """The networks behind the gateway `far`, as they were given."""
    given = tuple(part.strip() for part in text.split(","))
    for part in given:
        if "/" not in part or _parsed(part) is None:
            raise Refused(f"The customer gateway peer cidr list {text} contains an invalid cidr!")
    if len(given) > most:
        raise Refused(f"Too many subnets of customer gateway! The limit is {most}")
    for one, other in combinations(given, 2):
        if overlap(one, other):
            raise Refused(f"The subnet of customer gateway {one} is overlapped with another subnet {other} of customer gateway!")
    if _NUMBERS.fullmatch(far) and any(overlap(f"{far}/32", each) for each in given):
        raise Refused(f"The customer gateway {far} is inside of its own cidr list {text}: nobody could reach it")
    return given


def _parsed(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def overlap(one: str, other: str) -> bool:
    """Whether two networks have an address in common."""
    return IPv4Network(one, strict=False).overlaps(IPv4Network(other, strict=False))


def policy(kind: str, text: str) -> str:
    """A policy for IKE or ESP."""
    if not all(_is_policy(part, needs_group=kind == "IKE") for part in text.split(",")):
        more = "  Verify the required Diffie Hellman (DH) group is specified." if kind == "IKE" else ""
        raise Refused(f"The customer gateway {kind} policy {text} is invalid!{more}")
    return text


def _is_policy(text: str, *, needs_group: bool) -> bool:
    proposal, has_group, group = text.partition(";")
    cipher, _, hash_ = proposal.partition("-")
    if cipher not in _CIPHERS or hash_ not in _HASHES:
        return False
    return group in _GROUPS if has_group else not needs_group


def lifetime(kind: str, seconds: int | None, default: int) -> int:
    """How long keys of IKE or ESP are used."""
    if seconds is None:
        return default
    if seconds > LONGEST_S:
        raise Refused(f"The {kind} lifetime {seconds} of vpn customer gateway is too long! It should be less than {LONGEST_S}")
    if seconds < SHORTEST_S:
        raise Refused(f"The {kind} lifetime {seconds} of vpn customer gateway is too short: give {SHORTEST_S} seconds at least")
    return seconds


def version(text: str | None) -> str:
    """Which IKE is spoken."""
    given = (text or VERSIONS[0]).lower()
    if given not in VERSIONS:
        raise Refused(f"The IKE version {text} of the customer gateway is invalid; valid values are ike, ikev1, and ikev2")
    return given


def preshared_key(text: str) -> str:
    """What both sides know."""
    if not text or not text.isprintable():
        raise Refused("The customer gateway preshared key has to have characters, and no control characters")
    return text


def refuse_overlap(customer: str, far: Iterable[str], near: str, others: Iterable[str]) -> None:
    """The networks behind a customer gateway must be neither in the VPC nor behind another of its connections."""
    there = tuple(others)
    for cidr in far:
        if overlap(cidr, near):
            raise Refused(f"The subnets of customer gateway {customer} subnet {cidr} is overlapped with VPC cidr {near}!")
        for other in there:
            if overlap(cidr, other):
                raise Refused(
                    f"The subnet of customer gateway {customer} subnet {cidr} is overlapped with {other},"
                    " which another VPN connection of the gateway has"
                )
