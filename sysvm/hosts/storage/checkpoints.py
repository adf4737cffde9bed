"""Snapshots of whole guests on a host: all volumes at one instant, and the memory where that is wanted, inside of the volumes.

They are QEMU's internal snapshots: entries in the table of each qcow2 file, named by the snapshot, which nothing but a qcow2 file
knows of. So they go wherever the volumes go, and outlive QEMU, libvirt's definitions and incarnations.

    stopped       qemu-img, volume by volume: nobody writes, so that is one instant (the server lets no guest start meanwhile)
    running       one transaction of QEMU over all volumes
    with memory   QEMU's own job: the guest stands still while its memory goes into the root volume

Killed at any instruction: an entry is in a volume's table whole or not at all; what only some volumes have is taken away and
taken anew; QEMU's job goes on and is found by its name. A volume that goes back loses the marks since when it knows what has
changed (snapshots.py): its next snapshot is whole.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, NotYet
from sysvm.basics.log import get_logger
from sysvm.hosts.storage.pools import lock_of, volume_file
from sysvm.hosts.storage.qmp import Line, Lines
from sysvm.hosts.storage.snapshots import OURS
from sysvm.hosts.system.programs import run
from sysvm.wire.link import ForgetGuest, KeepGuest, RevertGuest, VolumeAt

_POLL_S = 0.05
_LONG_S = 24 * 3600.0  # as long as the memory is large
log = get_logger()


async def keep_guest(order: KeepGuest, lines: Lines) -> None:
    """Every volume has the entry; one that all have already is left as it is."""
    files = _files(order.volumes)
    async with lock_of(files[0]):
        if not order.live:
            for file in files:
                if order.snapshot not in await _in_file(file):
                    await run("qemu-img", "snapshot", "-c", order.snapshot, str(file), seconds=_LONG_S)
                await edge("checkpoint.volume")
            return
        guest = await _Guest.of(files, lines)
        if order.memory:
            # A job in the table of QEMU is ours, of an earlier life, and its entries are complete only when it is over.
            if await guest.job("save", order.snapshot) is not None or not await guest.has(order.snapshot):
                await guest.save(order.snapshot)
        elif not await guest.has(order.snapshot):
            await guest.forget(order.snapshot)
            await guest.take(order.snapshot, quiesce=order.quiesce)
    log.info("guest_kept", snapshot=order.snapshot, volumes=len(files), memory=order.memory)


async def revert_guest(order: RevertGuest, lines: Lines) -> None:
    """Every volume holds what it held then. Without memory the guest does not run."""
    files = _files(order.volumes)
    async with lock_of(files[0]):
        if order.memory:
            guest = await _Guest.of(files, lines)
            await guest.load(order.snapshot)
        else:
            for file in files:
                await _revert(file, order.snapshot, lines)
                await edge("checkpoint.reverted")
    log.info("guest_reverted", snapshot=order.snapshot, memory=order.memory)


async def forget_guest(order: ForgetGuest, lines: Lines) -> None:
    """No volume has the entry."""
    files = [file for file in _files(order.volumes) if file.exists()]
    if not files:
        return
    async with lock_of(files[0]):
        if await lines.line_to(files[0]) is not None:
            guest = await _Guest.of(files, lines)
            await guest.forget(order.snapshot)
            return
        for file in files:
            if order.snapshot in await _in_file(file):
                await run("qemu-img", "snapshot", "-d", order.snapshot, str(file), seconds=_LONG_S)


def _files(volumes: tuple[VolumeAt, ...]) -> list[Path]:
    return [volume_file(one.pool, one.volume, "qcow2") for one in volumes]


# ---------------------------------------------------------------- nobody has it open
async def _in_file(file: Path) -> set[str]:
    said = await _info(file)
    return {one["name"] for one in said.get("snapshots", ())}


async def _info(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await run("qemu-img", "info", "--output=json", "-f", "qcow2", str(file)))
    return found


async def _revert(file: Path, snapshot: str, lines: Lines) -> None:
    if await lines.line_to(file) is not None:
        raise NotYet(5, "a guest runs on the volume: stop it first")
    said = await _info(file)
    if snapshot not in {one["name"] for one in said.get("snapshots", ())}:
        raise Broken(f"volume {file.stem} has no snapshot {snapshot}")
    for bitmap in said.get("format-specific", {}).get("data", {}).get("bitmaps", ()):
        if bitmap["name"].startswith(OURS):
            await run("qemu-img", "bitmap", "--remove", "-f", "qcow2", str(file), bitmap["name"])
    await run("qemu-img", "snapshot", "-a", snapshot, str(file), seconds=_LONG_S)


# ---------------------------------------------------------------- a guest runs on them
class _Guest:
    """A running guest's QEMU, and the volumes in it."""

    def __init__(self, line: Line, nodes: list[str]) -> None:
        self._line = line
        self._nodes = nodes

    @classmethod
    async def of(cls, files: list[Path], lines: Lines) -> "_Guest":
        """NotYet while it does not run on all of them."""
        found = [await lines.line_to(file) for file in files]
        open_ = [line for line in found if line is not None]
        if len(open_) < len(files):
            raise NotYet(2, "the guest does not run on all of its volumes at the moment")
        return cls(open_[0], [line.node for line in open_])

    async def has(self, snapshot: str) -> bool:
        """Whether all volumes have it."""
        return all(snapshot in names for names in (await self._entries()).values())

    async def take(self, snapshot: str, *, quiesce: bool) -> None:
        """All volumes have it, of one instant."""
        actions = [
            {"type": "blockdev-snapshot-internal-sync", "data": {"device": node, "name": snapshot}} for node in self._nodes
        ]
        frozen = quiesce and await self._line.freeze()
        try:
            await self._line.ask("transaction", actions=actions)
        finally:
            if frozen:
                await self._line.thaw()

    async def forget(self, snapshot: str) -> None:
        """None has it."""
        for node, names in (await self._entries()).items():
            if snapshot in names:
                await self._line.ask("blockdev-snapshot-delete-internal-sync", device=node, name=snapshot)

    async def save(self, snapshot: str) -> None:
        """All volumes have it, and the first one the memory."""
        if await self.job("save", snapshot) is None:
            await self.forget(snapshot)
            where = {"vmstate": self._nodes[0], "devices": self._nodes}
            await self._line.ask("snapshot-save", **{"job-id": f"save-{snapshot}", "tag": snapshot, **where})
        await edge("checkpoint.saving")
        await self._end_of("save", snapshot)

    async def load(self, snapshot: str) -> None:
        """The guest goes on from there."""
        if await self.job("load", snapshot) is None:
            if not await self.has(snapshot):
                raise Broken(f"the volumes of the guest have no snapshot {snapshot}")
            await self._forget_bitmaps()
            where = {"vmstate": self._nodes[0], "devices": self._nodes}
            await self._line.ask("snapshot-load", **{"job-id": f"load-{snapshot}", "tag": snapshot, **where})
        await edge("checkpoint.loading")
        await self._end_of("load", snapshot)

    async def job(self, what: str, snapshot: str) -> dict[str, Any] | None:
        """QEMU's job, if it knows of one."""
        jobs: list[dict[str, Any]] = await self._line.ask("query-jobs")
        return next((job for job in jobs if job["id"] == f"{what}-{snapshot}"), None)

    async def _end_of(self, what: str, snapshot: str) -> None:
        while True:
            job = await self.job(what, snapshot)
            if job is None:
                raise NotYet(2, "QEMU has lost the job: it is begun again")
            if job["status"] == "concluded":
                break
            await asyncio.sleep(_POLL_S)
        await self._line.ask("job-dismiss", id=job["id"])
        if "error" in job:
            if what == "save":
                await self.forget(snapshot)
            raise Broken(f"QEMU could not {what} the guest: {job['error']}")

    async def _forget_bitmaps(self) -> None:
        """QEMU takes no volume back that has some."""
        for node in await self._mine():
            for bitmap in node.get("dirty-bitmaps", ()):
                if bitmap["name"].startswith(OURS):
                    await self._line.ask("block-dirty-bitmap-remove", node=node["node-name"], name=bitmap["name"])

    async def _entries(self) -> dict[str, set[str]]:
        found = await self._mine()
        return {node["node-name"]: {one["name"] for one in node["image"].get("snapshots", ())} for node in found}

    async def _mine(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = await self._line.ask("query-named-block-nodes", flat=True)
        return [node for node in nodes if node["node-name"] in self._nodes]
