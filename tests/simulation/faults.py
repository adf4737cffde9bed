"""Faults: what may befall a server, a host or the link between them, at every fault point of a story.

Fault points are the `edge()`s that a server passes. A story is told once; at each of its fault points a fork of this
process strikes there and tells the rest (`Forks`). `Crash` is no Exception, so nothing in the product can catch it.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO

from sysvm.basics import edge
from sysvm.orchestrator.engine import HEART_BEAT, SessionLost
from sysvm.store.queries import turns
from tests.simulation.cloud import Cloud, Server
from tests.simulation.loop import run


class Crash(BaseException):
    """The server process is killed here."""


class Counter:
    """Counts the fault points of a server."""

    def __init__(self) -> None:
        self.passed: list[str] = []

    async def __call__(self, name: str) -> None:
        if name != HEART_BEAT:
            self.passed.append(name)


Strike = Callable[[Cloud, str], Awaitable[None]]
Story = Callable[[Cloud], Awaitable[None]]


async def crash(_cloud: Cloud, name: str) -> None:
    """The fault that ends a server."""
    raise Crash(name)


class Forks:
    """A hook that forks at every `every`th fault point, from the `first` on: the child has the fault, the parent goes on."""

    def __init__(self, cloud: Cloud, strike: Strike, *, every: int = 1, first: int = 1, at_once: int = 2) -> None:
        self.passed: list[str] = []
        self.child = 0  # the fault point at which this process was struck; 0: the one that tells the whole story
        self._cloud = cloud
        self._strike = strike
        self._every = every
        self._first = first
        self._at_once = at_once
        self._running: dict[
            int, tuple[int, IO[str]]
        ] = {}  # process id -> fault point, and where it writes why it failed
        self._failed: list[str] = []
        self._why: IO[str]

    async def __call__(self, name: str) -> None:
        if name == HEART_BEAT or self.child:
            return
        self.passed.append(name)
        if (len(self.passed) - self._first) % self._every:
            return
        while len(self._running) >= self._at_once:
            self._reap()
        self._loop = asyncio.get_running_loop()
        self._why = tempfile.TemporaryFile("w+")  # noqa: SIM115 (nameless: nobody has to clean up)
        pid = os.fork()
        if pid:
            self._running[pid] = len(self.passed), self._why
            return
        self.child = len(self.passed)
        # asyncio knows its running loop by process id.
        asyncio._set_running_loop(self._loop)
        await self._strike(self._cloud, name)

    def tell(self, story: Callable[[], object]) -> int:
        """Tells the story, everywhere; how many ends it had. Raises AssertionError with the ends that were bad."""
        try:
            story()
        except BaseException:
            if not self.child:
                raise
            self._why.write(traceback.format_exc())
            self._why.flush()
            os._exit(1)
        if self.child:
            os._exit(0)
        while self._running:
            self._reap()
        assert self._failed == [], f"{len(self._failed)} bad ends:\n" + "\n".join(self._failed[:3])
        return len(self.passed)

    def _reap(self) -> None:
        pid, status = os.wait()
        point, why = self._running.pop(pid)
        with why:
            if status:
                why.seek(0)
                text = why.read() or f"ended with status {status}"
                self._failed.append(f"struck at fault point {point} ({self.passed[point - 1]}):\n{text[-6000:]}")


def everywhere(story: Story, strike: Strike, *, every: int = 1, first: int = 1) -> int:
    """Tells a story with a fault at each fault point; how many fault points it has."""
    sys.stdout.flush()
    cloud = Cloud()
    forks = Forks(cloud, strike, every=every, first=first)

    async def main() -> None:
        async with cloud.world(), mortal_server(cloud, forks):
            await story(cloud)

    return forks.tell(lambda: run(cloud.clock, main()))


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


__all__ = [
    "Counter", "Crash", "Forks", "Mortal", "Pause", "Server", "Story", "Strike", "crash", "everywhere", "mortal_server",
    "paused_server",
]  # fmt: skip
