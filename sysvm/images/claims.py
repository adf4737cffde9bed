"""Claims on what is in the cache: whoever is about to use a template or an agent layer says so, and nobody collects it meanwhile.

    claims/<kind>.<name>    when somebody last said that he wants it: the time of the file
    claims/.lock            shared by who claims, alone for who collects, and both for milliseconds only

A claim is good for as long as collectors wait (hosts/collecting.py), and is made again by who goes on. It says whether the thing
is there: with the answer yes it stays there. Builds have locks of their own (commands.py) and are not waited for.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPLATES, AGENTS = "templates", "agents"


def claim(cache: Path, kind: str, name: str) -> bool:
    """Whether it is there; it is not collected from now on."""
    with _lock(cache, fcntl.LOCK_SH):
        _stamp(cache, kind, name).touch()
        return (cache / kind / name).is_dir()


def last_claim(cache: Path, kind: str, name: str) -> float:
    """When it was last claimed; 0 when never."""
    try:
        return _stamp(cache, kind, name).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def renew(cache: Path, kind: str, name: str) -> None:
    """It is still wanted: said by whoever has shut the others out."""
    _stamp(cache, kind, name).touch()


def forget(cache: Path, kind: str, name: str) -> None:
    """It is no longer there."""
    _stamp(cache, kind, name).unlink(missing_ok=True)


@contextmanager
def nobody_claims(cache: Path) -> Iterator[None]:
    """Nobody claims anything meanwhile. BlockingIOError when somebody does just now."""
    with _lock(cache, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _lock(cache: Path, how: int) -> Iterator[None]:
    folder = cache / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


def _stamp(cache: Path, kind: str, name: str) -> Path:
    return cache / "claims" / f"{kind}.{name}"
