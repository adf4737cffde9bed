"""Services under s6: a rendered service directory, linked into the scan directory while it is wanted.

s6 starts a daemon again when it dies, once a second at most. The agent reads s6's own status file (no program is started
for a look) and notices by the process id that a daemon has been started again. What is not linked does not run, and its
directory is removed. The services of the template itself (agent, logger) are none of ours.
"""

import os
import shutil
import struct
import time
from pathlib import Path

import msgspec

from sysvm.agent.command import CommandFailed, run
from sysvm.agent.paths import Paths
from sysvm.wire.channel import ServiceSeen

_STATUS_PID = 24  # offset in supervise/status: after two time stamps of 12 bytes each
_SECONDS = 10.0
_SCAN_NOW = b"a"  # what s6-svscanctl -a says to s6-svscan
_LINK_ROUNDS, _LINK_BREATH = 1000, 0.005
# A daemon that was killed may leave children that hold its ports: they are of its process group, the fourth argument.
_FINISH = b'#!/bin/sh\nkill -KILL -- "-$4" 2> /dev/null\nexit 0\n'


class Daemon(msgspec.Struct, frozen=True):
    """A service that should run: what its `run` script says."""

    name: str
    script: str
    down_signal: str = "SIGTERM"


class Supervision:
    """The services of this machine that the agent has linked in."""

    def __init__(self, paths: Paths) -> None:
        self._scan = paths.scan
        self._folder = paths.run / "services"
        self._pids: dict[str, int] = {}
        self._restarts: dict[str, int] = {}

    def ensure(self, daemon: Daemon) -> None:
        """The daemon is linked in with this script; it is started again when the script has changed."""
        folder = self._folder / daemon.name
        folder.mkdir(parents=True, exist_ok=True)
        changed = write_if_changed(folder / "run", daemon.script.encode(), 0o755)
        write_if_changed(folder / "down-signal", f"{daemon.down_signal}\n".encode(), 0o644)
        write_if_changed(folder / "finish", _FINISH, 0o755)
        link = self._scan / daemon.name
        if not link.is_symlink():
            self._link(link, folder)
        elif not self.pid(daemon.name):
            run("s6-svc", "-u", str(link))
        elif changed:
            self.restart(daemon.name)
        self._known(daemon.name)

    def _link(self, link: Path, folder: Path) -> None:
        """What s6-svlink does, without its three programs: they cost a tenth of a second each under emulation."""
        link.symlink_to(folder)
        # Opened for both directions: that neither waits for a reader nor fails without one.
        control = os.open(self._scan / ".s6-svscan/control", os.O_RDWR | os.O_NONBLOCK)
        try:
            os.write(control, _SCAN_NOW)
        finally:
            os.close(control)
        for _ in range(_LINK_ROUNDS):
            if (link / "supervise/status").exists():
                return
            time.sleep(_LINK_BREATH)
        raise CommandFailed("s6-svscan", f"does not take up {link.name}")

    def remove(self, name: str) -> None:
        """The daemon does not run and nothing of it is left."""
        if (self._scan / name).is_symlink():
            run("s6-svc", "-wD", "-T", "5000", "-d", str(self._scan / name))
            run("s6-svunlink", "-t", "5000", str(self._scan), name)
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._pids.pop(name, None)
        self._restarts.pop(name, None)

    def restart(self, name: str) -> None:
        """The daemon is a new process afterwards."""
        run("s6-svc", "-wr", "-T", "8000", "-r", str(self._scan / name), seconds=_SECONDS)
        self._known(name)

    def hang_up(self, name: str) -> None:
        """SIGHUP: the daemon reads again what it can read again."""
        run("s6-svc", "-h", str(self._scan / name))

    def reload(self, name: str) -> None:
        """SIGUSR2: a daemon that can, takes its new configuration without closing its doors."""
        run("s6-svc", "-2", str(self._scan / name))

    def retire(self, name: str, signal: str) -> None:
        """The daemon is told with this signal to end when its work is done; it is not started again meanwhile."""
        if (self._scan / name).is_symlink():
            write_if_changed(self._folder / name / "down-signal", f"{signal}\n".encode(), 0o644)
            run("s6-svc", "-d", str(self._scan / name))

    def stop(self, name: str) -> None:
        """The daemon ends and is not started again; its link stays."""
        if (self._scan / name).is_symlink():
            run("s6-svc", "-wD", "-T", "5000", "-d", str(self._scan / name))

    def pid(self, name: str) -> int:
        """The daemon's process; 0 when it does not run."""
        try:
            status = (self._scan / name / "supervise/status").read_bytes()
            pid: int = struct.unpack_from("!Q", status, _STATUS_PID)[0]
        except (OSError, struct.error):
            return 0
        return pid if pid and Path(f"/proc/{pid}").exists() else 0

    def seen(self, name: str) -> ServiceSeen:
        """Whether the daemon runs, and how often it has been started again by s6."""
        pid = self.pid(name)
        if pid and self._pids.get(name, pid) != pid:
            self._restarts[name] = self._restarts.get(name, 0) + 1
        if pid:
            self._pids[name] = pid
        return ServiceSeen(name=name, running=bool(pid), restarts=self._restarts.get(name, 0))

    def _known(self, name: str) -> None:
        # Our own starts are no restarts.
        if pid := self.pid(name):
            self._pids[name] = pid
        else:
            self._pids.pop(name, None)


def write_if_changed(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """The file holds `data`; True when it held something else. Replaced in one step, so that no reader sees a half."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.write_bytes(data)
    new.chmod(mode)
    new.replace(path)
    return True
