"""Volumes on the primary storage of this host: disks of guests (qcow2) and root folders of guest containers (dir).

What a crash left half-made is removed by the next call for the same volume. Backing files are named relatively, because a
pool may be mounted elsewhere later. `Volumes` is what the host agent's ledger performs tasks with.

A volume that a guest runs on is left as it is: its disk grows through the guest's driver. Not here: deciding which volumes
should exist, quotas of `dir` volumes (a folder has none; only what its archive brings is compared with the volume's size).
"""

import asyncio
import json
import os
import tarfile
from pathlib import Path

import msgspec

from sysvm import images as template_images
from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import Progress
from sysvm.hosts.layout import Layout
from sysvm.hosts.storage import checkpoints, images, qcow2, sending, snapshots
from sysvm.hosts.storage.pools import (
    entries,
    image_file,
    list_images,
    list_volumes,
    lock_of,
    publish_file,
    publish_folder,
    remove,
    take_away,
    volume_file,
)
from sysvm.hosts.storage.qmp import Line, Lines
from sysvm.hosts.system.programs import run
from sysvm.wire.link import (
    DropSnapshot,
    EnsureVolume,
    FetchImage,
    FlattenSnapshot,
    ForgetGuest,
    HostTaskBody,
    InstallTemplate,
    KeepGuest,
    RemoveImage,
    RemoveVolume,
    RestoreVolume,
    RevertGuest,
    SendSnapshot,
    TakeSnapshot,
    TemplateInstalled,
    VolumeMade,
)

_SECTOR = 512
log = get_logger()


class NoGuests:
    """Satisfies qmp.Lines where no QEMU runs."""

    async def line_to(self, volume: Path) -> Line | None:
        """See Lines."""
        return None


