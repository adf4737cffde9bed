"""The kernel of VMs: unpacking Debian's package, finding which modules the initrd and the modules disk get.

The package is unpacked, never installed: no maintainer script of it runs anywhere. depmod of the build host writes the
index that modprobe reads inside the VM.

The kernel itself is handed to QEMU unpacked: its own unpacking (XZ) would cost an emulated machine 3.5 s. QEMU starts such an
ELF file at its PVH entry; what is given up by that is the random place of the kernel in memory.
"""

import lzma
import shutil
import struct
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysvm.basics.errors import Refused, Why
from sysvm.images.commands import run
from sysvm.images.manifest import Driver
from sysvm.images.places import RECIPES

MODULES = RECIPES / "modules.toml"
_XZ = b"\xfd7zXZ\0"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What images/modules.toml says."""

    initrd: dict[str, list[str]]
    promised: dict[str, list[str]]
    leave_out: list[str]


def read_recipe(file: Path = MODULES) -> Recipe:
    """The checked-in choice of modules."""
    said: dict[str, Any] = tomllib.loads(file.read_text())
    return Recipe(said["initrd"], said["promised"], said["disk"]["leave_out"])


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel."""

    release: str
    vmlinuz: Path
    modules: Path

    @property
    def index(self) -> dict[str, list[str]]:
        """Each module's path below `modules`, followed by those of the modules it needs, by depmod."""
        lines = (self.modules / "modules.dep").read_text().splitlines()
        return parse_dependencies(lines)


def unpack_deb(deb: Path, place: Path) -> None:
    """Unpacks the files of a package into `place`."""
    place.mkdir(parents=True, exist_ok=True)
    run("dpkg-deb", "--extract", deb, place)


def unpack_kernel(deb: Path, place: Path) -> Kernel:
    """The kernel in a linux-image package, unpacked below `place`."""
    unpack_deb(deb, place)
    releases = [folder.name for folder in (place / "lib/modules").iterdir()]
    if len(releases) != 1:
        raise Refused(f"{deb.name} does not hold one kernel but {len(releases)}", Why.INTERNAL)
    release = releases[0]
    run("depmod", "-b", place, release)
    return Kernel(release, place / "boot" / f"vmlinuz-{release}", place / "lib/modules" / release)


def unpacked(image: bytes) -> bytes:
    """The ELF file inside a kernel image, which Debian packs with XZ; the image itself when it is packed otherwise.

    The fields are those of the kernel's boot protocol: size of the setup code, place and length of what is packed.
    """
    sectors = image[0x1F1] or 4
    start, length = struct.unpack_from("<II", image, 0x248)
    packed = image[(sectors + 1) * 512 + start :][:length]
    # Behind the packed kernel stands its length, so this is no whole XZ file.
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed) if packed.startswith(_XZ) else image


def parse_dependencies(lines: list[str]) -> dict[str, list[str]]:
    """modules.dep as a map from a module's name (as modprobe takes it) to its path and those it needs."""
    index = {}
    for line in lines:
        path, _, needs = line.partition(":")
        index[module_name(path)] = [path, *needs.split()]
    return index


def module_name(path: str) -> str:
    """The name of the module in a file: modprobe holds `-` and `_` for the same."""
    return Path(path).name.removesuffix(".ko").replace("-", "_")


def loading_order(index: dict[str, list[str]], wanted: list[str], loaded: set[str]) -> list[str]:
    """The paths to insmod, in order, for the `wanted` modules; what is in `loaded` is there already, what is built in too."""
    order: list[str] = []
    for name in wanted:
        for path in reversed(index.get(module_name(name), [])):
            if path not in loaded and path not in order:
                order.append(path)
    return order


def without_signature(module: bytes) -> bytes:
    """A module's file without the signature at its end.

    The kernel of a system VM enforces none, but checks each that is there: RSA, which costs an emulated machine 0.1 s a module.
    """
    magic = b"~Module signature appended~\n"
    if not module.endswith(magic):
        return module
    size = int.from_bytes(module[-len(magic) - 4 : -len(magic)], "big")
    return module[: len(module) - len(magic) - 12 - size]


def copy_module(source: Path, place: Path) -> None:
    """Copies a module, without its signature."""
    place.write_bytes(without_signature(source.read_bytes()))


def put_initrd_modules(kernel: Kernel, recipe: Recipe, place: Path) -> None:
    """Copies the initrd's modules into the folder `place`, with a list `<group>.order` for each group."""
    place.mkdir(parents=True)
    index, loaded = kernel.index, set[str]()
    for group, wanted in recipe.initrd.items():
        order = loading_order(index, wanted, loaded)
        if group == "always":
            loaded.update(order)
        for path in order:
            copy_module(kernel.modules / path, place / Path(path).name)
        (place / f"{group}.order").write_text("".join(f"{Path(path).name}\n" for path in order))


def trim_modules(kernel: Kernel, recipe: Recipe) -> None:
    """Removes what no system VM uses and the signatures, and writes the index anew."""
    for folder in recipe.leave_out:
        shutil.rmtree(kernel.modules / "kernel" / folder, ignore_errors=True)
    for module in kernel.modules.rglob("*.ko"):
        copy_module(module, module)
    for link in ("build", "source"):
        (kernel.modules / link).unlink(missing_ok=True)
    run("depmod", "-b", kernel.modules.parents[2], kernel.release)


def driver_table(kernel: Kernel, recipe: Recipe) -> tuple[Driver, ...]:
    """Where each promised driver is."""
    built_in = {module_name(path) for path in (kernel.modules / "modules.builtin").read_text().splitlines()}
    on_disk = set(kernel.index)
    early = {module_name(name) for names in recipe.initrd.values() for name in names}
    table = []
    for hypervisor, names in recipe.promised.items():
        for name in names:
            plain = module_name(name)
            if plain in built_in:
                where = "kernel"
            elif plain not in on_disk:
                where = "missing"
            else:
                where = "initrd" if plain in early else "modules"
            table.append(Driver(name, hypervisor, where))
    return tuple(table)


def busybox_from(deb: Path, place: Path) -> Path:
    """The static busybox of the package `deb`, unpacked below `place`."""
    unpack_deb(deb, place)
    return place / "bin/busybox"
