"""The pools of a simulated host: names in sets. Satisfies driver.Storage."""

import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused, Why
from sysvm.hosts.driver import Progress
from sysvm.hosts.simulated.world import World
from sysvm.wire import link
from sysvm.wire.link import HostTaskBody

FETCH_S = 2.0
COPY_S = 1.0


class SimulatedStorage:
    """Images, volumes and snapshots that take no room."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._images: set[str] = set()
        self._volumes: dict[str, int] = {}
        self.staged: dict[str, link.SnapshotTaken] = {}  # by "<pool>/<snapshot>"
        self.sent: dict[str, str] = {}  # image -> SHA-256, of what went to an image store
        self.restored: list[tuple[str, tuple[str, ...]]] = []  # volumes, and of which images they were made
        self.kept: dict[str, set[str]] = {}  # volume -> snapshots of whole guests that are in it
        self.reverted: list[tuple[str, tuple[str, ...]]] = []  # snapshots, and the volumes that went back to them
        self._marks: dict[str, tuple[str, ...]] = {}  # volume -> snapshots since which it knows what has changed
        self.fetch_s = FETCH_S
        self.copy_s = COPY_S
        self.failure: Exception | None = None  # raised once, by the next task

    async def perform(self, body: HostTaskBody, progress: Progress) -> msgspec.Struct | None:
        """See Storage."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        match body:
            case link.FetchImage():
                await self._world.clock.sleep(self.fetch_s / 2)
                progress(0.5)
                await self._world.clock.sleep(self.fetch_s / 2)
                self._images.add(f"{body.pool}/{body.sha256}")
                return link.Nothing()
            case link.RemoveImage():
                self._images.discard(f"{body.pool}/{body.sha256}")
                return link.Nothing()
            case link.InstallTemplate():
                await self._world.clock.sleep(self.copy_s)
                return link.TemplateInstalled(version=f"registered-{body.sha256[:8]}")
            case link.EnsureVolume():
                return self._ensure_volume(body)
            case link.RemoveVolume():
                self._volumes.pop(f"{body.pool}/{body.volume}", None)
                return link.Nothing()
            case link.RestoreVolume():
                return await self._restore(body)
            case link.KeepGuest() | link.RevertGuest() | link.ForgetGuest():
                return await self._whole(body)
            case _:
                return await self._snapshot(body, progress)

    async def images(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """See Storage."""
        del pools
        return tuple(sorted(self._images))

    async def volumes(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """See Storage."""
        del pools
        return tuple(sorted(self._volumes))

    async def _restore(self, body: link.RestoreVolume) -> link.VolumeMade:
        await self._world.clock.sleep(self.fetch_s)
        key = f"{body.pool}/{body.volume}"
        self._volumes[key] = max(body.size, self._volumes.get(key, 0))
        self.restored.append((body.volume, tuple(one.image for one in body.chain)))
        return link.VolumeMade(size=self._volumes[key])

    async def _whole(self, body: link.KeepGuest | link.RevertGuest | link.ForgetGuest) -> link.Nothing:
        await self._world.clock.sleep(self.copy_s)
        names = tuple(one.volume for one in body.volumes)
        match body:
            case link.KeepGuest():
                for name in names:
                    self.kept.setdefault(name, set()).add(body.snapshot)
            case link.RevertGuest():
                if any(body.snapshot not in self.kept.get(name, ()) for name in names):
                    raise Refused(f"a volume has no snapshot {body.snapshot}")
                self.reverted.append((body.snapshot, names))
            case link.ForgetGuest():
                for name in names:
                    self.kept.get(name, set()).discard(body.snapshot)
        return link.Nothing()

    async def _snapshot(self, body: HostTaskBody, progress: Progress) -> msgspec.Struct:
        match body:
            case link.TakeSnapshot():
                await self._world.clock.sleep(self.copy_s)
                known = self._marks.get(body.volume, ())
                parent = body.parent if body.parent in known else ""
                if body.mark:
                    self._marks[body.volume] = tuple(filter(None, (parent, body.snapshot)))
                return self._stage(body.pool, body.snapshot, parent)
            case link.FlattenSnapshot():
                await self._world.clock.sleep(self.fetch_s)
                return self._stage(body.pool, body.snapshot, "")
            case link.SendSnapshot():
                if f"{body.pool}/{body.snapshot}" not in self.staged:
                    raise Refused(f"snapshot {body.snapshot} is not on primary storage any more")
                await self._world.clock.sleep(self.fetch_s / 2)
                progress(0.5)
                await self._world.clock.sleep(self.fetch_s / 2)
                self.sent[body.image] = body.sha256
                return link.Nothing()
            case link.DropSnapshot():
                self.staged.pop(f"{body.pool}/{body.snapshot}", None)
                return link.Nothing()
            case _:
                raise AssertionError(body)

    def _stage(self, pool: str, snapshot: str, parent: str) -> link.SnapshotTaken:
        taken = link.SnapshotTaken(sha256=digest([snapshot]), size=1 << 20, virtual_size=10 << 20, parent=parent)
        return self.staged.setdefault(f"{pool}/{snapshot}", taken)

    def _ensure_volume(self, body: link.EnsureVolume) -> link.VolumeMade:
        if body.template is not None and f"{body.pool}/{body.template}" not in self._images:
            raise Refused(f"image {body.template} is not in pool {body.pool}", Why.UNAVAILABLE)
        key = f"{body.pool}/{body.volume}"
        self._volumes[key] = max(body.size, self._volumes.get(key, 0))
        return link.VolumeMade(size=self._volumes[key])
