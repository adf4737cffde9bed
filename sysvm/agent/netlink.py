"""Asks the kernel a few questions without starting a program: what has changed since I last looked?

Read only. The numbers and hashes here say *that* something may have changed; `nft` and `ip` say what.
"""

import hashlib
import socket
import struct

_HEADER = struct.Struct("=IHHII")
_ROUTE, _NETFILTER = 0, 12
_GETADDR, _GETROUTE, _DONE, _ERROR = 22, 26, 3, 2
_REQUEST, _DUMP = 0x1, 0x300
_GETGEN = (10 << 8) | 16
_GEN_ID = 1


class Unanswered(OSError):
    """The kernel refused the question."""


def ruleset_generation() -> int:
    """Raised by one with each nftables transaction in this network namespace."""
    with _socket(_NETFILTER) as handle:
        handle.send(_HEADER.pack(_HEADER.size + 4, _GETGEN, _REQUEST, 1, 0) + bytes(4))
        answer = handle.recv(4096)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        raise Unanswered("the kernel tells no nftables generation")
    attributes = answer[_HEADER.size + 4 :]
    while len(attributes) >= 8:
        length, tag = struct.unpack_from("=HH", attributes)
        if tag & 0x3FFF == _GEN_ID:
            return int.from_bytes(attributes[4:8], "big")
        attributes = attributes[-(-length // 4) * 4 :]
    raise Unanswered("the kernel tells no nftables generation")


def addresses_and_routes() -> str:
    """A hash over all addresses and all routes of this network namespace."""
    known = hashlib.sha256()
    with _socket(_ROUTE) as handle:
        for question in (_GETADDR, _GETROUTE):
            # Family "any"; the rest of rtmsg and ifaddrmsg is zero.
            handle.send(_HEADER.pack(_HEADER.size + 12, question, _REQUEST | _DUMP, 1, 0) + bytes(12))
            for payload in _dump(handle):
                known.update(payload)
    return known.hexdigest()


def _dump(handle: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        data = handle.recv(1 << 17)
        while len(data) >= _HEADER.size:
            length, kind, _, _, _ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return found
            if kind == _ERROR:
                raise Unanswered("the kernel refused a dump")
            found.append(data[_HEADER.size : length])
            data = data[-(-length // 4) * 4 :]


def _socket(protocol: int) -> socket.socket:
    handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    handle.settimeout(5.0)
    handle.bind((0, 0))
    return handle
