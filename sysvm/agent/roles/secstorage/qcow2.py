"""QCOW2 headers, read strictly: an image that could make QEMU open another file, or that lies about itself, is refused.

Pure: `head` is the beginning of the file (64 KB are enough for every honest header), `size` its length. Versions 2 and 3.
Offsets are those of QEMU's docs/interop/qcow2.txt.
"""

import struct
from dataclasses import dataclass

from sysvm.basics.errors import Refused

MAGIC = b"QFI\xfb"
HEAD = 64 * 1024
MAX_VIRTUAL = 64 * 1024**4
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")  # 72 bytes
_V3 = struct.Struct(">QQQII")  # 32 more
_EXTENSION_END, _EXTENSION_BACKING, _EXTENSION_DATA_FILE = 0, 0xE2792ACA, 0x44415441
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    backing_offset: int
    backing_size: int
    cluster_bits: int
    virtual_size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    incompatible: int
    length: int


def virtual_size(head: bytes, size: int) -> int:
    """The size of the disk that the guest will see; raises Refused for an image that is not to be kept."""
    header = _parse(head)
    _check_alone(header)
    _check_shape(header, size)
    _check_extensions(head, header)
    return header.virtual_size


def _parse(head: bytes) -> _Header:
    if len(head) < _V2.size or not head.startswith(MAGIC):
        raise Refused("this is no QCOW2 image: its first bytes are not those of one")
    fields = _V2.unpack_from(head)
    version = fields[1]
    if version not in (2, 3):
        raise Refused(f"QCOW2 version {version} is not known: convert the image with qemu-img convert -O qcow2")
    incompatible, length = 0, _V2.size
    if version == 3:
        if len(head) < _V2.size + _V3.size:
            raise Refused("the QCOW2 header is cut off")
        incompatible, _, _, refcount_order, length = _V3.unpack_from(head, _V2.size)
        if not 104 <= length <= 4096 or length % 8 or refcount_order > 6:
            raise Refused("the QCOW2 header is not sane")
    return _Header(
        version=version,
        backing_offset=fields[2],
        backing_size=fields[3],
        cluster_bits=fields[4],
        virtual_size=fields[5],
        encryption=fields[6],
        l1_entries=fields[7],
        l1_offset=fields[8],
        refcount_offset=fields[9],
        refcount_clusters=fields[10],
        snapshots=fields[11],
        incompatible=incompatible,
        length=length,
    )


def _check_alone(header: _Header) -> None:
    """One file holds everything."""
    if header.backing_offset or header.backing_size:
        raise Refused("the QCOW2 image has a backing file: flatten it with qemu-img convert -O qcow2")
    if header.incompatible & _EXTERNAL_DATA:
        raise Refused("the QCOW2 image keeps its data in another file: flatten it with qemu-img convert -O qcow2")
    if header.encryption:
        raise Refused("the QCOW2 image is encrypted: nobody here has its key")
    if header.incompatible & _CORRUPT:
        raise Refused("the QCOW2 image says of itself that it is corrupt: qemu-img check -r all mends what can be mended")
    if header.incompatible & ~(_DIRTY | _CORRUPT | _EXTERNAL_DATA | _COMPRESSION | _EXTENDED_L2):
        raise Refused("the QCOW2 image needs features that are not known here")


def _check_shape(header: _Header, size: int) -> None:
    """The tables lie within the file and are as large as the disk needs."""
    if not 9 <= header.cluster_bits <= 21:
        raise Refused("the QCOW2 header is not sane: its clusters have an impossible size")
    if not 0 < header.virtual_size <= MAX_VIRTUAL:
        raise Refused(f"the QCOW2 image is a disk of {header.virtual_size} bytes, which no disk here may have")
    cluster = 1 << header.cluster_bits
    entry_bits = 4 if header.incompatible & _EXTENDED_L2 else 3
    needed = -(-header.virtual_size // (cluster << (header.cluster_bits - entry_bits)))
    tables = ((header.l1_offset, header.l1_entries * 8), (header.refcount_offset, header.refcount_clusters * cluster))
    for offset, length in tables:
        if offset % cluster or not offset > 0 or offset + length > size + cluster:
            raise Refused("the QCOW2 image is cut off or not sane: its tables lie outside the file")
    if header.l1_entries < needed or header.l1_entries * 8 > 32 * 1024**2 or not header.refcount_clusters:
        raise Refused("the QCOW2 header is not sane: its tables do not fit its size")
    if header.snapshots:
        raise Refused("the QCOW2 image has snapshots inside: remove them with qemu-img convert -O qcow2")


def _check_extensions(head: bytes, header: _Header) -> None:
    at = header.length
    while at + 8 <= min(len(head), 1 << header.cluster_bits):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == _EXTENSION_END:
            return
        if kind in (_EXTENSION_BACKING, _EXTENSION_DATA_FILE):
            raise Refused("the QCOW2 image names another file: flatten it with qemu-img convert -O qcow2")
        at += 8 + (length + 7) // 8 * 8
    raise Refused("the QCOW2 header is not sane: its extensions do not end")
