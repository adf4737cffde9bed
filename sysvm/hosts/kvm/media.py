"""The two small disks of a system VM that are its own: boot data (read-only, on tmpfs) and state (ext4, durable).

Boot data holds the state key, so it lies in the runtime folder and is gone with the host's memory; it is made anew at every
start. Each store that the host hands into the machine has its UUID as virtiofs tag and a line in the file `stores`.
The state disk is made once per incarnation and survives its restarts; it is sparse.
"""

import asyncio
import os
from pathlib import Path

import msgspec

from sysvm.hosts.bootdata import boot_data
from sysvm.hosts.storage.pools import publish_file, remove
from sysvm.hosts.system.programs import run
from sysvm.wire.machines import MachineSpec

_STATE_BYTES = 32 * 1024 * 1024


async def make_boot_disk(spec: MachineSpec, folder: Path) -> Path:
    """A squashfs with boot.json and stores; `folder` is private to this incarnation."""
    content, image = folder / "content", folder / "boot.img"
    fresh = folder / "boot.img.new"
    await asyncio.to_thread(_write_content, spec, content, fresh)
    # The machine that may still have the old one open keeps it: the name is moved, nothing is overwritten.
    await run("mksquashfs", str(content), str(fresh), "-quiet", "-no-progress", "-all-root", "-noappend")
    fresh.chmod(0o600)
    fresh.rename(image)
    await asyncio.to_thread(remove, content)
    return image


def _write_content(spec: MachineSpec, content: Path, fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
    remove(content)
    content.mkdir(parents=True, mode=0o700)
    (content / "boot.json").write_bytes(msgspec.json.encode(boot_data(spec)))
    (content / "stores").write_text("".join(f"{store.store}\n" for store in spec.stores))


async def make_state_disk(image: Path) -> None:
    """An empty ext4 file system, unless it is there."""
    if image.exists():
        return
    fresh = image.with_name(f".new-{image.name}")
    await asyncio.to_thread(_sparse, fresh)
    await run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", "state", "-E", "nodiscard", str(fresh))
    await asyncio.to_thread(publish_file, fresh, image)


def _sparse(file: Path) -> None:
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(handle, _STATE_BYTES)
    finally:
        os.close(handle)
