"""Speaks to charon, strongSwan's daemon, over its own socket (vici): a command, an answer, or a stream of events.

No program is started, so that a look costs less than a millisecond. A message is a tree of texts, lists and sections: a
dictionary here. `NoAnswer` is all that can go wrong: charon is not there, too slow, or says no.
"""

import select
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_REQUEST, _RESPONSE, _REGISTER, _UNREGISTER, _CONFIRM, _EVENT = 0, 1, 3, 4, 5, 7
_SECTION, _SECTION_END, _PAIR, _LIST, _ITEM, _LIST_END = 1, 2, 3, 4, 5, 6
_SECONDS = 5.0
_MOST = 512 * 1024  # charon's own limit of a message

Message = Mapping[str, Any]  # values: str, list of str, Message


class NoAnswer(OSError):
    """Charon did not do what it was asked, or could not be asked."""


def encode(message: Message) -> bytes:
    """The message as charon reads it."""
    parts = []
    for name, value in message.items():
        key = _short(name)
        if isinstance(value, Mapping):
            parts.append(bytes((_SECTION,)) + key + encode(value) + bytes((_SECTION_END,)))
        elif isinstance(value, str):
            parts.append(bytes((_PAIR,)) + key + _long(value))
        else:
            items = b"".join(bytes((_ITEM,)) + _long(item) for item in value)
            parts.append(bytes((_LIST,)) + key + items + bytes((_LIST_END,)))
    return b"".join(parts)


def _short(name: str) -> bytes:
    data = name.encode()
    return bytes((len(data),)) + data


def _long(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def decode(data: bytes) -> dict[str, Any]:
    """What charon has said. Raises NoAnswer for anything that is no message."""
    found: dict[str, Any] = {}
    sections, items, at = [found], [], 0
    try:
        while at < len(data):
            kind, at = data[at], at + 1
            if kind == _SECTION_END:
                sections.pop()
            elif kind == _ITEM:
                text, at = _value(data, at)
                items.append(text)
            elif kind in (_SECTION, _LIST, _PAIR):
                name, at = data[at + 1 : at + 1 + data[at]].decode(errors="replace"), at + 1 + data[at]
                if kind == _SECTION:
                    inside: dict[str, Any] = {}
                    sections[-1][name] = inside
                    sections.append(inside)
                elif kind == _LIST:
                    items = sections[-1][name] = []
                else:
                    sections[-1][name], at = _value(data, at)
            elif kind != _LIST_END:
                raise NoAnswer(f"charon sent an element of kind {kind}")
    except (IndexError, struct.error):
        raise NoAnswer("charon's message ends too early") from None
    return found


def _value(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("!H", data, at)
    end = at + 2 + length
    return data[at + 2 : end].decode(errors="replace"), end


class Charon:
    """One conversation; a context manager."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise NoAnswer(f"charon cannot be reached: {error.strerror or error}") from None

    def __enter__(self) -> "Charon":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, command: str, message: Message | None = None) -> dict[str, Any]:
        """The answer to a command. Raises NoAnswer when charon says that it has failed."""
        self._send(bytes((_REQUEST,)) + _short(command) + encode(message or {}))
        kind, answer = self._receive()
        if kind != _RESPONSE:
            raise NoAnswer(f"charon does not know {command}")
        said = decode(answer)
        if said.get("success", "yes") != "yes":
            raise NoAnswer(f"{command}: {said.get('errmsg', 'it failed')}")
        return said

    def listed(self, command: str, event: str, message: Message | None = None) -> dict[str, Any]:
        """What a command streams as events, put together; the keys are names or numbers of what is listed."""
        self._register(_REGISTER, event)
        self._send(bytes((_REQUEST,)) + _short(command) + encode(message or {}))
        found: dict[str, Any] = {}
        while True:
            kind, data = self._receive()
            if kind == _RESPONSE:
                break
            if kind == _EVENT:
                for name, value in decode(data[1 + data[0] :]).items():
                    # There may be several of one name: all logins are of one connection.
                    found[f"{name} {value['uniqueid']}" if "uniqueid" in value else name] = value
        self._register(_UNREGISTER, event)
        return found

    def begin(self, command: str, event: str, message: Message) -> None:
        """Asks, and does not wait: `arrived` gives what is said meanwhile, and the answer."""
        self._register(_REGISTER, event)
        self._send(bytes((_REQUEST,)) + _short(command) + encode(message))

    def arrived(self) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Whether it is the answer, and what it says: all that has come since. Raises NoAnswer."""
        while select.select((self._socket,), (), (), 0)[0]:
            kind, data = self._receive()
            yield (True, decode(data)) if kind == _RESPONSE else (False, decode(data[1 + data[0] :]))

    def close(self) -> None:
        """The conversation is over."""
        self._socket.close()

    def _register(self, what: int, event: str) -> None:
        self._send(bytes((what,)) + _short(event))
        while (kind := self._receive()[0]) != _CONFIRM:
            if kind != _EVENT:
                raise NoAnswer(f"charon does not know the event {event}")

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.sendall(struct.pack("!I", len(packet)) + packet)
        except OSError as error:
            raise NoAnswer(f"charon does not listen: {error}") from None

    def _receive(self) -> tuple[int, bytes]:
        (length,) = struct.unpack("!I", self._exactly(4))
        if not 1 <= length <= _MOST:
            raise NoAnswer(f"charon announces {length} bytes")
        packet = self._exactly(length)
        return packet[0], packet[1:]

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                part = self._socket.recv(length - len(data))
            except OSError as error:
                raise NoAnswer(f"charon does not answer: {error}") from None
            if not part:
                raise NoAnswer("charon has hung up")
            data += part
        return data
