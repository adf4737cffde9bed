"""The pools of a simulated host: names in sets. Satisfies driver.Storage."""

import msgspec

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.driver import Progress
from sysvm.hosts.simulated.world import World
from sysvm.wire import link
from sysvm.wire.link import HostTaskBody

FETCH_S = 2.0


class SimulatedStorage:
    """Images and volumes that take no room."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._images: set[str] = set()
        self._volumes: dict[str, int] = {}
        self.fetch_s = FETCH_S
        self.failure: Exception | None = None  # raised once, by the next task

    async def perform(self, body: HostTaskBody, progress: Progress) -> msgspec.Struct | None:
        """See Storage."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        match body:
            case link.FetchImage():
                await self._world.clock.sleep(self.fetch_s)
                progress(0.5)
                self._images.add(f"{body.pool}/{body.sha256}")
                return link.Nothing()
            case link.RemoveImage():
                self._images.discard(f"{body.pool}/{body.sha256}")
                return link.Nothing()
            case link.EnsureVolume():
                return self._ensure_volume(body)
            case link.RemoveVolume():
                self._volumes.pop(f"{body.pool}/{body.volume}", None)
                return link.Nothing()

    async def images(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """See Storage."""
        del pools
        return tuple(sorted(self._images))

    async def volumes(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """See Storage."""
        del pools
        return tuple(sorted(self._volumes))

    def _ensure_volume(self, body: link.EnsureVolume) -> link.VolumeMade:
        if body.template is not None and f"{body.pool}/{body.template}" not in self._images:
            raise Refused(f"image {body.template} is not in pool {body.pool}", Why.UNAVAILABLE)
        key = f"{body.pool}/{body.volume}"
        self._volumes[key] = max(body.size, self._volumes.get(key, 0))
        return link.VolumeMade(size=self._volumes[key])
