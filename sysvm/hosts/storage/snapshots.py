"""Snapshots on a host: what a volume holds at one instant, as a file beside it until a secondary storage VM has it.

    <pool>/staged/<snapshot>.qcow2   whole: it has its name only then
    <pool>/staged/<snapshot>.json    what it is (`Plan`), written before it is begun
    <pool>/restoring/<volume>/       the files of a chain while a volume is made of them

QEMU copies while the guest goes on: what the guest is about to overwrite is copied before. Each snapshot leaves a bitmap in
the volume, named after it, in which QEMU marks what is written from then on; the next snapshot takes only that. A bitmap that
is missing or was not closed well makes the next snapshot a whole one, never a wrong one.

Killed at any instruction: a job of a running guest's QEMU goes on meanwhile and is found again by its name; that of a storage
daemon is begun again, with what the volume holds then, which is the same as long as no guest may start (the server
sees to that). Not here: who may have which snapshot, the way to the store (sending.py).
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import Progress
from sysvm.hosts.storage import images, owners, qcow2
from sysvm.hosts.storage.pools import lock_of, publish_file, remove, replace_file, staged_file, volume_file
from sysvm.hosts.storage.qmp import Fault, Line, Lines, chain, new_file, storage_daemon
from sysvm.hosts.system.durable import write_durably
from sysvm.hosts.system.programs import run
from sysvm.wire.link import (
    DropSnapshot,
    FetchImage,
    FlattenSnapshot,
    RestoreVolume,
    SnapshotTaken,
    TakeSnapshot,
    VolumeMade,
)

OURS = "snapshot-"  # how our bitmaps and jobs are called
_LONG_S = 30 * 24 * 3600.0  # as long as the data is large
_POLL_S = 0.02
_POLL_MOST_S = 1.0
log = get_logger()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a staged file is."""

    parent: str = ""


# ---------------------------------------------------------------- taking
async def take_snapshot(order: TakeSnapshot, lines: Lines, progress: Progress) -> SnapshotTaken:
    """The snapshot is staged; one that is there already is told of again."""
    staged = staged_file(order.pool, order.snapshot)
    volume = volume_file(order.pool, order.volume, "qcow2")
    async with lock_of(staged):
        if not staged.exists():
            await _take(order, lines, volume, staged, progress)
        return await asyncio.to_thread(_taken, staged)


async def _take(order: TakeSnapshot, lines: Lines, volume: Path, staged: Path, progress: Progress) -> None:
    line = await lines.line_to(volume)
    if line is not None:
        await _Copying(order, line, staged, progress).run()
    elif order.live:
        raise NotYet(2, "the guest does not run at the moment")
    else:
        async with storage_daemon(volume) as daemon:
            await _Copying(order, daemon, staged, progress).run()


def _taken(staged: Path) -> SnapshotTaken:
    with staged.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    plan = _plan_of(staged)
    return SnapshotTaken(
        sha256=sha256, size=staged.stat().st_size, virtual_size=qcow2.read(staged).virtual_size, parent=plan.parent
    )


def _plan_of(staged: Path) -> Plan:
    return msgspec.json.decode(staged.with_suffix(".json").read_bytes(), type=Plan)


