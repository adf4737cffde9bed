"""The configuration of a container, as text. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sysvm.hosts import limits
from sysvm.hosts.lxc.ids import SIZE
from sysvm.wire.machines import Kind, MachineSpec

INIT = "/usr/lib/sysvm/init"
SECCOMP = Path("/usr/share/lxc/config/common.seccomp")
# What a container in a user namespace of its own could still do to the machine as a whole.
_DROPPED = "mac_admin mac_override sys_module sys_rawio sys_time"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one container are on the host."""

    stage: Path
    boot: Path
    channel: Path
    user_namespace: Path
    net_namespace: Path
    console_log: Path
    log: Path
    cgroup: str
    base: int
    host_mhz: int


def render(spec: MachineSpec, places: Places, *, unified_cgroup: bool) -> str:
    """The file `config` of the container."""
    lines = [
        f"lxc.uts.name = {spec.hostname}",
        f"lxc.rootfs.path = dir:{places.stage / 'root'}",
        f"lxc.idmap = u 0 {places.base} {SIZE}",
        f"lxc.idmap = g 0 {places.base} {SIZE}",
        f"lxc.namespace.share.user = {places.user_namespace}",
        f"lxc.namespace.share.net = {places.net_namespace}",
        "lxc.mount.auto = proc:mixed sys:mixed",
        "lxc.mount.entry = /dev/net/tun dev/net/tun none bind,create=file 0 0",
        "lxc.pty.max = 64",
        "lxc.tty.max = 1",
        f"lxc.cap.drop = {_DROPPED}",
        "lxc.apparmor.profile = unconfined",
        "lxc.signal.halt = SIGPWR",
        f"lxc.console.logfile = {places.console_log}",
        "lxc.console.size = 1MB",
        f"lxc.log.file = {places.log}",
        "lxc.log.level = ERROR",
        f"lxc.cgroup.dir = {places.cgroup}",
        *_limits(spec, places.host_mhz, unified_cgroup=unified_cgroup),
        *_inside(spec, places),
    ]
    if SECCOMP.exists():
        lines.append(f"lxc.seccomp.profile = {SECCOMP}")
    return "\n".join([*lines, ""])


def _inside(spec: MachineSpec, places: Places) -> Iterator[str]:
    if spec.kind is Kind.GUEST:
        yield "lxc.init.cmd = /sbin/init"
        return
    yield f"lxc.init.cmd = {INIT}"
    yield f"lxc.mount.entry = {_escape(places.boot)} sysvm/boot none bind,ro,create=dir 0 0"
    yield f"lxc.mount.entry = {_escape(places.stage / 'state')} sysvm/state none bind,create=dir 0 0"
    yield f"lxc.mount.entry = {_escape(places.channel)} sysvm/host none bind,ro,create=dir 0 0"
    for store in spec.stores:
        source = _escape(places.stage / "store" / store.store)
        yield f"lxc.mount.entry = {source} sysvm/store/{store.store} none bind,create=dir 0 0"


def _limits(spec: MachineSpec, host_mhz: int, *, unified_cgroup: bool) -> Iterator[str]:
    version = "cgroup2" if unified_cgroup else "cgroup"
    for name, value in limits.values(limits.of_container(spec, host_mhz), unified=unified_cgroup).items():
        yield f"lxc.{version}.{name} = {value}"


def _escape(path: Path) -> str:
    return str(path).replace(" ", "\\040")
