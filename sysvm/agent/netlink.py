"""Asks the kernel a few questions without starting a program: what has changed since I last looked?

Read only; connections.py, which writes, uses its parts. The numbers and hashes here say *that* something may have changed;
`nft` and `ip` say what.
"""

import contextlib
import errno
import hashlib
import socket
import struct
from array import array

HEADER = struct.Struct("=IHHII")
_ROUTE, NETFILTER = 0, 12
_GETADDR, _GETROUTE, _GETQDISC, _DONE, ERROR = 22, 26, 38, 3, 2
REQUEST, DUMP = 0x1, 0x300
_GETGEN = (10 << 8) | 16
_NEWGEN = (10 << 8) | 15
_GEN_ID = 1
_RULESET_GROUP = 7
_IPV4_ADDRESS_GROUP = 5
_ATTACH_FILTER = 26
_GETOBJ = (10 << 8) | 19
_GETTABLE = (10 << 8) | 1
_TABLE_NAME = 1
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 1, 2, 3, 4
_QUEUE_KIND, _QUEUE_OPTIONS = 1, 2
_ADDRESS, _LOCAL = 1, 2
_COUNTER, _COUNTER_BYTES, _INET = 1, 1, 1


class Unanswered(OSError):
    """The kernel refused the question."""


def ruleset_generation() -> int:
    """Raised by one with each nftables transaction in this network namespace."""
    with opened(NETFILTER) as handle:
        handle.send(HEADER.pack(HEADER.size + 4, _GETGEN, REQUEST, 1, 0) + bytes(4))
        answer = handle.recv(4096)
    _, kind, _, _, _ = HEADER.unpack_from(answer)
    if kind == ERROR:
        raise Unanswered("the kernel tells no nftables generation")
    values = attributes(answer[HEADER.size + 4 :])
    if _GEN_ID not in values:
        raise Unanswered("the kernel tells no nftables generation")
    return int.from_bytes(values[_GEN_ID], "big")


def ruleset_news() -> socket.socket:
    """A socket with something to read after each nftables transaction in this network namespace. Raises OSError."""
    handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETFILTER)
    # Of each rule and element there is a message: the kernel throws away all but the one that ends a transaction
    # (load the message's type; is it that; take it whole; take nothing).
    steps = ((0x28, 0, 0, 4), (0x15, 0, 1, socket.htons(_NEWGEN)), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
    code = array("B", b"".join(struct.pack("=HBBI", *step) for step in steps))  # ctypes takes a router 0.1 s to import
    try:
        program = struct.pack("HP", len(steps), code.buffer_info()[0])
        handle.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        handle.bind((0, 1 << (_RULESET_GROUP - 1)))
    except OSError:
        handle.close()
        raise
    return handle


def address_news() -> socket.socket:
    """A socket with something to read after each IPv4 address that comes or goes in this network namespace. Raises OSError."""
    handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _ROUTE)
    try:
        handle.bind((0, 1 << (_IPV4_ADDRESS_GROUP - 1)))
    except OSError:
        handle.close()
        raise
    return handle


def forget_news(handle: socket.socket) -> None:
    """Reads away what has come; that some was lost says nothing new either."""
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                handle.recv(4096)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def has_table(table: str) -> bool:
    """Whether there is an inet table of this name."""
    with opened(NETFILTER) as handle:
        body = struct.pack("=BBH", _INET, 0, 0) + attribute(_TABLE_NAME, table.encode() + b"\0")
        handle.send(HEADER.pack(HEADER.size + len(body), _GETTABLE, REQUEST, 1, 0) + body)
        answer = handle.recv(4096)
    _, kind, _, _, _ = HEADER.unpack_from(answer)
    if kind != ERROR:
        return True
    (error,) = struct.unpack_from("=i", answer, HEADER.size)
    if error == -errno.ENOENT:
        return False
    raise Unanswered(f"the kernel does not say whether there is a table {table}")


def counters(table: str) -> dict[str, int]:
    """Bytes by name of the counters of an inet table; `nft list counters` would read all elements of all sets first."""
    found = {}
    with opened(NETFILTER) as handle:
        body = struct.pack("=BBH", _INET, 0, 0) + attribute(_OBJECT_TABLE, table.encode() + b"\0")
        body += attribute(_OBJECT_TYPE, _COUNTER.to_bytes(4, "big"))
        handle.send(HEADER.pack(HEADER.size + len(body), _GETOBJ, REQUEST | DUMP, 1, 0) + body)
        for payload in dump(handle):
            values = attributes(payload[4:])
            data = attributes(values[_OBJECT_DATA])
            found[values[_OBJECT_NAME].rstrip(b"\0").decode()] = int.from_bytes(data[_COUNTER_BYTES], "big")
    return found


def own_addresses() -> frozenset[bytes]:
    """All addresses of this network namespace, packed."""
    with opened(_ROUTE) as handle:
        handle.send(HEADER.pack(HEADER.size + 12, _GETADDR, REQUEST | DUMP, 1, 0) + bytes(12))
        found = [attributes(payload[8:]) for payload in dump(handle)]
    return frozenset(values.get(_LOCAL) or values[_ADDRESS] for values in found)


def addresses_and_routes() -> str:
    """A hash over all addresses and all routes of this network namespace."""
    known = hashlib.sha256()
    with opened(_ROUTE) as handle:
        for question in (_GETADDR, _GETROUTE):
            # Family "any"; the rest of rtmsg and ifaddrmsg is zero.
            handle.send(HEADER.pack(HEADER.size + 12, question, REQUEST | DUMP, 1, 0) + bytes(12))
            for payload in dump(handle):
                known.update(payload)
    return known.hexdigest()


def queues() -> tuple[tuple[bytes, str, bytes], ...]:
    """Place, kind and parameters of all queueing disciplines; their counters are no part of it."""
    found = []
    with opened(_ROUTE) as handle:
        handle.send(HEADER.pack(HEADER.size + 20, _GETQDISC, REQUEST | DUMP, 1, 0) + bytes(20))
        for payload in dump(handle):
            values = attributes(payload[20:])
            kind = values.get(_QUEUE_KIND, b"").rstrip(b"\0").decode()
            found.append((payload[:16], kind, values.get(_QUEUE_OPTIONS, b"")))
    return tuple(found)


def attribute(tag: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), tag) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Tag (without its flags) -> value."""
    found = {}
    while len(data) >= 4:
        length, tag = struct.unpack_from("=HH", data)
        found[tag & 0x3FFF] = data[4:length]
        data = data[-(-max(length, 4) // 4) * 4 :]
    return found


def dump(handle: socket.socket) -> list[bytes]:
    """The messages of an answer, without their headers. Raises Unanswered."""
    found: list[bytes] = []
    while True:
        data, at = handle.recv(1 << 17), 0
        while len(data) >= at + HEADER.size:
            length, kind, _, _, _ = HEADER.unpack_from(data, at)
            if kind == _DONE:
                return found
            if kind == ERROR:
                raise Unanswered("the kernel refused a dump")
            found.append(data[at + HEADER.size : at + length])
            at += -(-length // 4) * 4


def opened(protocol: int) -> socket.socket:
    """A socket to one part of the kernel."""
    handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    handle.settimeout(5.0)
    handle.bind((0, 0))
    return handle
