"""Server, host agent and image server as daemons under s6: restarted when they die, logs bounded (10 files of 1 MB)."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sysvm.basics.errors import NotYet, Refused, Why

LOG_BYTES, LOG_FILES = 1_000_000, 10
STOP_S = 30.0


class Supervisor:
    """The services of one state folder. `keeps`: descriptors that stay open as long as the services are supervised."""

    def __init__(self, state: Path, keeps: Sequence[int] = ()) -> None:
        self._state = state
        self._keeps = tuple(keeps)
        self._scan = state / "services"

    def add(self, name: str, command: Sequence[str]) -> None:
        """The service runs from now on, whether or not it did before; a changed command restarts it."""
        service = self._scan / name
        logs = self._state / "logs" / name
        logs.mkdir(parents=True, exist_ok=True)
        changed = _script(service / "run", f"exec 2>&1\nexec {shlex.join(command)}\n")
        _script(service / "log" / "run", f"exec s6-log n{LOG_FILES} s{LOG_BYTES} {shlex.quote(str(logs))}\n")
        self._start_scan()
        self._control("s6-svscanctl", "-a", str(self._scan))
        if changed and (service / "supervise").exists():
            self._control("s6-svc", "-r", str(service))

    def _start_scan(self) -> None:
        if self.is_running():
            return
        (self._state / "logs").mkdir(exist_ok=True)
        with (self._state / "logs" / "supervisor").open("ab") as log:
            subprocess.Popen(
                ["s6-svscan", str(self._scan)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._keeps,
            )
        self._wait(self.is_running, "the supervisor does not start")

    def pid(self, name: str) -> int | None:
        """The process of a service, while it runs."""
        told = subprocess.run(
            ["s6-svstat", "-o", "pid", str(self._scan / name)], capture_output=True, text=True, check=False
        ).stdout.strip()
        return int(told) if told.isdecimal() else None

    def last_words(self, name: str) -> str:
        """The last line that a service has logged."""
        log = self._state / "logs" / name / "current"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it has said nothing")

    def is_running(self) -> bool:
        """Whether s6-svscan serves our folder."""
        return self._scan.exists() and self._control("s6-svscanctl", "-a", str(self._scan)) == 0

    def stop(self) -> None:
        """No service runs afterwards, nor the supervisor."""
        if not self._scan.exists():
            return
        led = self.is_running()
        for service in self._scan.iterdir():
            self._end(service)
            if not led:
                # Its logger is the supervisor's to end, but that was killed.
                self._end(service / "log")
        self._control("s6-svscanctl", "-t", str(self._scan))
        try:
            self._wait(lambda: not self._alive(), "the services do not stop")
        except NotYet:
            self._kill_all()
        shutil.rmtree(self._scan)

    def _end(self, service: Path) -> None:
        if (service / "supervise").exists():
            self._control("s6-svc", "-xd", str(service))

    def _kill_all(self) -> None:
        """Whoever does not want to hear: supervisors first, so that they start nothing again."""
        for pid in self._alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait(lambda: not self._alive(), "the services do not end")

    def _alive(self) -> list[int]:
        """Processes that work for this folder: supervisor, its children, and what they run."""
        needle = str(self._state).encode()
        ours = (b"s6-svscan", b"s6-supervise", b"s6-log", b"sysvm")
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                here = (entry / "cwd").readlink()
            except OSError:
                continue
            if any(name in word for word in words[:3] for name in ours):
                below = str(here).startswith(str(self._scan))
                if below or any(word.startswith(needle + b"/services") for word in words):
                    found.append(int(entry.name))
        return found

    def _wait(self, done: Callable[[], object], failure: str) -> None:
        end = time.monotonic() + STOP_S
        while not done():
            if time.monotonic() > end:
                raise NotYet(0, failure)
            time.sleep(0.05)

    def _control(self, *command: str) -> int:
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode
        except FileNotFoundError:
            raise Refused(f"{command[0]} is missing: run `make packages`", Why.UNAVAILABLE) from None


def _script(path: Path, body: str) -> bool:
    """Writes an executable shell script; whether it is another one than before."""
    text = f"#!/bin/sh\n{body}"
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(".new")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)
    return True


def program() -> str:
    """The `sysvm` command beside this Python."""
    return str(Path(sys.executable).with_name("sysvm"))
