"""Writes an initrd: an uncompressed cpio archive ("newc") that the kernel unpacks before anything else runs.

Written here rather than by cpio(1) so that owners, times and inode numbers are always the same. Uncompressed, because
unpacking a compressed one costs an emulated machine more than reading a larger one.
"""

import stat
from pathlib import Path

from sysvm.images.places import EPOCH
from sysvm.images.tree import everything


def _pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _entry(number: int, name: str, mode: int, content: bytes = b"") -> bytes:
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, EPOCH, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad(head + name.encode() + b"\0") + _pad(content)


def _tidy(mode: int) -> int:
    """Folders and programs 0755, files 0644: what the umask of a clone was does not matter."""
    if stat.S_ISDIR(mode):
        return stat.S_IFDIR | 0o755
    return stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)


def pack(tree: Path) -> bytes:
    """The archive of a tree of folders, files and symbolic links, all owned by root."""
    parts = []
    for number, entry in enumerate(everything(tree), start=1):
        name = str(entry.relative_to(tree))
        if entry.is_symlink():
            parts.append(_entry(number, name, stat.S_IFLNK | 0o777, str(entry.readlink()).encode()))
        elif entry.is_dir():
            parts.append(_entry(number, name, _tidy(entry.stat().st_mode)))
        else:
            parts.append(_entry(number, name, _tidy(entry.stat().st_mode), entry.read_bytes()))
    parts.append(_entry(0, "TRAILER!!!", 0))
    return b"".join(parts)
