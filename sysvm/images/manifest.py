"""What is written beside an image: its version, what it was made of, and the SHA-256 of every file.

A template is complete exactly when its folder has a manifest: folders get their final name only when they are whole.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

FILES = ("base.squashfs", "modules.squashfs", "vmlinuz", "initrd", "packages.txt", "licences.txt")


class Package(msgspec.Struct, frozen=True, order=True):
    """A Debian package at one version."""

    name: str
    version: str
    architecture: str = "amd64"
    archive: str = ""

    @property
    def deb(self) -> str:
        """The name of its file in apt's archive folder."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Driver(msgspec.Struct, frozen=True):
    """Whether the kernel has the driver of a hypervisor's device, and where it is."""

    name: str
    hypervisor: str
    where: str
    """`kernel` (built in), `initrd`, `modules`, or `missing`."""


class Manifest(msgspec.Struct, frozen=True):
    """The description of one built template."""

    version: str
    key: str
    recipe: str
    built: str
    archives: dict[str, str]
    kernel: str
    packages: tuple[Package, ...]
    boot_packages: tuple[Package, ...]
    drivers: tuple[Driver, ...]
    tree: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Template:
    """A built template and where its parts lie."""

    folder: Path
    manifest: Manifest

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The template in `folder`."""
        return cls(folder, msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest))

    @property
    def version(self) -> str:
        """Its name: the day of its newest archive and the start of its key."""
        return self.manifest.version

    @property
    def root(self) -> Path:
        """The tree for containers, owned by root: the read-only lower layer of an overlay."""
        return self.folder / "root"

    @property
    def base(self) -> Path:
        """The same tree as a squashfs: the first disk of a VM."""
        return self.folder / "base.squashfs"

    @property
    def modules(self) -> Path:
        """The kernel's modules: the second disk of a VM."""
        return self.folder / "modules.squashfs"

    @property
    def vmlinuz(self) -> Path:
        """The kernel of VMs."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initrd of VMs."""
        return self.folder / "initrd"


def sha256(file: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Puts `manifest` into `folder`, readable by people."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / "manifest.json").write_bytes(text + b"\n")