class _Copying:
    """One copy by a QEMU that has the volume open."""

    def __init__(self, order: TakeSnapshot, line: Line, staged: Path, progress: Progress) -> None:
        self._order = order
        self._line = line
        self._staged = staged
        self._fresh = staged.with_name(f".new-{staged.name}")
        self._volume_file = volume_file(order.pool, order.volume, "qcow2")
        self._progress = progress
        self._name = f"{OURS}{order.snapshot}"
        self._target = f"t-{order.snapshot.replace('-', '')[:28]}"  # QEMU takes 31 characters

    async def run(self) -> None:
        if not await self._is_under_way():
            await self._begin()
        await edge("snapshot.begun")
        await self._finish()
        await edge("snapshot.copied")
        await asyncio.to_thread(owners.give, self._fresh, owners.ROOT)
        await asyncio.to_thread(publish_file, self._fresh, self._staged)
        if self._order.mark:
            await self._keep_bitmaps({self._name, f"{OURS}{_plan_of(self._staged).parent}"})
        log.info("snapshot_taken", snapshot=self._order.snapshot, parent=_plan_of(self._staged).parent)

    async def _is_under_way(self) -> bool:
        """An earlier life of this agent has begun it, and nothing has befallen it."""
        return await self._job() is not None and self._fresh.exists()

    async def _begin(self) -> None:
        await self._clear()
        bitmaps, size = await self._volume()
        parent = self._order.parent if _usable(bitmaps, f"{OURS}{self._order.parent}") else ""
        for name in bitmaps:
            # QEMU's own guests may have left some that it does not trust: nothing can be done with those.
            if name == self._name or (name.startswith(OURS) and not _usable(bitmaps, name)):
                await self._line.ask("block-dirty-bitmap-remove", node=self._line.node, name=name)
        write_durably(self._staged.with_suffix(".json"), msgspec.json.encode(Plan(parent=parent)))
        await run("qemu-img", "create", "-q", "-f", "qcow2", str(self._fresh), str(size))
        await asyncio.to_thread(owners.lend, self._fresh, self._volume_file)
        await self._line.ask("blockdev-add", **new_file(self._fresh, self._target))
        frozen = self._order.quiesce and await self._line.freeze()
        try:
            await self._line.ask("transaction", actions=self._actions(parent))
        finally:
            if frozen:
                await self._line.thaw()

    def _actions(self, parent: str) -> list[dict[str, Any]]:
        """At one instant: the copy begins, and what is written from now on is marked."""
        since = {"sync": "bitmap", "bitmap": f"{OURS}{parent}", "bitmap-mode": "never"} if parent else {"sync": "full"}
        job = {"job-id": self._name, "device": self._line.node, "target": self._target, "auto-dismiss": False, **since}
        bitmap = {"node": self._line.node, "name": self._name, "persistent": True}
        marking = [{"type": "block-dirty-bitmap-add", "data": bitmap}] if self._order.mark else []
        return [*marking, {"type": "blockdev-backup", "data": job}]

    async def _finish(self) -> None:
        pause = _POLL_S
        while True:
            job = await self._job()
            if job is None:
                raise NotYet(2, "QEMU has lost the copy: it is begun again")
            if job["status"] == "concluded":
                break
            if job.get("total-progress"):
                self._progress(job["current-progress"] / job["total-progress"])
            await asyncio.sleep(pause)
            pause = min(2 * pause, _POLL_MOST_S)
        await self._line.ask("job-dismiss", id=self._name)
        await self._line.ask("blockdev-del", **{"node-name": self._target})
        if "error" in job:
            await self._forget_bitmap()
            raise NotYet(10, f"the volume could not be copied: {job['error']}")

    async def abandon(self) -> None:
        """QEMU does nothing for it any more."""
        await self._clear()
        await self._forget_bitmap()

    async def _forget_bitmap(self) -> None:
        if self._name in (await self._volume())[0]:
            await self._line.ask("block-dirty-bitmap-remove", node=self._line.node, name=self._name)

    async def _clear(self) -> None:
        """Nothing is left of an earlier try."""
        if (job := await self._job()) is not None:
            await self._line.ask("job-dismiss" if job["status"] == "concluded" else "job-cancel", id=self._name)
            raise NotYet(1, "an earlier copy is being ended")
        try:
            await self._line.ask("blockdev-del", **{"node-name": self._target})
        except Fault:
            log.debug("no_earlier_target", node=self._target)
        await asyncio.to_thread(remove, self._fresh)
        self._staged.parent.mkdir(mode=0o700, exist_ok=True)

    async def _job(self) -> dict[str, Any] | None:
        jobs: list[dict[str, Any]] = await self._line.ask("query-jobs")
        return next((job for job in jobs if job["id"] == self._name), None)

    async def _volume(self) -> tuple[dict[str, dict[str, Any]], int]:
        """Its bitmaps by name, and how large it is."""
        nodes: list[dict[str, Any]] = await self._line.ask("query-named-block-nodes", flat=True)
        node = next(node for node in nodes if node["node-name"] == self._line.node)
        return {one["name"]: one for one in node.get("dirty-bitmaps", ())}, int(node["image"]["virtual-size"])

    async def _keep_bitmaps(self, kept: set[str]) -> None:
        """Each costs memory and time at every write: only those stay that the next snapshot may be made by."""
        for name in (await self._volume())[0]:
            if name.startswith(OURS) and name not in kept:
                await self._line.ask("block-dirty-bitmap-remove", node=self._line.node, name=name)


