"""Removing everything of a host from its state folder alone: nobody needs to live, nothing needs to be whole.

Processes first, until none is left (a container may be just starting when its host agent was killed); then mounts,
namespaces, control groups, files. It may be killed and repeated at any point. Pools (guest disks) and interfaces that
were given to the host are not touched: the latter go back to the root namespace with the end of ours.

The host agent itself must not run meanwhile; stopping it is its supervisor's business.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm.down import remove_everything as remove_vms
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import cgroups
from sysvm.hosts.network.namespace import Namespace
from sysvm.hosts.relay.process import stop_relay
from sysvm.hosts.system import mounts

_ROUNDS = 200
_BREATH_S = 0.05


async def remove_everything(layout: Layout) -> None:
    """Nothing of the host is left but its pools. NotYet when the kernel holds something back."""
    await stop_relay(layout)
    await remove_vms(layout)
    await _end_processes(layout)
    for folder in (layout.host, layout.run):
        mounts.unmount_below(folder)
    await Namespace(layout).remove()
    await _remove_cgroups(layout)
    for folder in (layout.run, layout.names, layout.host):
        _remove_folder(folder)


async def _end_processes(layout: Layout) -> None:
    for _ in range(_ROUNDS):
        pids = set(processes_of(layout))
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_BREATH_S)
    raise NotYet(5, f"processes {sorted(pids)} of {layout.state} do not end")


def processes_of(layout: Layout) -> Iterator[int]:
    """Containers and their monitors, also those that are just being started, and what runs in the host's namespace."""
    yield from cgroups.processes(layout.cgroup)
    inside = layout.namespace_path.stat().st_ino if mounts.is_mounted(layout.namespace_path) else None
    lxcpath = os.fsencode(layout.lxc)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b" ", b"\0").split(b"\0")
            if lxcpath in words or (inside is not None and (entry / "ns/net").stat().st_ino == inside):
                yield int(entry.name)


async def _remove_cgroups(layout: Layout) -> None:
    for _ in range(_ROUNDS):
        cgroups.remove(layout.cgroup)
        if not any((hierarchy / layout.cgroup).exists() for hierarchy in cgroups.hierarchies()):
            return
        # A killed process leaves its group a moment after its end.
        await asyncio.sleep(_BREATH_S)
    raise NotYet(5, f"control group {layout.cgroup} is still in use")


def _remove_folder(folder: Path) -> None:
    left = mounts.mounted_below(folder)
    if left:
        # Removing through a mount would remove what is mounted: a template, a store.
        raise NotYet(5, f"{left[0]} is still mounted")
    if folder.exists():
        shutil.rmtree(folder)
