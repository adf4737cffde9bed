"""What belongs to one VM among the files of a host, given to its QEMU's user before it starts and taken back when it has lost it.

A QEMU of an earlier release runs as root without capabilities: what comes to it while it runs stays root's. A machine that it
has left for a start of ours is given all of its files then.
"""

from collections.abc import Iterable
from pathlib import Path

from sysvm.hosts.kvm.domain import Places
from sysvm.hosts.layout import volume_path
from sysvm.hosts.storage import owners
from sysvm.hosts.storage.owners import ROOT, Owner
from sysvm.hosts.system import access
from sysvm.hosts.system.userids import GROUP
from sysvm.wire.machines import Disk, MachineSpec

KVM = Path("/dev/kvm")


def give_folder(folder: Path, owner: Owner) -> None:
    """A folder of sockets, in which QEMU makes some itself."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    owners.give(folder, owner, 0o700)


def give_disks(disks: Iterable[Disk], iso: Path | None, owner: Owner) -> None:
    """Volumes are its user's, and it can read what they stand on."""
    for disk in disks:
        owners.hide(volume_path(disk).parent)
        owners.give(volume_path(disk), owner)
        if owner != ROOT:
            owners.share_below(volume_path(disk))
    if iso is not None and owner != ROOT:
        owners.hide(iso.parent)
        owners.share(iso)


def give_parts(places: Places, owner: Owner) -> None:
    """The same for what a system VM boots from."""
    for file in (places.base, places.modules, places.kernel, places.initrd, places.agent):
        if file is not None:
            owners.share(file)
    for file in (places.boot, places.state):
        if file is not None:
            owners.give(file, owner)


def take_back(before: MachineSpec | None, kept: Iterable[MachineSpec], owner: Owner) -> None:
    """What an incarnation has no more is root's, unless another one has it, or it is another machine's already."""
    still = {volume_path(disk) for spec in kept for disk in spec.disks}
    for path in {volume_path(disk) for disk in before.disks} - still if before is not None else ():
        owners.take_back(path, owner)


def open_accelerator() -> None:
    """QEMU's users may use KVM, where there is one; udev forgets who may at each boot of the machine."""
    if KVM.exists():
        access.allow(KVM, GROUP, access.READ | access.WRITE)
