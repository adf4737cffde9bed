"""The smallest guest there is: an initrd whose only program says one line on the console and restarts the machine.

Under KVM a kernel can come as far as it likes and still never run a program (timers, interrupts, system calls); so the proof
that a host runs guests is a program that ran. It is 90 bytes of x86-64, written here, so that the probe needs no busybox,
no compiler and no template of ours, only any kernel.
"""

import struct

MARKER = "SYSVM-GUEST-RUNS"

_BASE = 0x400000
_ELF_HEADER, _PROGRAM_HEADER = 64, 56
_TEXT = f"\n{MARKER}\n".encode()


def _machine_code(text_at: int) -> bytes:
    """write(1, text); reboot(magic, magic, RESTART); and for ever if that fails."""
    return b"".join(
        (
            b"\xb8\x01\x00\x00\x00",  # mov eax, 1            write
            b"\xbf\x01\x00\x00\x00",  # mov edi, 1
            b"\xbe" + struct.pack("<I", text_at),  # mov esi, text
            b"\xba" + struct.pack("<I", len(_TEXT)),  # mov edx, length
            b"\x0f\x05",  # syscall
            b"\xb8\xa9\x00\x00\x00",  # mov eax, 169          reboot
            b"\xbf\xad\xde\xe1\xfe",  # mov edi, 0xfee1dead
            b"\xbe\x69\x19\x12\x28",  # mov esi, 672274793
            b"\xba\x67\x45\x23\x01",  # mov edx, 0x01234567   restart
            b"\x0f\x05",  # syscall
            b"\xeb\xfe",  # jmp self
        )
    )


def program() -> bytes:
    """A static ELF executable."""
    code_at = _BASE + _ELF_HEADER + _PROGRAM_HEADER
    body = _machine_code(code_at + len(_machine_code(0))) + _TEXT
    size = _ELF_HEADER + _PROGRAM_HEADER + len(body)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, code_at, _ELF_HEADER, 0, 0, _ELF_HEADER, _PROGRAM_HEADER, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + body


def _entry(number: int, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One member of a cpio archive (newc)."""
    text = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(text), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + text
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def initrd() -> bytes:
    """The whole initrd."""
    return b"".join(
        (
            _entry(1, "dev", 0o040755),
            _entry(2, "dev/console", 0o020600, device=(5, 1)),
            _entry(3, "init", 0o100755, program()),
            _entry(0, "TRAILER!!!", 0),
        )
    )
