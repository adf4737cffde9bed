"""Addresses, routes and link settings of the interfaces that the document names; others (control) keep what boot gave.

Interfaces are found by MAC and renamed. What differs is changed in one `ip -batch`; what is right is not touched, so a
second apply does nothing and no connection notices. New addresses are announced (gratuitous ARP, unsolicited neighbour
advertisements) without a program.
An address that moves from one interface to another is removed before it is added.
"""

import json
import socket
import struct
from collections.abc import Hashable
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import msgspec

from sysvm.agent import netlink
from sysvm.agent.boot import links, renames
from sysvm.agent.command import CommandFailed, run
from sysvm.agent.roles.router import pairing
from sysvm.agent.roles.router.service import Wrong, device, mac
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

_ROLES = {"guest", "control", "public", "private"}
_SETTINGS = {
    # Answers may leave by another interface than the asker's (several public networks).
    "rp_filter": "0",
    "accept_redirects": "0",
    "send_redirects": "0",
}
_CONF = Path("/proc/sys/net")  # in ipv6/conf: whoever advertises itself to guests gives a router no address and no way out
_ETH_ARP, _ETH_IP6 = 0x0806, 0x86DD
_ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
_ADVERTISEMENT = b"\x88\x00\x00\x00\xa0\x00\x00\x00"  # type, code, checksum; flags: a router's, overrides


class Wanted(msgspec.Struct, frozen=True):
    """One interface as it must be."""

    device: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    shared: tuple[str, ...] = ()  # of one router of a pair: keepalived's, with the ways out


class Seen(msgspec.Struct, frozen=True):
    """One interface as it is."""

    mtu: int
    up: bool
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]


def render(document: RouterDocument) -> tuple[Wanted, ...]:
    """The interfaces of a document. Raises Wrong."""
    wanted = []
    said = document.redundancy
    for each in pairing.as_backup(document).interfaces:
        name = device(each.device, "interfaces")
        if each.role not in _ROLES:
            raise Wrong(f"{name}: {each.role!r} is no role", "guest, control, public or private")
        if not 576 <= each.mtu <= 65535:
            raise Wrong(f"{name}: an MTU of {each.mtu} cannot be", "576 to 65535")
        addresses = tuple(_interface_address(text, name) for text in each.addresses)
        gateways = tuple(_gateway(text, name) for text in (each.gateway, each.gateway6) if text is not None)
        shared = tuple(_interface_address(text, name) for text in said.shared) if said is not None else ()
        wanted.append(Wanted(name, mac(each.mac, name), each.mtu, addresses, gateways, shared))
    if len({one.mac for one in wanted}) < len(wanted) or len({one.device for one in wanted}) < len(wanted):
        raise Wrong("two interfaces have the same name or MAC", "name each once")
    owners: dict[str, str] = {}
    for one in wanted:
        for text in one.addresses:
            if owners.setdefault(text, one.device) != one.device:
                raise Wrong(f"{text} is on {owners[text]} and {one.device}", "an address belongs to one interface")
    return tuple(wanted)


def _interface_address(text: str, name: str) -> str:
    try:
        return str(ip_interface(text))
    except ValueError:
        raise Wrong(f"{name}: {text!r} is no address with a prefix", "give it as 10.1.1.1/24") from None


