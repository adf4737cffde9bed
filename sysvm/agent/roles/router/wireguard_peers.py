"""WireGuard's side of a router's document: what is acceptable, what `wg` is told, what it says is there. Pure."""

import binascii
from collections.abc import Collection, Mapping
from ipaddress import IPv4Interface, ip_address

import msgspec

from sysvm.agent.roles.router.service import Wrong, address, interface, network
from sysvm.wire.documents import RouterDocument
from sysvm.wire.wireguard import WireGuardPeer

DEVICE = "wg0"
_WHERE = "wireguard"
_KEY_BYTES = 32
_AROUND = 80  # bytes that WireGuard puts around a packet, over IPv6 at most
_LEAST_MTU = 576


class Wanted(msgspec.Struct, frozen=True):
    """The interface and who comes in by it."""

    private_key: str
    port: int
    address: str  # with prefix
    mtu: int
    peers: tuple[tuple[str, str], ...]  # public key, address; sorted

    def text(self) -> str:
        """What `wg syncconf` reads."""
        lines = ["[Interface]", f"PrivateKey = {self.private_key}", f"ListenPort = {self.port}"]
        for key, home in self.peers:
            lines += ["[Peer]", f"PublicKey = {key}", f"AllowedIPs = {home}/32"]
        return "\n".join(lines) + "\n"


class Live(msgspec.Struct, frozen=True):
    """What `wg` says is there."""

    private_key: str
    port: int
    peers: tuple[tuple[str, str], ...]


def render(document: RouterDocument) -> Wanted | None:
    """The interface; None: nobody, ever. Raises Wrong."""
    said = document.wireguard
    if said is None:
        return None
    if not 1 <= said.port <= 65535:
        raise Wrong(f"{_WHERE}: {said.port} is no port", "give one from 1 to 65535")
    address(said.public, _WHERE)
    for text in said.networks:
        network(text, _WHERE)
    own = interface(said.address, _WHERE)
    public = [each.mtu for each in document.interfaces if each.role == "public"]
    return Wanted(
        private_key=_key(said.private_key),
        port=said.port,
        address=str(own),
        mtu=max(_LEAST_MTU, min(public, default=1500) - _AROUND),
        peers=_peers(said.peers, own),
    )


def _peers(said: tuple[WireGuardPeer, ...], own: IPv4Interface) -> tuple[tuple[str, str], ...]:
    peers = tuple(sorted((_key(peer.key), address(peer.address, _WHERE)) for peer in said))
    for _, home in peers:
        if interface(home, _WHERE).ip not in own.network or home == str(own.ip):
            raise Wrong(f"{_WHERE}: {home} is no address of a peer in {own}", "give each peer one of the range")
    if len({key for key, _ in peers}) < len(peers) or len({home for _, home in peers}) < len(peers):
        raise Wrong(f"{_WHERE}: two peers have the same key or address", "give each its own")
    return peers


def _key(text: str) -> str:
    """A key as `wg` writes it. The key is no part of the message: it may be a private one."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES or binascii.b2a_base64(raw, newline=False).decode() != text:
        raise Wrong(f"{_WHERE}: a key is not {_KEY_BYTES} bytes in base64", "give it as `wg genkey` does")
    return text


def parse_dump(text: str) -> Live | None:
    """What `wg show wg0 dump` has said; None when that is nothing."""
    first, *rest = [line.split("\t") for line in text.splitlines()] or [[]]
    if len(first) != 4 or not first[2].isdecimal():
        return None
    peers = tuple(sorted((line[0], line[3].removesuffix("/32")) for line in rest if len(line) == 8))
    return Live(first[0], int(first[2]), peers)


def differing(wanted: Wanted, live: Live | None) -> str:
    """How it differs, in words that hold no key."""
    if live is None:
        return f"nothing is known of {DEVICE}"
    if live.private_key != wanted.private_key:
        return f"{DEVICE} has another key"
    if live.port != wanted.port:
        return f"{DEVICE} listens at port {live.port}, not {wanted.port}"
    return "" if live.peers == wanted.peers else f"{DEVICE} has other peers"


def endpoints(text: str) -> dict[str, str]:
    """Key -> where it was last seen, of what wireguard-go's own socket says."""
    found, key = {}, ""
    for word, _, value in (line.partition("=") for line in text.splitlines()):
        if word == "public_key":
            key = binascii.b2a_base64(bytes.fromhex(value), newline=False).decode()
        elif word == "endpoint":
            found[key] = value
    return found


def unsent(text: str, keys: Collection[str]) -> bool:
    """Whether nothing has been sent yet to one of these peers, as wireguard-go's own socket says."""
    key = ""
    for word, _, value in (line.partition("=") for line in text.splitlines()):
        if word == "public_key":
            key = binascii.b2a_base64(bytes.fromhex(value), newline=False).decode()
        elif word == "tx_bytes" and value == "0" and key in keys:
            return True
    return False


def greeting(wanted: Wanted, known: Mapping[str, str], *, keepalive: str) -> str:
    """What `wg addconf` reads of peers that are wanted and whose endpoint is known."""
    lines = []
    for key, home in wanted.peers:
        if key in known and _is_endpoint(known[key]):
            lines += ["[Peer]", f"PublicKey = {key}", f"AllowedIPs = {home}/32", f"Endpoint = {known[key]}"]
            lines.append(f"PersistentKeepalive = {keepalive}")
    return "\n".join(lines) + "\n" if lines else ""


def _is_endpoint(text: str) -> bool:
    host, _, port = text.rpartition(":")
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def said_by_socket(text: str) -> tuple[str, ...]:
    """The lines of wireguard-go's own socket that do not change by themselves."""
    kept = ("private_key=", "listen_port=", "public_key=", "allowed_ip=")
    return tuple(line for line in text.splitlines() if line.startswith(kept))
