"""The connections that this machine's kernel tracks, carried to the next incarnation, which has a kernel of its own.

`Teller` reads the table of the one that goes, `take` writes what it told into the kernel of the one that comes. An entry is
the family and the netlink attributes with which the other kernel makes the same connection: the tuple as its sender sees it,
the answer to it as if nothing were rewritten, and what is rewritten (the kernel makes the real answer of these two). Windows
are not carried: a TCP connection that was carried is held to its state, not to its sequence numbers.

First all of them are asked for, then those that are new or have moved on since, as often as it takes. What both have already is
brought up to date by the newer word. Left out: what begins or ends in the machine itself, whose sockets stay where they are, and
connections that are expected by another one (the data channel of FTP lives or dies with its own rule).

It blocks; the core calls it in a thread, one call at a time. Nothing here decides when.
"""

import socket
import struct

from sysvm.agent.netlink import (
    DUMP,
    ERROR,
    HEADER,
    NETFILTER,
    REQUEST,
    attribute,
    attributes,
    dump,
    opened,
    own_addresses,
)
from sysvm.basics.log import get_logger
from sysvm.wire.handover import Connections, Taken, Which

PAGE = 2000
_TOGETHER = 40  # messages for one word to the kernel
_NEW, _GET, _DELETE = 1 << 8, (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK
_CREATE, _EXCLUSIVE, _ACKNOWLEDGE = 0x400, 0x200, 0x4
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_STATE, _NAT_SOURCE, _TIMEOUT, _MARK, _NAT_TARGET = 1, 2, 3, 4, 6, 7, 8, 13
_CARRIED = (_STATUS, _TIMEOUT, _MARK)
_NESTED = 0x8000
_IP, _PROTO = 1, 2  # of a tuple
_NUMBER, _SOURCE_PORT, _TARGET_PORT = 1, 2, 3
_QUERIES = {4: (5, 6), 7: (8, 9)}  # of ICMP and ICMPv6: id -> type, code
_PORTS, _PORT_MIN, _PORT_MAX = 3, 1, 2  # of what is rewritten
_FIRST_LAST = {2: (1, 2), 10: (4, 5)}  # the same: addresses, by family
_SENDER, _RECEIVER = {2: 1, 10: 3}, {2: 2, 10: 4}
_EXPECTED, _CONFIRMED, _FROM_REWRITTEN, _TO_REWRITTEN, _DYING = 1, 1 << 3, 1 << 4, 1 << 5, 1 << 9
_TCP_STATE, _TCP_FLAGS = 1, (4, 5)
_LIBERAL, _FLAGS_MASK = 8, 0x0B  # flags of a direction: windows are not looked at; scale and SACK are kept
_EXISTS, _GONE = 17, 2
_CLOCK = struct.pack("=HH", 8, _TIMEOUT)  # the head of the attribute; four bytes of time follow
log = get_logger()


class Teller:
    """Reads the table, and knows what it has told."""

    def __init__(self) -> None:
        self._told: dict[bytes, bytes] = {}  # how it stood -> its tuple; nothing for what is not carried
        self._waiting: list[bytes] = []

    def tell(self, which: Which) -> Connections:
        """What is asked for. Raises OSError."""
        if which is Which.MORE:
            return self._page(())
        if which is Which.ALL:
            self._told = {}
        return self._changed()

    def _changed(self) -> Connections:
        """Those that are new, have moved on or have ended since they were told."""
        now: dict[bytes, bytes] = {}
        self._waiting = []
        own = own_addresses()
        for payload in _table():
            standing = _standing(payload)
            if standing in self._told:
                now[standing] = self._told[standing]  # most of them: nothing is looked into
                continue
            known = attributes(payload[4:])
            now[standing] = b""
            if _is_carried(payload[0], known, own):
                now[standing] = payload[:1] + known[_ORIGINAL]
                self._waiting.append(entry(payload[0], known))
        ended = set(self._told.values()) - set(now.values())
        self._told = now
        return self._page(tuple(key[:1] + _nest(_ORIGINAL, key[1:]) for key in ended if key))

    def _page(self, ended: tuple[bytes, ...]) -> Connections:
        page, self._waiting = self._waiting[:PAGE], self._waiting[PAGE:]
        return Connections(entries=tuple(page), ended=ended, more=bool(self._waiting))


def _table() -> list[bytes]:
    with opened(NETFILTER) as handle:
        handle.send(HEADER.pack(HEADER.size + 4, _GET, REQUEST | DUMP, 1, 0) + bytes(4))
        return dump(handle)


def _is_carried(family: int, known: dict[int, bytes], own: frozenset[bytes]) -> bool:
    status = int.from_bytes(known.get(_STATUS, b""), "big")
    if family not in _SENDER or not status & _CONFIRMED or status & (_EXPECTED | _DYING) or _TIMEOUT not in known:
        return False
    senders = (attributes(attributes(known[way])[_IP])[_SENDER[family]] for way in (_ORIGINAL, _REPLY))
    return own.isdisjoint(senders)


def _standing(payload: bytes) -> bytes:
    """All that the kernel says of a connection but its clock, which is no news."""
    at = payload.find(_CLOCK)
    return payload if at < 0 else payload[:at] + payload[at + 8 :]


def entry(family: int, known: dict[int, bytes]) -> bytes:
    """With what another kernel makes this connection, from what this one says of it."""
    status = int.from_bytes(known[_STATUS], "big")
    reply = attributes(known[_REPLY])
    parts = [_nest(_ORIGINAL, known[_ORIGINAL]), _nest(_REPLY, _answer(family, attributes(known[_ORIGINAL]), reply))]
    parts += [attribute(tag, known[tag]) for tag in _CARRIED if tag in known]
    if status & _FROM_REWRITTEN:  # the answers go to the rewritten source
        parts.append(_nest(_NAT_SOURCE, _rewritten(family, reply, _RECEIVER[family], _TARGET_PORT)))
    if status & _TO_REWRITTEN:  # and come from the rewritten target
        parts.append(_nest(_NAT_TARGET, _rewritten(family, reply, _SENDER[family], _SOURCE_PORT)))
    if state := known.get(_PROTOCOL_STATE):
        parts.append(_nest(_PROTOCOL_STATE, _unwindowed(state)))
    return bytes([family]) + b"".join(parts)


def _nest(tag: int, value: bytes) -> bytes:
    return attribute(tag | _NESTED, value)


def _answer(family: int, original: dict[int, bytes], reply: dict[int, bytes]) -> bytes:
    """The tuple of the answer to `original`, as if nothing were rewritten."""
    ends, asked = attributes(original[_IP]), attributes(original[_PROTO])
    sender, receiver = _SENDER[family], _RECEIVER[family]
    turned = attribute(sender, ends[receiver]) + attribute(receiver, ends[sender])
    answered = {_NUMBER: asked[_NUMBER]}
    if _SOURCE_PORT in asked:
        answered |= {_SOURCE_PORT: asked[_TARGET_PORT], _TARGET_PORT: asked[_SOURCE_PORT]}
    for number, kinds in _QUERIES.items():
        if number in asked:
            answers = attributes(reply[_PROTO])
            answered |= {number: asked[number], **{kind: answers[kind] for kind in kinds}}
    proto = b"".join(attribute(tag, value) for tag, value in sorted(answered.items()))
    return _nest(_IP, turned) + _nest(_PROTO, proto)


def _rewritten(family: int, reply: dict[int, bytes], end: int, port: int) -> bytes:
    """The one address, and the one port (the id of a query), to which it was rewritten."""
    address, proto = attributes(reply[_IP])[end], attributes(reply[_PROTO])
    value = proto.get(port) or next((proto[number] for number in _QUERIES if number in proto and port == _TARGET_PORT), b"")
    ranges = b"".join(attribute(tag, address) for tag in _FIRST_LAST[family])
    return ranges + (_nest(_PORTS, attribute(_PORT_MIN, value) + attribute(_PORT_MAX, value)) if value else b"")


def _unwindowed(state: bytes) -> bytes:
    """The same state of a protocol; of TCP without heed to windows, which the other kernel has not seen grow."""
    found = attributes(state)
    if _TCP_STATE not in found:
        return b"".join(_nest(tag, value) for tag, value in found.items())
    inner = attributes(found[_TCP_STATE])
    for tag in _TCP_FLAGS:
        if tag in inner:
            inner[tag] = struct.pack("=BB", inner[tag][0] | _LIBERAL, _FLAGS_MASK)
    return _nest(_TCP_STATE, b"".join(attribute(tag, value) for tag, value in inner.items()))


# ---------------------------------------------------------------- the other kernel
def take(told: Connections) -> Taken:
    """They are connections of this kernel, too; what it would not take is counted."""
    # Ended ones first: another one may have come with the same ends since.
    _said(tuple((_DELETE, 0, ended) for ended in told.ended))
    refused = _said(tuple((_NEW, _CREATE | _EXCLUSIVE, each) for each in told.entries))
    there = tuple(each for each, error in refused if error == _EXISTS)
    left = [error for _, error in refused if error != _EXISTS]
    left += [error for _, error in _said(tuple((_NEW, 0, _update(each)) for each in there)) if error != _GONE]
    if left:
        log.warning("connections_not_taken", count=len(left), errors=sorted(set(left)))
    return Taken(taken=len(told.entries) - len(left), refused=len(left))


def _update(each: bytes) -> bytes:
    """How a connection stands that is there already; what is rewritten cannot change."""
    known = attributes(each[1:])
    parts = [attribute(tag, known[tag]) for tag in _CARRIED if tag in known]
    if state := known.get(_PROTOCOL_STATE):
        parts.append(_nest(_PROTOCOL_STATE, state))
    return each[:1] + _nest(_ORIGINAL, known[_ORIGINAL]) + b"".join(parts)


def _said(words: tuple[tuple[int, int, bytes], ...]) -> list[tuple[bytes, int]]:
    """Tells the kernel (kind, flags, entry); the entries that it has refused, with the number of the error."""
    refused = []
    with opened(NETFILTER) as handle:
        for begin in range(0, len(words), _TOGETHER):
            some = words[begin : begin + _TOGETHER]
            messages = [_message(number, *word) for number, word in enumerate(some)]
            handle.send(b"".join(messages))
            errors = _errors(handle, len(some))
            refused += [(some[number][2], error) for number, error in errors.items()]
    return refused


def _message(number: int, kind: int, flags: int, each: bytes) -> bytes:
    body = each[:1] + bytes(3) + each[1:]
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | _ACKNOWLEDGE | flags, number, 0) + body


def _errors(handle: socket.socket, count: int) -> dict[int, int]:
    """The answers to `count` messages: number of the message -> error, without those that went well."""
    found: dict[int, int] = {}
    heard = 0
    while heard < count:
        data = handle.recv(1 << 17)
        while len(data) >= HEADER.size:
            length, kind, _, number, _ = HEADER.unpack_from(data)
            if kind == ERROR:
                (error,) = struct.unpack_from("=i", data, HEADER.size)
                heard += 1
                if error:
                    found[number] = -error
            data = data[-(-length // 4) * 4 :]
    return found
