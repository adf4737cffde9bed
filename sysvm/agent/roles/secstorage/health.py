"""Is a store there, writable, and not full? Looked at, never remembered.

A folder where a mount should be looks like an empty store: writing there would fill the machine's own disk, so a store that
is not a mount point of its own is a fault, whatever the folder holds.
"""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from sysvm.wire.documents import Store
from sysvm.wire.machines import ServiceFault

PROBE = ".sysvm-probe-"
FULL_BYTES = 256 * 1024 * 1024

Mounts = Callable[[], set[str]]


def mount_points() -> set[str]:
    """Where something is mounted in this machine."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Spaces and the like are written as octal numbers.
    return {line.split()[4].encode().decode("unicode_escape") for line in lines}


def store_fault(store: Store, mounts: set[str]) -> ServiceFault | None:
    """What is wrong with a store now."""
    path = Path(store.path)
    if str(path) not in mounts:
        return _fault(store, f"{path} is not mounted", "look at the store's export and at the host's mount of it")
    try:
        left = os.statvfs(path)
    except OSError as error:
        return _fault(store, f"{path} does not answer: {error.strerror}", "look at the server of the store")
    if store.read_only:
        return None
    if left.f_flag & os.ST_RDONLY:
        return _fault(store, f"{path} is mounted read-only", "mount it for writing, or mark the store read-only")
    if (why := _not_writable(path)) is not None:
        return _fault(store, f"{path} cannot be written: {why}", "look at the rights and the disk of the store")
    if left.f_bavail * left.f_frsize < FULL_BYTES:
        return _fault(store, f"{path} is full", "delete images, or make the store larger")
    return None


def _not_writable(path: Path) -> str | None:
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=PROBE) as file:
            file.write(b"written")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return "it is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return None


def _fault(store: Store, why: str, remedy: str) -> ServiceFault:
    return ServiceFault(service=f"store {store.store}", why=why, remedy=remedy)
