"""A DHCP client on the bridge of a guest network, as raw frames: it asks until it has its lease, and says when that was.

It sits on the host's own end of the bridge, so that no guest need have booted; it shows the MAC of a guest that has been
deployed, because a router answers nobody else. The lease is the real one: DISCOVER, OFFER, REQUEST, ACK. It takes no address,
so that the guest may still ask for the same.
"""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from sysvm.hosts.system.netns import socket_in

_ETH_IP, _ETH_ALL = 0x0800, 0x0003
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
_MESSAGE_TYPE, _REQUESTED, _SERVER, _END = 53, 50, 54, 255
_LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said."""

    kind: int
    address: str
    server: bytes


def lease(namespace: str, bridge: str, mac: str, *, every_s: float, patience_s: float) -> str:
    """Asks on `bridge`, every so often, until a server gives `mac` a lease; its address. Raises TimeoutError."""
    end = time.perf_counter() + patience_s
    with _bound(namespace, bridge, end) as handle:
        offer = _asked(handle, lambda: _question(mac, _DISCOVER), mac, _OFFER, every_s, end)
        wish = _option(_REQUESTED, socket.inet_aton(offer.address)) + _option(_SERVER, offer.server)
        return _asked(handle, lambda: _question(mac, _REQUEST, wish), mac, _ACK, every_s, end).address


def _bound(namespace: str, bridge: str, end: float) -> socket.socket:
    """A raw socket on the bridge, as soon as there is such a bridge and it is up."""
    handle = socket_in(namespace, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ALL))
    while time.perf_counter() < end:
        try:
            handle.bind((bridge, _ETH_ALL))
        except OSError:
            time.sleep(_LOOK_S)
            continue
        handle.settimeout(_LOOK_S)
        return handle
    handle.close()
    raise TimeoutError(f"there is no bridge {bridge}")


def _asked(handle: socket.socket, question: Callable[[], bytes], mac: str, kind: int, every_s: float, end: float) -> Reply:
    """Asks again and again until an answer of this kind comes."""
    again = 0.0
    while (now := time.perf_counter()) < end:
        try:
            if now >= again:
                again = now + every_s
                handle.send(question())
            reply = parse(handle.recv(4096), mac)
        except (TimeoutError, OSError):  # nobody answers; or the bridge is not up yet
            continue
        if reply is not None and reply.kind == kind:
            return reply
    raise TimeoutError(f"no DHCP server has answered {mac}")


# ---------------------------------------------------------------- frames
def _question(mac: str, kind: int, more: bytes = b"") -> bytes:
    hardware = bytes.fromhex(mac.replace(":", ""))
    boot = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, int.from_bytes(hardware[2:]), 0, 0x8000, hardware)
    said = boot + _COOKIE + _option(_MESSAGE_TYPE, bytes([kind])) + more + bytes([_END])
    datagram = struct.pack("!HHHH", 68, 67, 8 + len(said), 0) + said
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return b"\xff" * 6 + hardware + struct.pack("!H", _ETH_IP) + head + datagram


def _option(number: int, value: bytes) -> bytes:
    return bytes([number, len(value)]) + value


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def parse(frame: bytes, mac: str) -> Reply | None:
    """A server's answer to `mac`; None for every other frame."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    datagram = frame[14 + (frame[14] & 15) * 4 :]
    said = datagram[8:]
    if datagram[:4] != struct.pack("!HH", 67, 68) or said[236:240] != _COOKIE:
        return None
    if said[28:34] != bytes.fromhex(mac.replace(":", "")):
        return None
    options = dict(_options(said[240:]))
    kind = options.get(_MESSAGE_TYPE, b"\0")[0]
    return Reply(kind, socket.inet_ntoa(said[16:20]), options.get(_SERVER, b""))


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at + 1 < len(data) and data[at] != _END:
        if data[at] == 0:
            at += 1
            continue
        found.append((data[at], data[at + 2 : at + 2 + data[at + 1]]))
        at += 2 + data[at + 1]
    return found
