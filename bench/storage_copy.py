"""How much of a template's next version travels to the second zone: copy.bytes_ratio, for bench/storage.py.

Both versions are disks (qcow2 of ext4) made anew of a tree: the system VM template's root, and the same with one file in 25
replaced by other bytes of another length, as an update of packages does. Two real secondary storage VMs' roles: the first one
of each zone has the old version, and the new one goes by the link that copyTemplate makes.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.groups import Missing
from bench.rows import Row, row
from sysvm import images
from sysvm.wire.channel import Downloaded
from sysvm.wire.grants import FetchTicket, sign_link
from tests.agent_storage.storage_stage import KEY, Stage, stage, whole

NAME = "copy.bytes_ratio"
MB = 1 << 20
ONE_IN = 25
PUBLIC = "127.0.0.10"


def measured(folder: Path, *, tiny: bool) -> Row:
    """The row."""
    old, new, changed = _versions(folder, tiny=tiny)
    first, second = (_disk(folder, tree).read_bytes() for tree in (old, new))
    got, seconds = asyncio.run(_copied(folder / "zones", first, second))
    note = f"{got.size / MB:.0f} MB, {changed:.1%} of the files' bytes are others, the disk is made anew; {seconds:.1f} s"
    return row(NAME, (got.size - got.saved) / got.size, "of its size", note=note)


def _versions(folder: Path, *, tiny: bool) -> tuple[Path, Path, float]:
    """Both trees, and the share of bytes that differ."""
    made = images.list_templates(images.cache_folder())
    if not made:
        raise Missing("there is no system VM template: sysvm template build")
    old, new = folder / "old", folder / "new"
    for tree in (old, new):
        source = made[0].root / ("usr/lib/python3.11" if tiny else ".")
        subprocess.run(["cp", "-a", str(source), str(tree)], check=True)
    total = changed = 0
    for file in _files(old):
        size = file.stat().st_size
        total += size
        if hashlib.sha256(str(file.relative_to(old)).encode()).digest()[0] % ONE_IN == 0:
            changed += size
            (new / file.relative_to(old)).write_bytes(os.urandom(size + size // 50))
    return old, new, changed / total


def _files(tree: Path) -> Iterator[Path]:
    return (place for place in sorted(tree.rglob("*")) if place.is_file() and not place.is_symlink())


def _disk(folder: Path, tree: Path) -> Path:
    plain, image = folder / f"{tree.name}.raw", folder / f"{tree.name}.qcow2"
    room = sum(file.stat().st_size for file in _files(tree)) * 3 // 2 + 16 * MB
    plain.unlink(missing_ok=True)
    with plain.open("wb") as file:
        file.truncate(room // MB * MB)
    for words in (
        ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(plain)],
        ["qemu-img", "convert", "-O", "qcow2", str(plain), str(image)],
    ):
        subprocess.run(words, check=True, capture_output=True)
    return image


async def _copied(folder: Path, first: bytes, second: bytes) -> tuple[Downloaded, float]:
    """What the second zone says of the new version, and how long it took."""
    for name in ("here", "there"):
        (folder / name).mkdir(parents=True)
    async with stage(folder / "here") as here, stage(folder / "there") as there:
        await here.role.apply(here.document())
        await there.role.apply(there.document(public_address=PUBLIC, public_port=0, public_tls_port=0))
        await _brought(here, "image-1", first)
        await _brought(there, "image-2", second)
        sha256 = hashlib.sha256(second).hexdigest()
        until = time.time() + 3600
        shown = sign_link(KEY, FetchTicket(store="store-1", image="image-2", sha256=sha256, expires=until))
        url = f"http://{PUBLIC}:{there.role.public_ports['plain']}/userdata/{shown}/t.qcow2"
        began = time.perf_counter()
        got = await here.fetch(url, image="image-2", format="QCOW2", checksum=f"{{SHA-256}}{sha256}", peer=PUBLIC)
        took = time.perf_counter() - began
    shutil.rmtree(folder)
    return got, took


async def _brought(zone: Stage, image: str, data: bytes) -> None:
    await zone.fetch(zone.source.serve(f"/{image}", whole(data)), image=image, format="QCOW2")
