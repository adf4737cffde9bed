"""A file system that breaks when told to, in userspace: `/usr/bin/python3 faulty_disk.py BACKING MOUNTPOINT`.

It is BACKING, seen through FUSE. Each line on its standard input is answered with one on its standard output: `EIO write 3000000`
lets 3,000,000 more bytes be written and fails each write from then on; `EIO fsync 2` fails each sync after two more, `EIO read 0`
each read, `EIO read:x 0` each read of files called x (so with other calls); `EROFS change 7` fails whatever changes anything,
after seven such calls; `well` ends that. The answer is how often it was met. It runs with Debian's Python, for which Debian has
packed fusepy; it ends, and what it shows with it, when its standard input does.
"""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

from fusepy import FUSE, FuseOSError, Operations

BACKING, PLACE = sys.argv[1], sys.argv[2]
CHANGES = ("write", "create", "rename", "unlink", "mkdir", "rmdir", "truncate", "fsync", "link", "chmod", "utimens")


class Disk(Operations):
    """See the module."""

    def __init__(self) -> None:
        self.kind, self.code, self.left, self.met = "", 0, 0, 0

    def told(self, line: str) -> None:
        """From now on."""
        self.kind = ""
        if line != "well":
            code, kind, left = line.split()
            self.kind, self.code, self.left, self.met = kind, getattr(errno, code), int(left), 0

    def _meet(self, kind: str, size: int = 1) -> None:
        """Raises the fault when it is this one's turn."""
        if kind == self.kind:
            self._count(size)
        elif self.kind == "change" and kind in CHANGES:
            self._count(1)

    def _count(self, cost: int) -> None:
        if self.left < cost:
            self.left = 0
            self.met += 1
            raise FuseOSError(self.code)
        self.left -= cost

    def __call__(self, op: str, path: str, *args: object) -> object:
        real = BACKING + path
        if op not in ("read", "write"):
            self._meet(op)
            self._meet(f"{op}:{Path(path).name}")
        try:
            return getattr(self, op)(real, *args)
        except OSError as error:
            raise FuseOSError(error.errno) from error

    # ------------------------------------------------------------ what there is
    def access(self, path: str, mode: int) -> None:
        if not os.access(path, mode):
            raise FuseOSError(errno.EACCES)

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        found = os.lstat(path)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime", "st_blocks")
        return {name: getattr(found, name) for name in names}

    def readdir(self, path: str, fh: object) -> list[str]:
        return [".", "..", *(entry.name for entry in Path(path).iterdir())]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(path)
        names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_namemax")
        return {name: getattr(found, name) for name in names}

    # ------------------------------------------------------------ files
    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._meet("read", size)
        self._meet(f"read:{Path(path).name}")
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._meet("write", len(data))
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: object = None) -> None:
        os.truncate(path, length)

    def fsync(self, path: str, datasync: object, fh: int) -> None:
        os.fdatasync(fh)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    # ------------------------------------------------------------ names
    def rename(self, old: str, new: str) -> None:
        Path(old).rename(BACKING + new)

    def unlink(self, path: str) -> None:
        Path(path).unlink()

    def mkdir(self, path: str, mode: int) -> None:
        Path(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        Path(path).rmdir()

    def chmod(self, path: str, mode: int) -> None:
        Path(path).chmod(mode)

    def utimens(self, path: str, times: tuple[float, float] | None = None) -> None:
        os.utime(path, times)


def obey(disk: Disk) -> None:
    """To the end of what is told; then the mount goes, and this process with it."""
    for line in sys.stdin:
        disk.told(line.strip())
        print(disk.met, flush=True)
    subprocess.run(("umount", "--lazy", PLACE), check=False)


def main() -> None:
    """Serves."""
    Path(PLACE).mkdir(exist_ok=True)
    disk = Disk()
    threading.Thread(target=obey, args=(disk,), daemon=True).start()
    FUSE(disk, PLACE, foreground=True, nothreads=True, big_writes=True, direct_io=False, fsname="sysvm-test")


main()
