"""Running the programs that build images, and keeping two builds out of each other's way.

A program that fails refuses the build with its last words. There is no retry here: a build is simply run again.
Locks are flock(2) on a file in the cache, so a killed build leaves none behind; its half-made folders are named
`.new-*` and the next holder of the lock removes them.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.images.places import EPOCH

Progress = Callable[[str], None]

_PATIENCE = 1800.0
_TAIL = 12


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None, stdin: bytes = b"") -> str:
    """The standard output of `command`; Refused with the end of its messages when it fails or is not installed."""
    words = [str(word) for word in command]
    name = Path(words[0]).name
    surroundings = {**os.environ, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH), **(env or {})}
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, env=surroundings, cwd=cwd, timeout=_PATIENCE)
    except FileNotFoundError as missing:
        raise Refused(
            f"{name} is not installed: apt-get install the packages of images/host-packages.txt", Why.UNAVAILABLE
        ) from missing
    except subprocess.TimeoutExpired as late:
        raise Refused(f"{name} did not finish within {_PATIENCE:.0f} s", Why.UNAVAILABLE) from late
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Refused(f"{name} failed ({done.returncode}): " + "\n".join(said[-_TAIL:]), Why.UNAVAILABLE)
    return done.stdout.decode(errors="replace")


def need_root(what: str) -> None:
    """Refused unless this process is root."""
    if os.geteuid() != 0:
        raise Refused(f"{what} needs root: file owners and chroot; run it with sudo", Why.NOT_ALLOWED)


@contextmanager
def exclusive(folder: Path, progress: Progress) -> Iterator[None]:
    """Holds the lock of `folder` (made if missing); waits, and says so, while another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another build is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside `place` that takes its name when the block ends well and is removed when it does not.

    To be used under `exclusive`: what earlier builds left behind is removed first.
    """
    for left in place.parent.glob(".new-*"):
        remove_tree(left)
    fresh = place.parent / f".new-{os.getpid()}-{place.name}"
    fresh.mkdir(parents=True)
    fresh.chmod(0o755)
    try:
        yield fresh
        fresh.rename(place)
    finally:
        if fresh.exists():
            remove_tree(fresh)


def remove_tree(tree: Path) -> None:
    """Removes `tree`; Refused while something is mounted inside it, because that would be emptied too."""
    inside = f"{tree.resolve()}/"
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    if held := [mount for mount in mounts if mount.startswith(inside)]:
        raise Refused(f"{held[0]} is still mounted: unmount it, then build again", Why.IN_USE)
    shutil.rmtree(tree)
