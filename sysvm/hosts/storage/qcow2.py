"""What the first bytes of a qcow2 image say, without running anything on it.

An image that comes from outside must stand alone: with a backing file or an external data file it would show its guest any
file of the host. Only the header is read here; whether the tables behind it are sound is qemu's business.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"QFI\xfb"
HEADER_BYTES = 64 * 1024

_V2 = struct.Struct("!4sIQIIQ")
_EXTENSION = struct.Struct("!II")
_EXTERNAL_DATA = 1 << 2
_DATA_FILE_NAME = 0x44415441
_LARGEST = 1 << 50


class NotQcow2(Exception):
    """The bytes are not a qcow2 image that qemu would take; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """The part of a qcow2 header that decides what else is read."""

    version: int
    virtual_size: int
    backing: str = ""
    external_data: bool = False
    encrypted: bool = False


def parse(head: bytes) -> Header:
    """The header at the start of `head` (HEADER_BYTES of the file, or all of it)."""
    if len(head) < 72 or not head.startswith(MAGIC):
        raise NotQcow2("it does not begin like a qcow2 image")
    _, version, backing_at, backing_length, cluster_bits, size = _V2.unpack_from(head)
    (crypt,) = struct.unpack_from("!I", head, 32)
    if version not in (2, 3) or not 9 <= cluster_bits <= 21 or size > _LARGEST:
        raise NotQcow2(f"qcow2 version {version} with clusters of 2^{cluster_bits} and {size} bytes")
    if backing_length > 1023 or backing_at + backing_length > len(head):
        raise NotQcow2("its backing file's name lies outside of its header")
    backing = head[backing_at : backing_at + backing_length].decode(errors="replace") if backing_at else ""
    return Header(version, size, backing, version == 3 and _external(head), crypt != 0)


def _external(head: bytes) -> bool:
    (incompatible,) = struct.unpack_from("!Q", head, 72) if len(head) >= 104 else (0,)
    if incompatible & _EXTERNAL_DATA:
        return True
    (at,) = struct.unpack_from("!I", head, 100) if len(head) >= 104 else (104,)
    while at + _EXTENSION.size <= len(head):
        kind, length = _EXTENSION.unpack_from(head, at)
        if kind == 0:
            return False
        if kind == _DATA_FILE_NAME:
            return True
        at += _EXTENSION.size + (length + 7) // 8 * 8
    return False


def read(file: Path) -> Header:
    """The header of a file."""
    with file.open("rb") as stream:
        return parse(stream.read(HEADER_BYTES))


def why_not_alone(head: bytes) -> str:
    """Why an image from outside must be refused; empty when it stands alone."""
    try:
        header = parse(head)
    except NotQcow2 as error:
        return str(error)
    if header.backing:
        return "it has a backing file"
    if header.external_data:
        return "it has an external data file"
    if header.encrypted:
        return "it is encrypted"
    return ""
