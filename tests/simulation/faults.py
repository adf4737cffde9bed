"""Faults: what may befall a server, a host or the link between them, at every fault point of a story.

Fault points are the `edge()`s that a server passes. A story is told once; at its fault points a fork of this process
strikes there and tells the rest (`Forks`). `Crash` is no Exception, so nothing in the product can catch it.

Two fault points are told apart by what has happened: rows written, acts done, calls under way, time. What a server only
thinks in between can be seen by nobody, so that a fault that strikes once for each such instant (`effects`) is every
single fault there is. Where that is too many for every day only every so-and-so-manieth is taken (`every`);
SIMULATION_ALL=1 takes all.
"""

import asyncio
import contextlib
import gc
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
ALL = os.environ.get("SIMULATION_ALL") == "1"
HOSTS_OWN = "handover."  # fault points in the middle of what a host does by itself: a server that stands still is not there
ENOUGH = 3  # bad ends; further ones would tell nobody anything
PHASES = ("host.call.sent", "host.do.received", "host.do.done", "host.call.answered")
Story = Callable[[Cloud], Awaitable[None]]


async def crash(_cloud: Cloud, name: str) -> None:
    """The fault that ends a server."""
    raise Crash(name)


def effects(cloud: Cloud) -> tuple[object, ...]:
    """What has happened so far that a server, a host or a client could see."""
    world = cloud.earth.world
    acts = sum(len(host.driver.acts) for host in cloud.earth.hosts.values())
    return cloud.changes(), acts, repr(world._order), len(world._due), cloud.clock.now()


class Forks:
    """A hook that forks where something has happened since the last fault point (only at fault points `at`, if given): the
    child has the fault, the parent goes on. `then` is the hook of a child from there on."""

    def __init__(
        self, cloud: Cloud, strike: Strike, *, at: tuple[str, ...] = (), every: int = 1,
        then: edge.Hook | None = None, at_once: int = 2,
    ) -> None:  # fmt: skip
        self.passed: list[str] = []
        self.forked = 0
        self.child = 0  # the fault point at which this process was struck; 0: the one that tells the whole story
        self._cloud = cloud
        self._strike = strike
        self._at = at
        self._every = 1 if ALL else every
        self._instants = 0
        self._then = then
        self._at_once = at_once
        self._phases = dict.fromkeys(PHASES, 0)
        self._last: object = None
        self._running: dict[int, tuple[int, IO[str]]] = {}  # process id -> fault point, and where it writes why it failed
        self._failed: list[str] = []
        self._why: IO[str]

    async def __call__(self, name: str) -> None:
        if self.child:
            return await self._then(name) if self._then is not None else None
        if name == HEART_BEAT:
            return None
        self.passed.append(name)
        if self._is_new(name):
            self._fork()
            if self.child:
                await self._strike(self._cloud, name)
        return None

    def _is_new(self, name: str) -> bool:
        """Whether this instant can be told from the last fault point."""
        if name in self._phases:
            self._phases[name] += 1
        now = (effects(self._cloud), *self._phases.values())
        last, self._last = self._last, now
        new = name in self._at if self._at else now != last
        self._instants += new
        return new and self._instants % self._every == 0 and len(self._failed) < ENOUGH

    def _fork(self) -> None:
        while len(self._running) >= self._at_once:
            self._reap()
        self.forked += 1
        if self.forked == 1:
            gc.freeze()  # what is there already need not be copied for a child by looking at it
        self._loop = asyncio.get_running_loop()
        self._why = tempfile.TemporaryFile("w+")  # noqa: SIM115 (nameless: nobody has to clean up)
        pid = os.fork()
        if pid:
            self._running[pid] = len(self.passed), self._why
            return
        self.child = len(self.passed)
        gc.disable()
        # asyncio knows its running loop by process id.
        asyncio._set_running_loop(self._loop)

    def tell(self, story: Callable[[], object]) -> int:
        """Tells the story, everywhere; in how many forks. Raises AssertionError with the ends that were bad."""
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
        gc.unfreeze()
        while self._running:
            self._reap()
        assert self._failed == [], f"{len(self._failed)} bad ends:\n" + "\n".join(self._failed[:3])
        return self.forked

    def _reap(self) -> None:
        pid, status = os.wait()
        point, why = self._running.pop(pid)
        with why:
            if status:
                why.seek(0)
                text = why.read() or f"ended with status {status}"
                self._failed.append(f"struck at fault point {point} ({self.passed[point - 1]}):\n{text[-6000:]}")


def everywhere(story: Story, strike: Strike, *, at: tuple[str, ...] = (), every: int = 1) -> int:
    """Tells a story with a fault at each instant that can be told from others; how many there are."""
    sys.stdout.flush()
    cloud = Cloud()
    forks = Forks(cloud, strike, at=at, every=every)

    async def main() -> None:
        async with cloud.world(), mortal_server(cloud, forks):
            await story(cloud)

    return forks.tell(lambda: run(cloud.clock, main()))


class Pause:
    """The hook of a server that stands still, heart-beat and all, until it is woken."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()
        self._awake = asyncio.Event()

    async def __call__(self, name: str) -> None:
        if name.startswith(HOSTS_OWN):
            return
        self.asleep.set()
        await self._awake.wait()

    async def strike(self, _cloud: Cloud, name: str) -> None:
        """It falls asleep here."""
        await self(name)

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
                if not only(died, (Crash, SessionLost)):
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
async def paused_server(cloud: Cloud, hook: edge.Hook, pause: Pause) -> AsyncIterator["asyncio.Future[None]"]:
    """A server whose hook makes it fall asleep, and one that takes over when its session is over."""

    async def first() -> None:
        edge.install(hook)
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


def only(group: BaseExceptionGroup[BaseException], kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether nothing else happened."""
    return group.split(kinds)[1] is None


__all__ = [
    "HOSTS_OWN", "Counter", "Crash", "Forks", "Mortal", "Pause", "Server", "Story", "Strike", "crash", "effects", "everywhere",
    "mortal_server", "only", "paused_server",
]  # fmt: skip
