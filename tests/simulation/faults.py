"""Faults: a server that dies at a chosen fault point, or is paused there and wakes up late.

Fault points are the `edge()`s that a server passes. `Crash` is no Exception, so nothing in the product can catch it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from sysvm.basics import edge
from sysvm.orchestrator.engine import HEART_BEAT, SessionLost
from sysvm.store.queries import turns
from tests.simulation.cloud import Cloud, Server


class Crash(BaseException):
    """The server process is killed here."""


class Counter:
    """Counts the fault points of a server, and does something at the one that is due."""

    def __init__(self, due: int | None = None, strike: "Callable[[str], None] | None" = None) -> None:
        self.passed: list[str] = []
        self._due = due
        self._strike = strike

    async def __call__(self, name: str) -> None:
        if name == HEART_BEAT:
            return
        self.passed.append(name)
        if self._due is not None and len(self.passed) == self._due and self._strike is not None:
            self._strike(name)


def crash(name: str) -> None:
    """The fault that ends a server."""
    raise Crash(name)


class Pause:
    """A server that stands still from one of its fault points on, heart-beat and all, until it is woken."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed: list[str] = []
        self.asleep = asyncio.Event()
        self._awake = asyncio.Event()

    async def __call__(self, name: str) -> None:
        if name != HEART_BEAT:
            self.passed.append(name)
        if self.at is not None and len(self.passed) >= self.at:
            self.asleep.set()
            await self._awake.wait()

    def wake(self) -> None:
        """It goes on where it stood, not knowing that time has passed."""
        self._awake.set()


@contextlib.asynccontextmanager
async def mortal_server(cloud: Cloud, hook: edge.Hook) -> AsyncIterator["Mortal"]:
    """A server with a hook at its fault points, beside the test; when it dies, another one without faults follows."""
    mortal = Mortal(cloud, hook)
    task = asyncio.ensure_future(mortal.run())
    try:
        yield mortal
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Mortal:
    """A server process and, after its death, its successor."""

    def __init__(self, cloud: Cloud, hook: edge.Hook) -> None:
        self._cloud = cloud
        self._hook: edge.Hook | None = hook
        self.deaths = 0

    async def run(self) -> None:
        """Runs one server after the other, for ever."""
        while True:
            try:
                await asyncio.ensure_future(self._one_life())
            except BaseExceptionGroup as died:
                if not _only(died, (Crash, SessionLost)):
                    raise
                self.deaths += 1
                self._hook = None
                # A killed process takes its links with it.
                for host in self._cloud.earth.hosts.values():
                    host.attach(lambda _notice: None)

    async def _one_life(self) -> None:
        edge.install(self._hook)
        async with self._cloud.running_server():
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def paused_server(cloud: Cloud, pause: Pause) -> AsyncIterator["asyncio.Future[None]"]:
    """A server that falls asleep at a fault point, and one that takes over when its session is over."""

    async def first() -> None:
        edge.install(pause)
        with contextlib.suppress(BaseExceptionGroup):
            async with cloud.running_server():
                await asyncio.Event().wait()

    async def second() -> None:
        await pause.asleep.wait()
        await cloud.clock.sleep(turns.SESSION_TTL_S + 1)
        async with cloud.running_server(alone=False):
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(first()), asyncio.ensure_future(second())]
    try:
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _only(group: BaseExceptionGroup[BaseException], kinds: tuple[type[BaseException], ...]) -> bool:
    return group.split(kinds)[1] is None


__all__ = ["Counter", "Crash", "Mortal", "Pause", "Server", "crash", "mortal_server", "paused_server"]
