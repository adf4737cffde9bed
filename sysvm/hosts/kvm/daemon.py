"""The libvirtd of one state folder, with a virtlogd beside it that bounds what serial lines write.

Both run in the host's network namespace and in a mount namespace of their own, where /run/libvirt, /etc/libvirt,
/var/lib/libvirt, /var/log/libvirt and /var/cache/libvirt are folders of this state folder: the machine's own libvirtd,
and that of another state folder, neither see nor disturb them. What must not survive a reboot (sockets, pid files,
libvirt's memory of running machines) is in the runtime folder, a tmpfs.

Machines outlive both daemons: a libvirtd that is started again finds them by its pid and status files. Two starters at once
are harmless, because the second daemon cannot lock the pid file. Mounts that the host makes later (pools) are seen inside,
since `ip netns exec` makes the mount namespace a slave of the machine's.

QEMU runs as the user that its domain names (owners.py), without any capability, in libvirt's seccomp sandbox. Two of the folders
may be walked through by others, because what QEMU makes and connects to is below them; what is in them is shut or QEMU's own.
There is no AppArmor profile for private folders.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet, Refused
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.layout import Layout
from sysvm.hosts.system import access
from sysvm.hosts.system.programs import run
from sysvm.hosts.system.userids import GROUP

LIBVIRTD = "/usr/sbin/libvirtd"
VIRTLOGD = "/usr/sbin/virtlogd"
_LOG_BYTES = 1024 * 1024
log = get_logger()


@dataclass(frozen=True, slots=True)
class Folders:
    """What stands in for libvirt's own folders."""

    layout: Layout

    @property
    def own(self) -> dict[Path, str]:
        """Our folder -> where the daemons see it. No other host has these: they tell our processes from others'."""
        durable = self.layout.libvirt
        return {
            self.run: "/run/libvirt",
            durable / "etc": "/etc/libvirt",
            durable / "lib": "/var/lib/libvirt",
            durable / "log": "/var/log/libvirt",
        }

    @property
    def mounts(self) -> dict[Path, str]:
        """With what QEMU can do, which takes seconds to find out and is the same for all hosts of this machine."""
        return {**self.own, self.layout.cache / "libvirt": "/var/cache/libvirt"}

    @property
    def run(self) -> Path:
        """/run/libvirt of the daemons."""
        return self.layout.run / "libvirt"

    @property
    def socket(self) -> Path:
        """Where libvirtd listens."""
        return self.run / "libvirt-sock"

    @property
    def domains(self) -> Path:
        """The definitions of machines; none means that libvirt has nothing of ours."""
        return self.layout.libvirt / "etc" / "qemu"


def configuration(layout: Layout) -> dict[str, str]:
    """The files below /etc/libvirt, by name."""
    host = uuid.uuid5(uuid.NAMESPACE_URL, f"sysvm:{layout.state}")
    return {
        "libvirtd.conf": (
            f'host_uuid = "{host}"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_group = "root"\n'
            'unix_sock_ro_perms = "0700"\nunix_sock_rw_perms = "0700"\n'
            'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"\n'
        ),
        "qemu.conf": (
            'user = "root"\ngroup = "root"\ndynamic_ownership = 0\nremember_owner = 0\n'
            'security_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n'
            'stdio_handler = "logd"\nclear_emulator_capabilities = 1\nseccomp_sandbox = 1\nmax_core = 0\n'
        ),
        "virtlogd.conf": (
            f'log_outputs = "3:file:/var/log/libvirt/virtlogd.log"\nmax_size = {_LOG_BYTES}\nmax_backups = 1\nmax_age_days = 7\n'
        ),
    }


class Daemon:
    """Starts and finds the daemons of one state folder."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.folders = Folders(layout)
        self._starting = asyncio.Lock()

    def was_ever_used(self) -> bool:
        """False when libvirt can know no machine of ours, so that nobody need ask it."""
        return any(self.folders.domains.glob("*.xml")) or self.folders.socket.exists()

    async def ensure(self) -> Path:
        """Both daemons run; the socket of libvirtd. DriverUnavailable when they cannot."""
        async with self._starting:
            try:
                if not _alive(self.folders.run / "virtlogd.pid", "virtlogd"):
                    await self._start(VIRTLOGD, "virtlogd")
                if not _alive(self.folders.run / "libvirtd.pid", "libvirtd"):
                    await self._start(LIBVIRTD, "libvirtd")
                    log.info("libvirtd_started", state=str(self._layout.state))
            except (NotYet, Refused, OSError) as error:
                raise DriverUnavailable(f"libvirtd does not start: {error}") from error
        return self.folders.socket

    async def _start(self, program: str, name: str) -> None:
        if not Path(program).exists():
            raise DriverUnavailable(f"{program} is not installed")
        if not self._layout.namespace_path.exists():
            raise DriverUnavailable(f"network namespace {self._layout.namespace} is not there yet")
        await asyncio.to_thread(self._prepare)
        words = [word for ours, theirs in self.folders.mounts.items() for word in (str(ours), theirs)]
        script = (
            'hostname "$1" && program=$2 pid=$3 && shift 3 || exit 1; '
            'while [ $# -gt 0 ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; '
            'exec "$program" --daemon --pid-file "$pid"'
        )
        pid = f"/run/libvirt/{name}.pid"
        inside = ("ip", "netns", "exec", self._layout.namespace, "unshare", "--uts")
        # libvirt looks up a name without a dot, and from our namespace nobody answers: 30 s at its start.
        host = f"{self._layout.namespace}.host"
        await run(*inside, "sh", "-c", script, "sh", host, program, pid, *words, seconds=30)

    def _prepare(self) -> None:
        for ours, theirs in self.folders.mounts.items():
            ours.mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(theirs).mkdir(parents=True, exist_ok=True)
        for walked in (self.folders.run, self._layout.libvirt / "lib"):
            walked.chmod(0o711)
            access.open_way(walked, GROUP)
        etc = self._layout.libvirt / "etc"
        for name, content in configuration(self._layout).items():
            (etc / name).write_text(content)
        for grown in (self._layout.libvirt / "log").glob("*.log"):
            if grown.stat().st_size > _LOG_BYTES:
                os.truncate(grown, 0)


def _alive(pid_file: Path, name: str) -> bool:
    """Whether the process of a pid file runs and still is what the file's writer was."""
    try:
        pid = int(pid_file.read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == name and not _is_zombie(pid)
    except (OSError, ValueError):
        return False


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def processes_of(layout: Layout) -> Iterator[int]:
    """Every process that sees our folders where libvirt's are: both daemons and each QEMU. No pid file is believed."""
    own = Folders(layout).own
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and any(_is_same(entry / "root" / theirs[1:], ours) for ours, theirs in own.items()):
            yield int(entry.name)


def _is_same(seen: Path, ours: Path) -> bool:
    try:
        return seen.samefile(ours)
    except OSError:
        return False


def kill_all(pids: Iterator[int] | list[int]) -> None:
    """SIGKILL to each; those that are gone already do not matter."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
