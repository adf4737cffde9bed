"""Removing every VM of a state folder and the daemons behind them, without asking any of them.

Whatever lives in the private mount namespace of libvirtd is killed: QEMU, virtiofsd, libvirtd, virtlogd. New processes can only
come from those, so this is repeated until none is left. Then libvirt's folders go. Volumes, taps and the network
namespace are not this module's.
"""

import asyncio
import shutil

from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm.daemon import Folders, kill_all, processes_of
from sysvm.hosts.layout import Layout

_ROUNDS = 100
_BREATH = 0.05


async def remove_everything(layout: Layout) -> None:
    """No process and no file of the KVM driver is left. NotYet while the kernel holds a process back."""
    for _ in range(_ROUNDS):
        pids = await asyncio.to_thread(lambda: list(processes_of(layout)))
        if not pids:
            break
        kill_all(pids)
        await asyncio.sleep(_BREATH)
    else:
        raise NotYet(5, f"processes {pids} of {layout.libvirt} do not end")
    for folder in (Folders(layout).run, layout.libvirt):
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)
