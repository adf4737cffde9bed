"""Mounts, by the system calls themselves: binds, identity-mapped trees, overlays, and unmounting what is below a folder.

util-linux of Debian 12 cannot make identity-mapped mounts. A kernel or a filesystem that cannot either gets a Refused
that says so.
"""

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from sysvm.basics.errors import Refused, Why

_MS_BIND = 4096
_MNT_DETACH = 2
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_IDMAP = 1, 0x100000
_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


def bind(source: Path, target: Path) -> None:
    """`target` shows what `source` is."""
    _mount(str(source), str(target), None, _MS_BIND, None)


def tmpfs(target: Path, options: str) -> None:
    """An empty tmpfs at `target`."""
    _mount("tmpfs", str(target), "tmpfs", 0, options)


def overlay(target: Path, lowers: Sequence[Path], upper: Path, work: Path) -> None:
    """`target` shows `upper` over `lowers` (the first is on top); only `upper` is ever written."""
    stack = ":".join(_escape(lower) for lower in lowers)
    options = f"lowerdir={stack},upperdir={_escape(upper)},workdir={_escape(work)}"
    _mount("overlay", str(target), "overlay", 0, options)


def identity_mapped(source: Path, target: Path, user_namespace: Path, *, read_only: bool) -> None:
    """`target` shows `source` with the owners that the user namespace maps them to; files on disk are not touched."""
    tree = _call(_SYS_OPEN_TREE, _AT_FDCWD, str(source).encode(), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
    namespace = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = _MOUNT_ATTR_IDMAP | (_MOUNT_ATTR_RDONLY if read_only else 0)
        attr = _MountAttr(flags, 0, 0, namespace)
        size = ctypes.sizeof(attr)
        _call(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attr), ctypes.c_size_t(size))
        _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, str(target).encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        text = f"the kernel or the filesystem of {source} has no identity-mapped mounts (Linux 5.19 and ext4, xfs or btrfs)"
        raise Refused(text, Why.UNAVAILABLE) from error
    finally:
        os.close(namespace)
        os.close(tree)


def is_mounted(target: Path) -> bool:
    """Something is mounted at `target`, be it a folder or a file."""
    try:
        return target.lstat().st_dev != target.parent.stat().st_dev
    except FileNotFoundError:
        return False


def is_bound(source: Path, target: Path) -> bool:
    """`target` is the folder `source` itself."""
    return target.exists() and target.samefile(source)


def unmount(target: Path) -> None:
    """Nothing is mounted at `target` any more."""
    while _umount(target):
        pass


def unmount_below(folder: Path) -> None:
    """Nothing is mounted at or below `folder` any more."""
    for point in reversed(mounted_below(folder)):
        _umount(point)


def mounted_below(folder: Path) -> tuple[Path, ...]:
    """All mount points at or below `folder`, in the order in which they were mounted."""
    points = (Path(_unescape(line.split()[4])) for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return tuple(point for point in points if point.is_relative_to(folder))


def _umount(target: Path) -> bool:
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOENT):
        return False
    raise OSError(number, f"umount {target}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    if _libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or 'bind'} {target}: {os.strerror(number)}")


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"system call {number}: {os.strerror(code)}")
    return result


def _escape(path: Path) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in str(path))


def _unescape(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text
