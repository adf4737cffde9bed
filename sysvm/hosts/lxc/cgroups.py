"""What liblxc leaves of its control groups: empty folders, in each hierarchy, that nobody else removes."""

import errno
import os
import signal
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def is_unified(root: Path = ROOT) -> bool:
    """True when there is one hierarchy (v2) only."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> tuple[Path, ...]:
    """The mounted hierarchies."""
    return (root,) if is_unified(root) else tuple(folder for folder in sorted(root.iterdir()) if folder.is_dir())


def remove(name: str, root: Path = ROOT) -> None:
    """No group called `name` is left that has no process in it."""
    for hierarchy in hierarchies(root):
        top = hierarchy / name
        if top.is_dir():
            for folder in sorted(top.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                _rmdir(folder)
            _rmdir(top)


def processes(name: str, root: Path = ROOT) -> frozenset[int]:
    """The processes in the group `name` and all below it."""
    found: set[int] = set()
    for hierarchy in hierarchies(root):
        for file in (hierarchy / name).rglob("cgroup.procs"):
            with suppress(FileNotFoundError):
                found.update(int(line) for line in file.read_text().split())
    return frozenset(pid for pid in found if pid > 0)


def signal_all(name: str, number: signal.Signals) -> int:
    """Sends a signal to every process of the group; how many there were."""
    pids = processes(name)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(pids)


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
