"""The tiny guest: a real bootable disk of about 20 MB, and the same system as a root for containers, for demos and tests.

It takes its addresses by DHCP, serves a page with its name and an echo on port 7, shows the user data and the password that
its network offers, and has a shell on its consoles (images/guest/). It is no system for anybody's work: root's shell on the
consoles of the VM form is open, the container form has the password `sysvm` until its network gives it another.

Disk form: SYSLINUX on a FAT partition, Debian's cloud kernel, an initrd that is the whole system. Nothing is mounted to
build it: no loop devices, no root rights.
"""

import gzip
import hashlib
import io
import shutil
import struct
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused, Why
from sysvm.images import apt, cpio, kernel, tree
from sysvm.images.commands import Progress, exclusive, new_folder, run
from sysvm.images.manifest import sha256
from sysvm.images.places import EPOCH, RECIPES, names_in
from sysvm.images.template import boot_packages

GUEST = RECIPES / "guest"
BOOT = GUEST / "boot-packages.txt"
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_SECTOR = 512
_START = 2048
_SIZE = 48 * 1024 * 1024
_FOLDERS = ("bin", "dev", "disk", "etc", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var", "www")
_FIRST_PASSWORD = "sysvm"
_FILES = ("tiny.qcow2", "tiny.tar.gz")


@dataclass(frozen=True, slots=True)
class Guest:
    """The built images of the tiny guest."""

    folder: Path

    @property
    def digest(self) -> str:
        """The identity of what it was made of."""
        return self.folder.name

    @property
    def disk(self) -> Path:
        """The bootable disk."""
        return self.folder / _FILES[0]

    @property
    def archive(self) -> Path:
        """The root of the container form."""
        return self.folder / _FILES[1]

    def sha256(self) -> dict[str, str]:
        """The SHA-256 of each file."""
        lines = (self.folder / "SHA256SUMS").read_text().splitlines()
        return {line.split()[1]: line.split()[0] for line in lines}


def build_guest(cache: Path, progress: Progress) -> Guest:
    """The images of the present recipe with the archive's kernel and busybox; built unless they are there."""
    with exclusive(cache / "guests", progress):
        archive = apt.Archive(cache, apt.host_mirrors())
        archive.freshen(SystemClock().now(), progress)
        packages = boot_packages(archive, names_in(BOOT))
        code = (Path(module.__file__) for module in (kernel, cpio, tree) if module.__file__)
        recipe = tree.content_digest(GUEST, Path(__file__), *code)
        names = [f"{package.name}={package.version}" for package in packages]
        guest = Guest(cache / "guests" / hashlib.sha256("\n".join([recipe, *names]).encode()).hexdigest()[:16])
        if guest.folder.exists():
            return guest
        debs = {package.name.split("-")[0]: deb for package, deb in zip(packages, archive.take(packages, progress), strict=True)}
        with new_folder(guest.folder) as folder:
            _build(folder, debs["linux"], debs["busybox"], progress)
    progress(f"tiny guest {guest.digest} is ready")
    return guest


def _build(folder: Path, kernel_deb: Path, busybox_deb: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".work-") as name:
        work = Path(name)
        progress("unpacking kernel and busybox for the tiny guest")
        linux = kernel.unpack_kernel(kernel_deb, work / "kernel")
        busybox = kernel.busybox_from(busybox_deb, work / "busybox")
        root = work / "root"
        put_root(busybox, root)
        progress("writing the tiny guest's disk and archive")
        (folder / "tiny.tar.gz").write_bytes(archive_of(root))
        put_modules(linux, root / "m")
        (work / "initrd").write_bytes(cpio.pack(root))
        put_disk(linux.vmlinuz, work / "initrd", work / "disk", folder / "tiny.qcow2")
    sums = [f"{sha256(folder / file)}  {file}\n" for file in _FILES]
    (folder / "SHA256SUMS").write_text("".join(sums))


def put_root(busybox: Path, root: Path) -> None:
    """The guest's whole system, but for kernel modules: busybox under all its names, and images/guest/root."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copyfile(busybox, root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    for applet in run(root / "bin/busybox", "--list").split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "sbin/init").symlink_to("/init")
    (root / "usr/bin").symlink_to("/bin")
    (root / "var/run").symlink_to("/run")
    tree.lay_over(GUEST / "root", root)
    secret = run(root / "bin/busybox", "mkpasswd", "-m", "sha512", "-S", "tinyguest", _FIRST_PASSWORD).strip()
    (root / "etc/shadow").write_text(f"root:{secret}:::::::\n")


def put_modules(linux: kernel.Kernel, place: Path) -> None:
    """The guest's kernel modules and the order in which they are loaded."""
    place.mkdir()
    order = kernel.loading_order(linux.index, list(names_in(GUEST / "modules.txt")), set())
    for path in order:
        kernel.copy_module(linux.modules / path, place / Path(path).name)
    (place / "order").write_text("".join(f"{Path(path).name}\n" for path in order))


def archive_of(root: Path) -> bytes:
    """A gzipped tar of a tree, owned by root, the same bytes for the same tree."""

    def tidy(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = EPOCH
        return entry

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in tree.everything(root):
            tar.add(entry, arcname=f"./{entry.relative_to(root)}", recursive=False, filter=tidy)
    return gzip.compress(plain.getvalue(), mtime=EPOCH)


def master_boot_record(code: bytes, sectors: int) -> bytes:
    """The first sector of a disk with one active FAT16 partition that reaches to its end."""
    length = sectors - _START
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0E, b"\xfe\xff\xff", _START, length)
    return code[:440].ljust(446, b"\0") + entry + b"\0" * 48 + b"\x55\xaa"


def put_disk(vmlinuz: Path, initrd: Path, raw: Path, image: Path) -> None:
    """A bootable qcow2 `image` with this kernel and initrd; `raw` is a scratch file."""
    if not _MBR.exists():
        raise Refused("syslinux-common is not installed: apt-get install images/host-packages.txt", Why.UNAVAILABLE)
    with raw.open("wb") as disk:
        disk.write(master_boot_record(_MBR.read_bytes(), _SIZE // _SECTOR))
        disk.truncate(_SIZE)
    offset = _START * _SECTOR
    partition = f"{raw}@@{offset}"
    length = str(_SIZE // _SECTOR - _START)
    run(
        "mformat",
        "-i",
        partition,
        "-T",
        length,
        "-h",
        "64",
        "-s",
        "32",
        "-H",
        str(_START),
        "-v",
        "TINY",
        "-N",
        "7469ea79",
        "::",
    )
    run("mcopy", "-i", partition, vmlinuz, "::/vmlinuz")
    run("mcopy", "-i", partition, initrd, "::/initrd")
    run("mcopy", "-i", partition, GUEST / "syslinux.cfg", "::/syslinux.cfg")
    run("syslinux", "--install", "--offset", str(offset), raw)
    run("qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", raw, image)