def _usable(bitmaps: dict[str, dict[str, Any]], name: str) -> bool:
    found = bitmaps.get(name)
    return found is not None and bool(found["recording"]) and not found.get("inconsistent") and not found["busy"]


# ---------------------------------------------------------------- chains
async def flatten_snapshot(order: FlattenSnapshot, progress: Progress, namespace: str | None) -> SnapshotTaken:
    """The chain is staged as one whole file."""
    staged = staged_file(order.pool, order.snapshot)
    async with lock_of(staged):
        if not staged.exists():
            fresh = staged.with_name(f".new-{staged.name}")
            folder = Path(order.pool) / "restoring" / order.snapshot
            await _unfold(order.chain, folder, fresh, progress, namespace)
            write_durably(staged.with_suffix(".json"), msgspec.json.encode(Plan()))
            await asyncio.to_thread(publish_file, fresh, staged)
            await asyncio.to_thread(remove, folder)
        return await asyncio.to_thread(_taken, staged)


async def restore_volume(order: RestoreVolume, lines: Lines, progress: Progress, namespace: str | None) -> VolumeMade:
    """The volume holds what the chain says, and is at least so large. What was there is left, or replaced at the end."""
    path = volume_file(order.pool, order.volume, "qcow2")
    fresh, folder = path.with_name(f".new-{path.name}"), Path(order.pool) / "restoring" / order.volume
    async with lock_of(path):
        if order.replace or not path.exists():
            await _unfold(order.chain, folder, fresh, progress, namespace)
            if qcow2.read(fresh).virtual_size < order.size:
                await run("qemu-img", "resize", "-q", "-f", "qcow2", str(fresh), str(order.size))
            await edge("volume.restored")
            if await lines.line_to(path) is not None:
                raise NotYet(5, "a guest runs on the volume: stop it first")
            await asyncio.to_thread(replace_file, fresh, path)
        await asyncio.to_thread(remove, folder)
        return VolumeMade(size=qcow2.read(path).virtual_size, used=path.stat().st_blocks * 512)


async def _unfold(sources: tuple[FetchImage, ...], folder: Path, fresh: Path, progress: Progress, namespace: str | None) -> None:
    """The chain is fetched, each file verified, and written to `fresh` as one."""
    await asyncio.to_thread(remove, fresh)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh.parent.mkdir(mode=0o700, exist_ok=True)
    files = []
    for number, source in enumerate(sources):
        file = folder / f"{source.sha256}.{source.format}"

        def so_far(part: float, before: int = number) -> None:
            progress((before + part) / (len(sources) + 1))

        await images.fetch_to(file, source, so_far, namespace)
        files.append(file)
    await edge("chain.fetched")
    await run("qemu-img", "convert", "-O", "qcow2", chain(files), str(fresh), seconds=_LONG_S)


async def drop_snapshot(order: DropSnapshot, lines: Lines) -> None:
    """Nothing of it is staged. One that is not kept in a store leaves no trace in the volume either."""
    staged = staged_file(order.pool, order.snapshot)
    async with lock_of(staged):
        if not order.kept and (line := await lines.line_to(volume_file(order.pool, order.volume, "qcow2"))) is not None:
            taking = TakeSnapshot(pool=order.pool, volume=order.volume, snapshot=order.snapshot)
            await _Copying(taking, line, staged, _nobody).abandon()
        for gone in (staged, staged.with_name(f".new-{staged.name}"), staged.with_suffix(".json")):
            await asyncio.to_thread(remove, gone)
        await asyncio.to_thread(remove, Path(order.pool) / "restoring" / order.snapshot)


def _nobody(part: float) -> None:
    """Hears of progress that nobody waits for."""
