"""The limits of a VM's processes (limits.py): its QEMU, and what shares its stores, in one control group.

libvirt cannot do it: in the host's namespace it sees no control groups. A QEMU is bounded a moment after its start; one that was
started by an earlier release, or came from another host, when it is next told to run. Where the kernel does not allow it, the
machine runs without and the log says so.
"""

from sysvm.basics.log import get_logger
from sysvm.hosts import facts
from sysvm.hosts.kvm.domain import domain_name
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import cgroups
from sysvm.hosts.system import limits
from sysvm.wire.machines import MachineSpec

log = get_logger()


def ensure(layout: Layout, spec: MachineSpec, number: int) -> None:
    """Its processes have its limits; `number` is libvirt's while it runs."""
    values = limits.values(limits.of_vm(spec, facts.cpu_mhz()), unified=cgroups.is_unified())
    try:
        cgroups.hold(group(layout, spec.machine, spec.incarnation), values, _pids(layout, spec, number))
    except OSError as error:
        log.warning("limits_not_set", machine=spec.machine, why=str(error))


def remove(layout: Layout, machine: str, incarnation: int) -> None:
    """Nothing is left of its control group."""
    cgroups.remove(group(layout, machine, incarnation))


def group(layout: Layout, machine: str, incarnation: int) -> str:
    """The control group of an incarnation."""
    return f"{layout.cgroup}/vm.{domain_name(machine, incarnation)}"


def _pids(layout: Layout, spec: MachineSpec, number: int) -> list[int]:
    """As libvirt has written them down; what shares a store is called after the number and the beginning of the name."""
    folder, name = layout.run / "libvirt/qemu", domain_name(spec.machine, spec.incarnation)
    files = (folder / f"{name}.pid", *folder.glob(f"{number}-*-fs*.pid"))
    return [int(file.read_text()) for file in files if file.exists()]
