"""Control groups, of either version: what liblxc leaves of its own (empty folders, in each hierarchy, that nobody else removes),
and groups of ours for processes that nobody else bounds (QEMU, whose libvirtd sees no control groups).
"""

import errno
from collections.abc import Iterable
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


def hold(name: str, values: dict[str, str], pids: Iterable[int], root: Path = ROOT) -> None:
    """The processes are in the group `name`, which has these values. OSError where the kernel does not allow it."""
    unified, members = is_unified(root), tuple(pids)
    for controller in dict.fromkeys(file.partition(".")[0] for file in values):
        group = root / name if unified else root / controller / name
        group.mkdir(parents=True, exist_ok=True)
        if unified:
            for above in reversed(group.relative_to(root).parents):
                (root / above / "cgroup.subtree_control").write_text(f"+{controller}")
        for file, value in values.items():
            if file.startswith(f"{controller}."):
                (group / file).write_text(value)
        for pid in members:
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))


def processes(name: str, root: Path = ROOT) -> frozenset[int]:
    """The processes in the group `name` and all below it."""
    found: set[int] = set()
    for hierarchy in hierarchies(root):
        for file in (hierarchy / name).rglob("cgroup.procs"):
            with suppress(FileNotFoundError):
                found.update(int(line) for line in file.read_text().split())
    return frozenset(pid for pid in found if pid > 0)


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
