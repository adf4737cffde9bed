"""The VM form of the template: kernel, initrd, modules disk, and the root as a squashfs.

The disks that a VM of it gets, in order: base.squashfs, modules.squashfs, agent.squashfs, boot data, state. The initrd
(images/initrd-init) puts them together. It knows virtio, Xen's and VMware's disks by the order of their names; only
virtio is tried by our tests.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sysvm.images import kernel as kernels
from sysvm.images.commands import Progress
from sysvm.images.cpio import pack
from sysvm.images.manifest import Driver
from sysvm.images.places import RECIPES, names_in
from sysvm.images.squashfs import squash
from sysvm.images.tree import settle_times

INIT = RECIPES / "initrd-init"
PLAIN = RECIPES / "plain.txt"
_FOLDERS = ("bin", "proc", "sys", "dev", "base", "agent", "rw", "new")


@dataclass(frozen=True, slots=True)
class Boot:
    """What the VM form turned out to be."""

    release: str
    drivers: tuple[Driver, ...]


def build_vm(folder: Path, kernel_deb: Path, busybox_deb: Path, progress: Progress) -> Boot:
    """Writes vmlinuz, initrd, modules.squashfs and base.squashfs into `folder`, which holds the finished root."""
    recipe = kernels.read_recipe()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".work-") as name:
        work = Path(name)
        progress("unpacking the kernel")
        kernel = kernels.unpack_kernel(kernel_deb, work / "kernel")
        (folder / "vmlinuz").write_bytes(kernels.unpacked(kernel.vmlinuz.read_bytes()))
        busybox = kernels.busybox_from(busybox_deb, work / "busybox")
        (folder / "initrd").write_bytes(initrd(kernel, recipe, busybox, work / "initrd"))
        kernels.trim_modules(kernel, recipe)
        drivers = kernels.driver_table(kernel, recipe)
        progress("packing kernel modules and root (mksquashfs)")
        settle_times(kernel.modules.parent)
        squash(kernel.modules.parent, folder / "modules.squashfs", keep_owners=False)
        squash(folder / "root", folder / "base.squashfs", keep_owners=True, plain=plain())
    return Boot(kernel.release, drivers)


def plain() -> tuple[str, ...]:
    """What stays uncompressed in the root's image, as tests of mksquashfs."""
    return tuple(f"pathname({pattern})" for pattern in names_in(PLAIN))


def initrd(kernel: kernels.Kernel, recipe: kernels.Recipe, busybox: Path, place: Path) -> bytes:
    """The archive of a small tree made at `place`: busybox, the modules and our init."""
    for name in _FOLDERS:
        (place / name).mkdir(parents=True)
    shutil.copyfile(busybox, place / "bin/busybox")
    (place / "bin/busybox").chmod(0o755)
    shutil.copyfile(INIT, place / "init")
    (place / "init").chmod(0o755)
    kernels.put_initrd_modules(kernel, recipe, place / "m")
    return pack(place)