class Volumes:
    """The storage of one host, as the host agent's ledger sees it."""

    def __init__(self, layout: Layout, lines: Lines | None = None) -> None:
        self._layout = layout
        self._lines = lines or NoGuests()

    async def perform(self, body: HostTaskBody, progress: Progress) -> msgspec.Struct | None:
        """Does a host task from begin to end; may be repeated after a crash at any point. The task's result."""
        match body:
            case FetchImage():
                await images.fetch_image(body, progress, self._layout.namespace)
            case RemoveImage():
                await remove_image(body)
            case InstallTemplate():
                return await asyncio.to_thread(install_template, self._layout, body)
            case EnsureVolume():
                return await ensure_volume(body, self._lines)
            case RemoveVolume():
                await remove_volume(body)
            case RestoreVolume():
                return await snapshots.restore_volume(body, self._lines, progress, self._layout.namespace)
            case TakeSnapshot():
                return await snapshots.take_snapshot(body, self._lines, progress)
            case FlattenSnapshot():
                return await snapshots.flatten_snapshot(body, progress, self._layout.namespace)
            case SendSnapshot():
                await sending.send_snapshot(body, progress, self._layout.namespace)
            case DropSnapshot():
                await snapshots.drop_snapshot(body, self._lines)
            case KeepGuest():
                await checkpoints.keep_guest(body, self._lines)
            case RevertGuest():
                await checkpoints.revert_guest(body, self._lines)
            case ForgetGuest():
                await checkpoints.forget_guest(body, self._lines)
        return None

    async def images(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """The complete images, as "<pool>/<sha256>"."""
        return await asyncio.to_thread(list_images, pools)

    async def volumes(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """The volumes, as "<pool>/<volume>"."""
        return await asyncio.to_thread(list_volumes, pools)


def install_template(layout: Layout, order: InstallTemplate) -> TemplateInstalled:
    """The host can start system VMs of it. An image that holds none is Refused."""
    path = image_file(order.pool, order.sha256, order.format)
    version = template_images.install(layout.cache, path, path.suffix.removeprefix("."), lambda _: None)
    log.info("template_installed", version=version, sha256=order.sha256)
    return TemplateInstalled(version=version)


# ---------------------------------------------------------------- making
async def ensure_volume(order: EnsureVolume, lines: Lines | None = None) -> VolumeMade:
    """The volume exists and is at least as large as asked; it is never made smaller and never made anew."""
    path = volume_file(order.pool, order.volume, order.format)
    async with lock_of(path):
        if path.exists() and order.format == "qcow2":
            return await _grow(path, order.size, lines or NoGuests())
        if path.exists():
            return await _made_dir(path, order.size)
        fresh = path.with_name(f".new-{path.name}")
        await asyncio.to_thread(_clear, fresh)
        try:
            return await (_make_qcow2 if order.format == "qcow2" else _make_dir)(order, fresh, path)
        except OSError as error:
            raise NotYet(30, f"volume {order.volume}: {error}") from error
        finally:
            await asyncio.to_thread(remove, fresh)


async def _make_qcow2(order: EnsureVolume, fresh: Path, path: Path) -> VolumeMade:
    size = _whole_sectors(order.size)
    words = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if order.template is not None:
        base = _template(order.pool, order.template, ("qcow2", "raw"))
        size = max(size, await _virtual_size(base))
        words += ["-b", os.path.relpath(base, path.parent), "-F", base.suffix[1:]]
    await run(*words, str(fresh), str(size))
    await edge("volume.made")
    await asyncio.to_thread(publish_file, fresh, path)
    return VolumeMade(size=size, used=_used(path))


async def _grow(path: Path, size: int, lines: Lines) -> VolumeMade:
    now = qcow2.read(path).virtual_size
    if _whole_sectors(size) <= now or await lines.line_to(path) is not None:
        return VolumeMade(size=now, used=_used(path))
    await _forget_lost_bitmaps(path)
    # qemu's own lock on the file refuses this while a guest runs on it
    await run("qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(_whole_sectors(size)))
    return VolumeMade(size=_whole_sectors(size), used=_used(path))


async def _forget_lost_bitmaps(path: Path) -> None:
    """Those that a killed QEMU has left are worth nothing, and no volume grows with them."""
    said = json.loads(await run("qemu-img", "info", "--output=json", "-f", "qcow2", str(path)))
    for bitmap in said.get("format-specific", {}).get("data", {}).get("bitmaps", ()):
        if "in-use" in bitmap["flags"]:
            await run("qemu-img", "bitmap", "--remove", "-f", "qcow2", str(path), bitmap["name"])


async def _make_dir(order: EnsureVolume, fresh: Path, path: Path) -> VolumeMade:
    fresh.mkdir()
    if order.template is not None:
        archive = _template(order.pool, order.template, ("tar",))
        unpacked = await asyncio.to_thread(_unpacked_size, archive)
        if unpacked > order.size:
            raise Refused(f"the archive unpacks to {unpacked} bytes, the volume has {order.size}", Why.CAPACITY)
        await unpack(archive, fresh)
    await edge("volume.made")
    await asyncio.to_thread(publish_folder, fresh, path)
    return await _made_dir(path, order.size)


async def _made_dir(path: Path, size: int) -> VolumeMade:
    return VolumeMade(size=size, used=await asyncio.to_thread(_tree_used, path))


async def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar (any usual compression) with owners and modes. Device files stay out; GNU tar keeps names inside."""
    leave_out = ["--exclude=./dev/*", "--exclude=dev/*", "--exclude=/dev/*"]
    keep = ["--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=security.capability"]
    await run("tar", "--extract", "--file", str(archive), "--directory", str(folder), *keep, *leave_out)


def _template(pool: str, sha256: str, formats: tuple[str, ...]) -> Path:
    for form in formats:
        path = image_file(pool, sha256, form)
        if path.exists():
            return path
    raise NotYet(5, f"image {sha256[:12]} is not on primary storage {pool} yet")


async def _virtual_size(base: Path) -> int:
    if base.suffix == ".raw":
        return _whole_sectors(base.stat().st_size)
    return qcow2.read(base).virtual_size


def _whole_sectors(size: int) -> int:
    if size < 0:
        raise Refused("a volume cannot have less than no bytes")
    return -(-size // _SECTOR) * _SECTOR


def _unpacked_size(archive: Path) -> int:
    try:
        with tarfile.open(archive, "r|*") as stream:
            return sum(member.size for member in stream if member.isreg())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Refused(f"the image is no readable tar archive: {error}") from error


# ---------------------------------------------------------------- removing
async def remove_volume(order: RemoveVolume) -> None:
    """The volume is gone, and what was left of half-made ones."""
    path = volume_file(order.pool, order.volume, order.format)
    async with lock_of(path):
        await asyncio.to_thread(take_away, path)


async def remove_image(order: RemoveImage) -> None:
    """The image is gone; Refused while a volume still stands on it."""
    path = image_file(order.pool, order.sha256, order.format)
    async with lock_of(path):
        if users := await asyncio.to_thread(_standing_on, order.pool, path):
            raise Refused(f"image {order.sha256[:12]} is used by volume {users[0]}", Why.IN_USE)
        await asyncio.to_thread(take_away, path)


def _standing_on(pool: str, image: Path) -> list[str]:
    disks = [entry for entry in entries(pool, "volumes") if entry.suffix == ".qcow2"]
    return [disk.stem for disk in disks if Path(qcow2.read(disk).backing).name == image.name]


def _clear(fresh: Path) -> None:
    fresh.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove(fresh)


def _used(path: Path) -> int:
    return path.stat().st_blocks * 512


def _tree_used(tree: Path) -> int:
    return sum(os.lstat(Path(folder, name)).st_blocks * 512 for folder, _, names in os.walk(tree) for name in names)
