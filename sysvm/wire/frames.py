"""Frames on a byte stream (TLS, unix socket or virtio-serial), as a sans-IO decoder.

A frame is: magic "SV", version (1 byte), flags (1 byte, zero), payload length (4 bytes), CRC-32 of the payload
(4 bytes), payload; all big-endian. A virtio-serial port has no connection boundaries, so a reader may join in the
middle of a frame that a dead writer left: the decoder skips to the next magic whose checksum is right.
On TLS and unix sockets garbage is an error of the peer; callers pass `strict=True` there.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import TypeVar

import msgspec

MAGIC = b"SV"
VERSION = 1
HEADER = struct.Struct("!2sBBII")
MAX_PAYLOAD = 32 * 1024 * 1024

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


class BadFrame(Exception):
    """The peer sent bytes that are no frame."""


def frame(message: object) -> bytes:
    """One message, ready to be written. Raises BadFrame when it is larger than MAX_PAYLOAD."""
    payload = _encoder.encode(message)
    if len(payload) > MAX_PAYLOAD:
        raise BadFrame(f"a message of {len(payload)} bytes is larger than {MAX_PAYLOAD}")
    return HEADER.pack(MAGIC, VERSION, 0, len(payload), zlib.crc32(payload)) + payload


class FrameReader:
    """Collects bytes and yields the payloads that they complete."""

    def __init__(self, *, strict: bool = True) -> None:
        self._buffer = bytearray()
        self._strict = strict

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that `data` completes, in order. Raises BadFrame (strict) on anything else."""
        self._buffer += data
        while (payload := self._next()) is not None:
            yield payload

    def _next(self) -> bytes | None:
        while True:
            if not self._skip_to_magic() or len(self._buffer) < HEADER.size:
                return None
            _, version, _, length, crc = HEADER.unpack_from(self._buffer)
            if version != VERSION or length > MAX_PAYLOAD:
                self._refuse(f"frame version {version}, length {length}")
                continue
            if len(self._buffer) < HEADER.size + length:
                return None
            payload = bytes(self._buffer[HEADER.size : HEADER.size + length])
            if zlib.crc32(payload) != crc:
                self._refuse("checksum differs")
                continue
            del self._buffer[: HEADER.size + length]
            return payload

    def _skip_to_magic(self) -> bool:
        if self._buffer.startswith(MAGIC):
            return True
        at = self._buffer.find(MAGIC)
        if self._strict and self._buffer and not MAGIC.startswith(bytes(self._buffer[:2])):
            raise BadFrame("no frame begins here")
        if at < 0:
            # The last byte may be the first of a magic that is cut in two.
            del self._buffer[: max(0, len(self._buffer) - 1)]
            return False
        del self._buffer[:at]
        return True

    def _refuse(self, why: str) -> None:
        if self._strict:
            raise BadFrame(why)
        del self._buffer[: len(MAGIC)]
