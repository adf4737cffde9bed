"""How things are measured: CPU that the kernel counted, memory that the kernel counted, medians. Wall time only where it
is what a user waits for."""

import os
import resource
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
MB = 2**20


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a living process has used, user and system, all its threads (its reaped children not)."""
    fields = Path(f"/proc/{pid}/schedstat")
    return _threads_cpu_s(pid) if fields.exists() else _ticks_cpu_s(pid)


def _threads_cpu_s(pid: int) -> float:
    """In nanoseconds, thread by thread; a thread that has ended meanwhile is counted by the process's ticks only."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def _ticks_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children_cpu_s() -> float:
    """Seconds of CPU of all children of this process that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return _status_kb(pid, "status", "VmRSS:") * 1024 / MB


def pss_mb(pid: int) -> float:
    """Its share of memory: pages that several processes share are divided among them."""
    return _status_kb(pid, "smaps_rollup", "Pss:") * 1024 / MB


def _status_kb(pid: int, file: str, field: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise LookupError(f"process {pid} has no {field}")


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of all lie (the nearest one that was measured)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def alternating(times: int, *works: Callable[[], float]) -> tuple[float, ...]:
    """Each work's median, done in turn (A B A B ...), so that a machine that slows down slows all of them."""
    found: tuple[list[float], ...] = tuple([] for _ in works)
    for _ in range(times):
        for values, work in zip(found, works, strict=True):
            values.append(work())
    return tuple(median(values) for values in found)
