"""What a WireGuard peer's name and key may be, which range and address it gets, and its file. Pure: raises Refused."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sysvm.basics.errors import Refused, Why

LARGEST_PREFIX, SMALLEST_PREFIX = 22, 30  # a router looks at a thousand peers in some milliseconds
_BYTES = 32
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9 @._-]{0,62}[a-zA-Z0-9@._-])?")
_SPECIAL = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
_KEEPALIVE_S = 25  # what is behind NAT can be reached


@dataclass(frozen=True, slots=True)
class Pair:
    """A key, in WireGuard's base64."""

    private: str
    public: str


def pair(token: str) -> Pair:
    """The key that 32 random bytes (URL-safe base64) make, clamped as `wg genkey` does it."""
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[0] &= 248
    raw[31] = (raw[31] & 127) | 64
    public = X25519PrivateKey.from_private_bytes(bytes(raw)).public_key().public_bytes_raw()
    return Pair(base64.b64encode(raw).decode(), base64.b64encode(public).decode())


def public_key(text: str) -> str:
    """The public key of a peer, strictly: what `wg pubkey` says."""
    given = text.strip()
    try:
        raw = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _BYTES or base64.b64encode(raw).decode() != given:
        raise Refused("Invalid public key: expected 32 bytes in base64, as `wg pubkey` prints them")
    try:
        # A point that makes every secret zero lets everybody in.
        X25519PrivateKey.from_private_bytes(b"\1" * _BYTES).exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise Refused("Invalid public key: no private key belongs to it") from None
    return given


def name(text: str) -> str:
    """The name of a peer."""
    if not _NAME.fullmatch(text):
        raise Refused(
            "The name of a peer has 1-64 characters, letters, digits and the set ' @.-_', and begins with a letter or digit"
        )
    return text


def clients(text: str, taken: Iterable[tuple[str, str]]) -> str:
    """The range of peers, as a CIDR. `taken` are (what, CIDR) that it must not touch."""
    try:
        whole = IPv4Network(text.strip())
    except ValueError:
        raise Refused(f"Invalid ip range: {text}; give it as 10.253.0.0/24, without bits after the prefix") from None
    if not LARGEST_PREFIX <= whole.prefixlen <= SMALLEST_PREFIX:
        raise Refused(f"Invalid ip range {text}: its prefix is from /{LARGEST_PREFIX} to /{SMALLEST_PREFIX}")
    if any(whole.overlaps(IPv4Network(special)) for special in _SPECIAL):
        raise Refused(f"Invalid ip range {text}: these addresses cannot be peers'")
    for what, cidr in taken:
        if whole.overlaps(IPv4Network(cidr, strict=False)):
            raise Refused(f"Invalid ip range: {text} overlaps with {what} {cidr}")
    return str(whole)


def free_address(cidr: str, used: Collection[str]) -> str:
    """The first address of the range that is neither the router's nor a peer's."""
    whole = IPv4Network(cidr)
    last = whole.num_addresses - 1
    for number in range(2, last):
        if (found := str(whole.network_address + number)) not in used:
            return found
    raise Refused(f"All {last - 2} addresses for peers in {cidr} are used", Why.LIMIT)


def between(first: str, last: str) -> Sequence[str]:
    """The CIDRs of a range of addresses."""
    return [str(each) for each in summarize_address_range(IPv4Address(first), IPv4Address(last))]


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer comes in: what its file says."""

    address: str
    dns: str  # empty: the network serves no names
    server_key: str
    allowed: tuple[str, ...]
    endpoint: str


def configuration(way: Way, private_key: str) -> str:
    """The file for wg-quick, and for the programs that read such files; without the private key it is the peer's to fill in."""
    own = f"PrivateKey = {private_key}" if private_key else "# PrivateKey = (that of the peer's public key)"
    names = [f"DNS = {way.dns}"] if way.dns else []
    lines = [
        "[Interface]",
        own,
        f"Address = {way.address}/32",
        *names,
        "",
        "[Peer]",
        f"PublicKey = {way.server_key}",
        f"AllowedIPs = {', '.join(way.allowed)}",
        f"Endpoint = {way.endpoint}",
        f"PersistentKeepalive = {_KEEPALIVE_S}",
    ]
    return "\n".join(lines) + "\n"
