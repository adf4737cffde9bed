"""A system VM template whose kernel does nothing: a boot sector of the Linux boot protocol that halts the processor.

The driver's contract is about QEMU processes, not about what runs in them; this one is there at once and costs no CPU.
"""

import struct
from pathlib import Path

_HEADER_AT = 0x1F1
_SECTORS = 2
_HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp hlt


def kernel() -> bytes:
    """Setup sectors (protocol 2.06, loaded high) and an empty kernel behind them."""
    image = bytearray(512 * (_SECTORS + 2))
    image[_HEADER_AT] = _SECTORS
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x200:0x202] = b"\xeb\x66"  # jump over the header, to 0x268
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = struct.pack("<H", 0x206)
    image[0x211] = 1
    image[0x22C:0x230] = struct.pack("<I", 0x37FFFFFF)
    image[0x238:0x23C] = struct.pack("<I", 0x7FF)
    image[0x268 : 0x268 + len(_HALT)] = _HALT
    return bytes(image)


def make_template(cache: Path, version: str = "busybox") -> str:
    """A template and an agent for VMs in the cache; the template's version."""
    template, agent = cache / "templates" / version, cache / "agents" / "idle"
    for folder in (template, agent):
        folder.mkdir(parents=True, exist_ok=True)
    (template / "vmlinuz").write_bytes(kernel())
    for disk in (
        template / "initrd",
        template / "base.squashfs",
        template / "modules.squashfs",
        agent / "agent.squashfs",
    ):
        disk.write_bytes(b"\0" * 4096)
    return version
