"""Primary storage pools: where volumes and images of this host are, and how a file gets its name safely.

    <pool>/images/<sha256>.{qcow2,raw,tar,iso}   read-only, shared by all volumes made from them
    <pool>/volumes/<volume>.qcow2                a thin overlay on its template, or flat without one
    <pool>/volumes/<volume>/                     a container's root, unpacked from a tar
    <pool>/staged/<snapshot>.qcow2               a snapshot on its way to secondary storage

A thing has its name only when it is whole: it is made under a name with a dot in front, synced, and then named without ever
replacing what has the name already. No name from outside becomes part of a path unchecked.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakValueDictionary

from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts import layout
from sysvm.wire.machines import Disk

IMAGE_FORMATS = {"qcow2": "qcow2", "raw": "raw", "iso": "iso", "tar": "tar", "dir": "tar"}

_NAME = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()


# ---------------------------------------------------------------- where things are
def pool_folder(pool: str) -> Path:
    """The folder of a pool; Refused for anything but a plain absolute path."""
    folder = Path(pool)
    if not folder.is_absolute() or ".." in folder.parts:
        raise Refused(f"primary storage {pool!r} is not an absolute path")
    return folder


def volume_file(pool: str, volume: str, fmt: str) -> Path:
    """Where a volume is (or will be); Refused for a name that could lead elsewhere."""
    if not _NAME.fullmatch(volume):
        raise Refused(f"{volume!r} is no name of a volume")
    if fmt not in ("qcow2", "dir"):
        raise Refused(f"volumes of format {fmt!r} are not made here: use qcow2 or dir")
    return layout.volume_path(Disk(volume=volume, pool=str(pool_folder(pool)), size=0, format=fmt))


def image_file(pool: str, sha256: str, fmt: str) -> Path:
    """Where the image with this digest is (or will be)."""
    if not _SHA256.fullmatch(sha256):
        raise Refused(f"{sha256!r} is no SHA-256")
    if fmt.lower() not in IMAGE_FORMATS:
        raise Refused(f"images of format {fmt!r} cannot be used on this host")
    return layout.image_path(str(pool_folder(pool)), sha256, IMAGE_FORMATS[fmt.lower()])


def staged_file(pool: str, snapshot: str) -> Path:
    """Where a snapshot is until secondary storage has it."""
    if not _NAME.fullmatch(snapshot):
        raise Refused(f"{snapshot!r} is no name of a snapshot")
    return pool_folder(pool) / "staged" / f"{snapshot}.qcow2"


def lock_of(file: Path) -> asyncio.Lock:
    """The lock that orders all work on `file` in this process (a state folder has one host agent)."""
    lock = _locks.get(file)
    if lock is None:
        lock = _locks[file] = asyncio.Lock()
    return lock


def list_images(pools: Iterable[str]) -> tuple[str, ...]:
    """All whole images, as "<pool>/<sha256>"."""
    files = ((pool, file) for pool in pools for file in entries(pool, "images"))
    return tuple(sorted({f"{pool}/{file.stem}" for pool, file in files if file.suffix[1:] in IMAGE_FORMATS}))


def list_volumes(pools: Iterable[str]) -> tuple[str, ...]:
    """All whole volumes, as "<pool>/<volume>"."""
    return tuple(sorted(f"{pool}/{entry.stem}" for pool in pools for entry in entries(pool, "volumes")))


def entries(pool: str, folder: str) -> list[Path]:
    """What is whole in a folder of a pool; names with a dot in front are not."""
    place = pool_folder(pool) / folder
    return [entry for entry in place.iterdir() if not entry.name.startswith(".")] if place.is_dir() else []


# ---------------------------------------------------------------- names and durability
def publish_file(fresh: Path, path: Path) -> None:
    """`fresh`, synced, is `path` from now on; FileExistsError when that is taken."""
    sync(fresh)
    os.link(fresh, path)  # unlike a rename it never replaces
    fresh.unlink()
    sync(path.parent)


def replace_file(fresh: Path, path: Path) -> None:
    """`fresh`, synced, is `path` from now on, whatever was there."""
    sync(fresh)
    fresh.rename(path)
    sync(path.parent)


def publish_folder(fresh: Path, path: Path) -> None:
    """`fresh` is `path` from now on."""
    os.sync()
    fresh.rename(path)
    sync(path.parent)


def take_away(path: Path) -> None:
    """First the name goes, then the bytes, then what a crash left of either."""
    gone, half = path.with_name(f".gone-{path.name}"), path.with_name(f".new-{path.name}")
    remove(gone)
    if path.exists():
        path.rename(gone)
        sync(path.parent)
        remove(gone)
    remove(half)


def remove(path: Path) -> None:
    """No file or folder is there; NotYet while something is mounted inside, because that would be emptied too."""
    if path.is_dir() and not path.is_symlink():
        _refuse_mounts(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refuse_mounts(tree: Path) -> None:
    inside = f"{tree.resolve()}/"
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    if held := [mount for mount in mounts if mount.startswith(inside)]:
        raise NotYet(5, f"{held[0]} is still mounted")


def sync(path: Path) -> None:
    """The bytes of a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
