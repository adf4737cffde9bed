"""Is a store there, writable, and not full? Looked at, never remembered.

A folder where a mount should be looks like an empty store: writing there would fill the machine's own disk, so a store that
is not a mount point of its own is a fault, whatever the folder holds.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sysvm.wire.channel import StoreSeen
from sysvm.wire.documents import Store
from sysvm.wire.machines import ServiceFault

PROBE = ".sysvm-probe-"
FULL_BYTES = 256 * 1024 * 1024
TELL_AGAIN_S = 300.0  # what was told on a link that had just broken is told again
_TIME = re.compile(r" for \d+ s$")  # how long it is so already

Mounts = Callable[[], set[str]]


def mount_points() -> set[str]:
    """Where something is mounted in this machine."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Spaces and the like are written as octal numbers.
    return {line.split()[4].encode().decode("unicode_escape") for line in lines}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a store."""

    fault: ServiceFault | None = None
    total: int = 0  # bytes; 0: it could not be asked
    used: int = 0
    stale: bool = False  # the server no longer has what is mounted


def look(store: Store, mounts: set[str], why: str = "") -> Look:
    """What there is to see of a store now. `why`: the reason, if it is known, why it is not mounted."""
    path = Path(store.path)
    if str(path) not in mounts:
        return Look(_not_mounted(store, why))
    try:
        left = os.statvfs(path)
        unwritable = None if store.read_only or left.f_flag & os.ST_RDONLY else _not_writable(path)
    except OSError as error:
        why = f"{name_of(store)} does not answer: {error.strerror}"
        return Look(_fault(store, why, "look at the server of the store"), stale=error.errno == errno.ESTALE)
    fault = _fault_of(store, left, unwritable)
    return Look(fault, left.f_blocks * left.f_frsize, (left.f_blocks - left.f_bfree) * left.f_frsize)


def store_fault(store: Store, mounts: set[str]) -> ServiceFault | None:
    """What is wrong with a store now."""
    return look(store, mounts).fault


def name_of(store: Store) -> str:
    """As operators know it."""
    if store.bucket is not None:
        return f"{store.bucket.url}/{store.bucket.name}"
    return store.nfs.place if store.nfs is not None else store.path


def hanging(store: Store, seconds: float) -> Look:
    """What is said of a store that has not answered for so long."""
    why = f"{name_of(store)} has not answered for {max(1, round(seconds))} s"
    remedy = "look at its server and at the network to it; what is under way goes on when it is back"
    return Look(_fault(store, why, remedy))


def told(store: Store, seen: Look) -> StoreSeen:
    """For the server."""
    why, remedy = (seen.fault.why, seen.fault.remedy) if seen.fault is not None else ("", "")
    return StoreSeen(store=store.store, total=seen.total, used=seen.used, why=_TIME.sub("", why), remedy=remedy)


def is_news(before: tuple[StoreSeen, ...], now: tuple[StoreSeen, ...], *, up: bool) -> bool:
    """Whether the server should hear of it: another fault, another size, or a hundredth of it more or less in use."""
    if not up or len(before) != len(now):
        return up
    return any(
        (old.store, old.why, old.total) != (new.store, new.why, new.total) or abs(old.used - new.used) * 100 > new.total
        for old, new in zip(before, now, strict=True)
    )


def _not_mounted(store: Store, why: str) -> ServiceFault:
    if store.nfs is None:
        return _fault(store, f"{store.path} is not mounted", "look at the store's export and at the host's mount of it")
    said = f"{name_of(store)} is not mounted: {why}" if why else f"{name_of(store)} is being mounted"
    return _fault(store, said, "look at the NFS server, at its exports and at the network to it")


def _fault_of(store: Store, left: os.statvfs_result, unwritable: str | None) -> ServiceFault | None:
    name = name_of(store)
    if store.read_only:
        return None
    if left.f_flag & os.ST_RDONLY:
        return _fault(store, f"{name} is mounted read-only", "mount it for writing, or mark the store read-only")
    if unwritable is not None:
        return _fault(store, f"{name} cannot be written: {unwritable}", "look at the rights and the disk of the store")
    if left.f_bavail * left.f_frsize < FULL_BYTES:
        return _fault(store, f"{name} is full", "delete images, or make the store larger")
    return None


def _not_writable(path: Path) -> str | None:
    """Raises OSError when the store is not what it was."""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=PROBE) as file:
            file.write(b"written")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ETIMEDOUT):
            raise
        return "it is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return None


def _fault(store: Store, why: str, remedy: str) -> ServiceFault:
    return ServiceFault(service=f"store {store.store}", why=why, remedy=remedy)
