"""The lxc commands: start, stop, ask. They know containers by name, and nothing of machines.

A container's monitor is a process of its own: it outlives whoever started it. Whether one runs is read from the process
id of its init once that is known (with its start time, because ids come again), else asked from lxc-info.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.system.commands import attempt
from sysvm.wire.machines import Power

_POWER = {
    "STOPPED": Power.STOPPED,
    "STARTING": Power.STARTING,
    "RUNNING": Power.RUNNING,
    "STOPPING": Power.STOPPING,
    "ABORTING": Power.STOPPING,
    "FREEZING": Power.RUNNING,
    "FROZEN": Power.RUNNING,
    "THAWED": Power.RUNNING,
}


@dataclass(frozen=True, slots=True)
class Init:
    """The first process of a container."""

    pid: int
    started: str

    def lives(self) -> bool:
        """False once it has ended, also when its id has come again."""
        return process_start(self.pid) == self.started


def process_start(pid: int) -> str | None:
    """When the process began, in ticks since boot; None when there is none (or only its remains)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


class Containers:
    """The containers below one lxcpath."""

    def __init__(self, lxcpath: Path) -> None:
        self._path = str(lxcpath)
        self._inits: dict[str, Init] = {}

    async def power(self, name: str) -> Power:
        """Whether it runs. Raises DriverUnavailable when lxc cannot say."""
        known = self._inits.get(name)
        if known is not None and known.lives():
            return Power.RUNNING
        self._inits.pop(name, None)
        return (await self._info(name))[0]

    async def init(self, name: str) -> Init | None:
        """Its first process, when it runs."""
        known = self._inits.get(name)
        if known is None or not known.lives():
            await self._info(name)
        return self._inits.get(name)

    async def start(self, name: str, log: Path) -> None:
        """It runs. Raises NotYet with lxc's reason when it did not start."""
        log.unlink(missing_ok=True)
        outcome = await attempt("lxc-start", "-P", self._path, "-n", name)
        if outcome.code:
            raise NotYet(5, f"container {name} did not start: {_reason(log) or outcome.last_words}")

    async def stop(self, name: str, grace_s: float) -> None:
        """It does not run; killed when `grace_s` is over."""
        if grace_s > 0:
            await attempt(
                "lxc-stop", "-P", self._path, "-n", name, "--timeout", str(max(1, round(grace_s))), seconds=grace_s + 60
            )
        else:
            await attempt("lxc-stop", "-P", self._path, "-n", name, "--kill")
        if await self.power(name) is not Power.STOPPED:
            await self._kill(name)
        self._inits.pop(name, None)

    async def _kill(self, name: str) -> None:
        # The monitor may be dead (kill -9): then lxc-stop reaches nobody, and the init is ours to end.
        init = self._inits.get(name)
        if init is not None and init.lives():
            os.kill(init.pid, signal.SIGKILL)
        raise NotYet(1, f"container {name} is still ending")

    async def _info(self, name: str) -> tuple[Power, Init | None]:
        if not (Path(self._path) / name / "config").exists():
            return Power.ABSENT, None
        outcome = await attempt("lxc-info", "-P", self._path, "-n", name, "-s", "-p")
        answers = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in outcome.out.splitlines())}
        if outcome.code or answers.get("State") not in _POWER:
            raise DriverUnavailable(f"lxc-info {name}: {outcome.last_words}")
        pid = int(answers.get("PID", "0"))
        started = process_start(pid) if pid > 0 else None
        if started is not None:
            self._inits[name] = Init(pid, started)
        return _POWER[answers["State"]], self._inits.get(name)


def _reason(log: Path) -> str:
    if not log.exists():
        return ""
    lines = [line for line in log.read_text(errors="replace").splitlines() if " ERROR " in line]
    return lines[0].partition(" - ")[2][-300:] if lines else ""
