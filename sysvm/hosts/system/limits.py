"""How much of a host a machine may have, as values for control groups of either version. Pure.

Limits are limits, not reservations: memory as asked, processors as many as asked. The clock rate weighs machines against each
other where processors are short, and is a limit of its own where the offering says so (`limitcpuuse`): then a machine has no more
than its share of the host's clock, however idle the host is. A system VM weighs no more than `_MOST_OF_SYSTEM_VM`, so that
one that runs wild keeps no guest from its own.

A VM's limits hold for its QEMU as a whole. What QEMU does beside the guest's processors (disks, screens, copies) is one
processor more, unless the clock is limited; its own memory is allowed for generously, because who oversteps it is killed.
"""

from dataclasses import dataclass

from sysvm.wire.machines import Kind, MachineSpec

PERIOD = 100_000
_PROCESSES = 4096
_LEAST_QUOTA = 1000  # the kernel's
_MOST_OF_SYSTEM_VM = 1024  # what the kernel gives to whoever has no weight
_OF_QEMU_MB = 640  # its own, with the code cache of an emulated system VM


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one machine."""

    memory_mb: int
    quota: int  # microseconds of processor time in each PERIOD
    shares: int
    processes: int = _PROCESSES


def of_container(spec: MachineSpec, host_mhz: int) -> Limits:
    """All that runs in the container."""
    return Limits(spec.memory_mb, _quota(spec, host_mhz, spec.cpus), _shares(spec))


def of_vm(spec: MachineSpec, host_mhz: int) -> Limits:
    """The QEMU of a VM."""
    memory = spec.memory_mb + spec.memory_mb // 4 + _OF_QEMU_MB
    beside = 0 if spec.cpu_limited else 1
    return Limits(memory, _quota(spec, host_mhz, spec.cpus + beside), _shares(spec))


def values(limits: Limits, *, unified: bool) -> dict[str, str]:
    """File of the control group -> what is written into it, in this order."""
    if unified:
        return {
            "memory.max": str(limits.memory_mb * 1024 * 1024),
            "cpu.max": f"{limits.quota} {PERIOD}",
            "cpu.weight": str(min(10000, max(1, limits.shares // 10))),
            "pids.max": str(limits.processes),
        }
    return {
        "memory.limit_in_bytes": str(limits.memory_mb * 1024 * 1024),
        "cpu.cfs_period_us": str(PERIOD),
        "cpu.cfs_quota_us": str(limits.quota),
        "cpu.shares": str(max(2, limits.shares)),
        "pids.max": str(limits.processes),
    }


def _quota(spec: MachineSpec, host_mhz: int, cpus: int) -> int:
    part = min(1.0, spec.cpu_mhz / host_mhz) if spec.cpu_limited and host_mhz > 0 else 1.0
    return max(_LEAST_QUOTA, round(cpus * PERIOD * part))


def _shares(spec: MachineSpec) -> int:
    shares = spec.cpus * spec.cpu_mhz
    return shares if spec.kind is Kind.GUEST else min(shares, _MOST_OF_SYSTEM_VM)
