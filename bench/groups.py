"""The groups of benchmarks, each run in a process of its own: `python -m bench.groups NAME [--tiny]` prints its rows.

A group that hangs is ended after a deadline that is far beyond what it takes; one that dies in the middle loses the rows
that it had not yet printed, no others.
"""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec

from bench.rows import Row, failed

GROUPS = (
    "server", "api", "links", "rules", "router", "balancer", "engine", "simulated", "console", "replacement", "replacement_vms",
    "replacement_hosts", "real", "snapshots", "storage",
)  # fmt: skip
DEADLINE_S = 400.0  # unless the group has one of its own


class Group(Protocol):
    """What a module of benchmarks has."""

    NAMES: tuple[str, ...]
    NEEDS: tuple[str, ...]

    def run(self, *, tiny: bool) -> Iterator[Row]:
        """Measures; `tiny` only proves that everything works."""
        ...


@dataclass(frozen=True, slots=True)
class Missing(Exception):
    """Something that the benchmark needs is not on this machine."""

    what: str

    def __str__(self) -> str:
        return self.what


def load(name: str) -> Group:
    """The module of a group."""
    return cast(Group, importlib.import_module(f"bench.{name}"))


def run(name: str, *, tiny: bool) -> list[Row]:
    """All rows of the group, in the order of NAMES: what it has not measured is a failed row."""
    command = [sys.executable, "-m", "bench.groups", name, *(["--tiny"] if tiny else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    why = ""
    deadline = max(DEADLINE_S, getattr(load(name), "DEADLINE_S", 0.0))
    try:
        printed, _ = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
        why = f"not done after {deadline:.0f} s"
        printed, _ = _ended(child)
    found = [msgspec.json.decode(line, type=Row) for line in printed.splitlines() if line.startswith('{"name"')]
    names = {row.name for row in found}
    ended = why or f"the benchmark ended with exit code {child.returncode}"
    return found + [failed(name, ended) for name in load(name).NAMES if name not in names]


def _ended(child: subprocess.Popen[str]) -> tuple[str, str]:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.communicate(timeout=30)
    os.killpg(child.pid, signal.SIGKILL)
    return child.communicate()


def missing_programs(group: Group) -> list[str]:
    """What the group needs and the machine has not; "root" is being root."""
    programs = [name for name in group.NEEDS if name != "root" and shutil.which(name) is None]
    return programs + (["root"] if "root" in group.NEEDS and os.geteuid() != 0 else [])


def main(words: list[str]) -> int:
    """In the child: prints each row as soon as it is known."""
    signal.signal(signal.SIGTERM, _told_to_end)
    group = load(words[0])
    missing = missing_programs(group)
    if missing:
        for name in group.NAMES:
            print(msgspec.json.encode(failed(name, f"this machine lacks {', '.join(missing)}")).decode(), flush=True)
        return 0
    done: set[str] = set()
    try:
        for row in group.run(tiny="--tiny" in words):
            done.add(row.name)
            print(msgspec.json.encode(row).decode(), flush=True)
    except Missing as missing_thing:
        for name in group.NAMES:
            if name not in done:
                print(msgspec.json.encode(failed(name, str(missing_thing))).decode(), flush=True)
    return 0


def _told_to_end(_number: int, _frame: object) -> None:
    """As an exception, so that what was started is stopped."""
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
