"""The configuration of a container, as text. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sysvm.hosts.system import limits
from sysvm.hosts.system.userids import SIZE
from sysvm.wire.machines import Kind, MachineSpec

INIT = "/usr/lib/sysvm/init"
# What a container in a user namespace of its own could still do to the machine as a whole.
_DROPPED = "mac_admin mac_override sys_module sys_rawio sys_time"
# What no daemon of ours needs, either; in a guest its own system may.
_DROPPED_OF_OURS = "audit_control audit_read block_suspend linux_immutable mknod sys_pacct sys_ptrace syslog wake_alarm"
# System calls that are refused: what LXC's own list has, and ways into the kernel that have let others out of containers.
_REFUSED = "kexec_load open_by_handle_at init_module finit_module delete_module"
_REFUSED_OF_OURS = (
    "add_key bpf io_uring_enter io_uring_register io_uring_setup kexec_file_load keyctl perf_event_open request_key userfaultfd"
)


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
    seccomp: Path


def seccomp(spec: MachineSpec) -> str:
    """The file `seccomp` of the container."""
    names = _REFUSED.split() if spec.kind is Kind.GUEST else [*_REFUSED.split(), *_REFUSED_OF_OURS.split()]
    return "\n".join(["2", "denylist", "reject_force_umount", "[all]", *(f"{name} errno 1" for name in names), ""])


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
        f"lxc.seccomp.profile = {places.seccomp}",
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
    return "\n".join([*lines, ""])


def _inside(spec: MachineSpec, places: Places) -> Iterator[str]:
    if spec.kind is Kind.GUEST:
        yield "lxc.init.cmd = /sbin/init"
        return
    yield f"lxc.init.cmd = {INIT}"
    # Nothing in the template is setuid or has capabilities of its own: there is nothing to gain, and nobody shall.
    yield "lxc.no_new_privs = 1"
    yield f"lxc.cap.drop = {_DROPPED_OF_OURS}"
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
