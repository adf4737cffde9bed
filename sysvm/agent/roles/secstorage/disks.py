"""Headers of VMDK and VHD disks, of ISO images and of tar archives. Pure, as `qcow2.py`.

`at(offset, length)` gives bytes of the file (fewer at its end); nothing is read but headers.
"""

import struct
import zlib
from collections.abc import Callable

from sysvm.basics.errors import Refused

At = Callable[[int, int], bytes]
SECTOR = 512
_VMDK = struct.Struct("<4sIIQQQQ")
_VHD_FOOTER, _VHD_FIXED, _VHD_DYNAMIC, _VHD_DIFFERENCING = b"conectix", 2, 3, 4
_ISO_SECTORS = range(16, 48)
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def vmdk(at: At, size: int) -> int:
    """Virtual size of a self-contained (sparse or stream-optimized) VMDK."""
    head = at(0, _VMDK.size)
    if head.lstrip()[:21].lower().startswith(b"# disk descriptorfile"):
        raise Refused("this VMDK is a description of other files: export it as one file (stream-optimized)")
    if len(head) < _VMDK.size or head[:4] != b"KDMV":
        raise Refused("this is no VMDK image: its first bytes are not those of one")
    _, version, _, capacity, _, descriptor_at, descriptor_sectors = _VMDK.unpack(head)
    if version not in (1, 2, 3) or not 0 < capacity < 2**37:
        raise Refused("the VMDK header is not sane")
    if descriptor_sectors > 2048 or descriptor_at * SECTOR > size:
        raise Refused("the VMDK header is not sane: its description lies outside the file")
    _vmdk_alone(at(descriptor_at * SECTOR, descriptor_sectors * SECTOR).split(b"\0")[0])
    return int(capacity) * SECTOR


def _vmdk_alone(description: bytes) -> None:
    extents = 0
    for line in description.decode("latin-1").splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "parentcid" and value.strip().lower() not in ("ffffffff", ""):
            raise Refused("this VMDK is the difference to another disk: export it as one file")
        if line.split(" ")[0] in ("RW", "RDONLY", "NOACCESS"):
            extents += 1
    if extents > 1:
        raise Refused("this VMDK is spread over several files: export it as one file (stream-optimized)")


def vhd(at: At, size: int) -> int:
    """Virtual size of a fixed or dynamic VHD."""
    footer = at(max(0, size - SECTOR), SECTOR)
    if len(footer) < SECTOR or not footer.startswith(_VHD_FOOTER):
        raise Refused("this is no VHD image: its last sector is not that of one")
    current, kind, checksum = *struct.unpack_from(">Q", footer, 48), *struct.unpack_from(">II", footer, 60)
    if checksum != ~sum(footer[:64] + footer[68:]) & 0xFFFFFFFF:
        raise Refused("the VHD image is damaged: the checksum of its last sector is wrong")
    if kind == _VHD_DIFFERENCING:
        raise Refused("this VHD is the difference to another disk: merge it with its parent first")
    if kind not in (_VHD_FIXED, _VHD_DYNAMIC) or not current or (kind == _VHD_FIXED and current > size):
        raise Refused("the VHD image is not sane")
    return int(current)


def iso(at: At, size: int) -> int:
    """Size of an ISO 9660 or UDF image."""
    for sector in _ISO_SECTORS:
        name = at(sector * 2048 + 1, 5)
        if name in (b"CD001", b"NSR02", b"NSR03"):
            return size
        if name not in (b"BEA01", b"BOOT2", b"TEA01"):
            break
    raise Refused("this is no ISO image: it has no ISO 9660 or UDF volume")


def tar(at: At, size: int) -> int:
    """Size of a tar archive, plain or compressed."""
    head = at(0, 1024 * 64)
    if packing_of(head) == "gzip":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            head = unpacker.decompress(head, SECTOR)
        except zlib.error as error:
            raise Refused(f"the TAR archive is damaged: {error}") from error
    elif packing_of(head) in ("xz", "bzip2", "zstd"):
        return size
    first_tar_member(head)
    return size


def ova(at: At, size: int) -> int:
    """Size of an OVA: a tar archive whose first member describes the machine."""
    name = first_tar_member(at(0, SECTOR))
    if not name.lower().endswith(".ovf") or "/" in name:
        raise Refused("this is no OVA: the first file in it is not its description (*.ovf)")
    return size


def first_tar_member(head: bytes) -> str:
    """The name of the first member."""
    if len(head) < SECTOR or head[257:262] != b"ustar":
        raise Refused("this is no TAR archive: its first bytes are not those of one")
    try:
        said = int(head[148:156].rstrip(b" \0") or b"0", 8)
    except ValueError:
        said = -1
    if said != sum(head[:148]) + 8 * 32 + sum(head[156:SECTOR]):
        raise Refused("the TAR archive is damaged: the checksum of its first header is wrong")
    return head[:100].split(b"\0")[0].decode("latin-1")


def packing_of(head: bytes) -> str | None:
    """With what a file is compressed, by its first bytes."""
    return next((name for magic, name in COMPRESSED.items() if head.startswith(magic)), None)