def _gateway(text: str, name: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise Wrong(f"{name}: the gateway {text!r} is no address", "give four numbers with dots") from None


def steps(wanted: tuple[Wanted, ...], seen: dict[str, Seen]) -> tuple[str, ...]:
    """`ip` lines from what is to what must be; removals first. Pure."""
    removed, added = [], []
    for each in wanted:
        now = seen.get(each.device, Seen(0, False, (), ()))
        kept = now.addresses
        if now.addresses and each.addresses and now.addresses[0] != each.addresses[0]:
            kept = ()  # the primary address is the first one: all of them are written anew, in order
        removed += [
            f"address del {text} dev {each.device}" for text in now.addresses if text not in kept or text not in each.addresses
        ]
        if now.mtu != each.mtu or not now.up:
            added.append(f"link set dev {each.device} mtu {each.mtu} up")
        nodad = {text: " nodad" if ":" in text else "" for text in each.addresses}
        added += [f"address add {text} dev {each.device}{nodad[text]}" for text in each.addresses if text not in kept]
    for each in wanted:
        now = seen.get(each.device, Seen(0, False, (), ()))
        removed += [f"route del default via {text} dev {each.device}" for text in now.gateways if text not in each.gateways]
        lost = bool(removed) or not now.up  # an address that goes takes its routes along
        added += [
            f"route replace default via {text} dev {each.device}" for text in each.gateways if lost or text not in now.gateways
        ]
    return (*removed, *added)


class Interfaces:
    """The service."""

    name = "interfaces"

    def __init__(self) -> None:
        self._fresh: tuple[Hashable, dict[str, Seen]] | None = None

    def render(self, document: RouterDocument) -> tuple[Wanted, ...]:
        """What every named interface must be. Raises Wrong."""
        return render(document)

    def apply(self, rendering: tuple[Wanted, ...]) -> None:
        """Changes what differs."""
        there = links()
        missing = [each for each in rendering if each.mac not in there]
        if missing:
            raise CommandFailed("ip", ", ".join(f"no interface has the MAC {each.mac} ({each.device})" for each in missing))
        lines = renames({each.mac: each.device for each in rendering}, there)
        if lines:
            _batch(lines)
        for each in rendering:
            _set_kernel(each)
        before, seen = self.fingerprint(), _look(rendering)
        lines = steps(rendering, seen)
        if lines:
            _batch(lines)
        # What needed no change has been read back by this very look.
        self._fresh = None if lines else (before, seen)
        for each in rendering:
            old = seen[each.device].addresses if each.device in seen else ()
            _announce(each, tuple(text for text in each.addresses if text not in old))

    def show(self, rendering: tuple[Wanted, ...]) -> None:
        """All addresses are announced."""
        for each in rendering:
            _announce(each, each.addresses)

    def difference(self, rendering: tuple[Wanted, ...]) -> str:
        """The kernel's addresses, routes and settings against the wanted ones."""
        fresh, self._fresh = self._fresh, None
        seen = fresh[1] if fresh is not None and fresh[0] == self.fingerprint() else _look(rendering)
        lines = steps(rendering, seen)
        settings = [f"{path} is not {value}" for each in rendering for path, value in _settings(each) if not _is(path, value)]
        return "; ".join((*(f"needed: ip {line}" for line in lines[:3]), *settings[:1]))

    def fingerprint(self) -> Hashable:
        """A hash over addresses, routes and the names of interfaces."""
        return netlink.addresses_and_routes(), tuple(sorted(links().items()))

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """None: the kernel does it."""
        return ()

    def stop(self) -> None:
        """Addresses stay until the machine is gone."""


def _batch(lines: tuple[str, ...]) -> None:
    run("ip", "-batch", "-", said="\n".join(lines) + "\n")


def _look(rendering: tuple[Wanted, ...]) -> dict[str, Seen]:
    """All interfaces, in one program; a second one only when a way out over IPv6 is wanted, or may be there."""
    lists = run("ip", "-j", "-batch", "-", said="address show\nroute show default\n").splitlines()
    links_seen, routes = (json.loads(line) for line in lists if line.strip())
    held = (info for link in links_seen for info in link.get("addr_info", ()) if info["scope"] == "global")
    if any(":" in gateway for each in rendering for gateway in each.gateways) or any(":" in each["local"] for each in held):
        routes += json.loads(run("ip", "-6", "-j", "route", "show", "default") or "[]")
    gateways: dict[str, list[str]] = {}
    for route in routes:
        if "gateway" in route:
            gateways.setdefault(route["dev"], []).append(route["gateway"])
    found, shared = {}, frozenset(text for each in rendering for text in each.shared)
    for link in links_seen:
        addresses = tuple(_address(each) for each in link.get("addr_info", ()) if each["scope"] == "global")
        name = link["ifname"]
        ways_out = () if shared else tuple(gateways.get(name, ()))
        own = tuple(text for text in addresses if text not in shared)
        found[name] = Seen(link["mtu"], "UP" in link["flags"], own, ways_out)
    return found


def _address(info: dict[str, Any]) -> str:
    return f"{info['local']}/{info['prefixlen']}"


def _settings(wanted: Wanted) -> list[tuple[Path, str]]:
    conf = _CONF / "ipv4/conf"
    found = [(conf / place / key, value) for place in ("all", wanted.device) for key, value in _SETTINGS.items()]
    if wanted.shared:
        # Servers listen on what the other one has, and an address that goes takes no other one along.
        found.append((_CONF / "ipv4/ip_nonlocal_bind", "1"))
        found.append((conf / wanted.device / "promote_secondaries", "1"))
    own = _CONF / "ipv6/conf" / wanted.device
    if own.exists():
        found.append((own / "accept_ra", "0"))
        if any(":" in text for text in wanted.addresses):
            # Nobody is asked whether the link-local address is taken. It is of a MAC that is unique by the database; only the
            # incarnation that is being replaced could say yes, and without that address no neighbour would ever be found.
            found += [(own / "accept_dad", "0"), (own / "disable_ipv6", "0")]
    return found


def _is(path: Path, value: str) -> bool:
    return path.read_text().strip() == value


def _set_kernel(wanted: Wanted) -> None:
    for path, value in _settings(wanted):
        if not _is(path, value):
            path.write_text(value)


def _announce(wanted: Wanted, fresh: tuple[str, ...]) -> None:
    """Neighbours learn at once who has these addresses."""
    if not fresh:
        return
    hardware = bytes.fromhex(wanted.mac.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as handle:
        handle.bind((wanted.device, 0))
        for own in (ip_interface(text).ip for text in fresh):
            handle.send(_gratuitous(hardware, own.packed) if own.version == 4 else _unsolicited(hardware, own.packed))


def _gratuitous(hardware: bytes, own: bytes) -> bytes:
    """An ARP request for the own address."""
    everyone = b"\xff" * 6
    arp = b"\x00\x01\x08\x00\x06\x04\x00\x01" + hardware + own + everyone + own
    return everyone + hardware + _ETH_ARP.to_bytes(2, "big") + arp


def _unsolicited(hardware: bytes, own: bytes) -> bytes:
    """A neighbour advertisement of a router to all nodes, which overrides what they know."""
    body = _ADVERTISEMENT + own + b"\x02\x01" + hardware  # the target, and its link-layer address
    pseudo = own + _ALL_NODES + len(body).to_bytes(4, "big") + b"\x00\x00\x00\x3a"
    total: int = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
    total = (total & 0xFFFF) + (total >> 16)
    check = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    head = b"\x60\x00\x00\x00" + len(body).to_bytes(2, "big") + b"\x3a\xff" + own + _ALL_NODES
    to = b"\x33\x33" + _ALL_NODES[-4:]
    return to + hardware + _ETH_IP6.to_bytes(2, "big") + head + body[:2] + check + body[4:]
