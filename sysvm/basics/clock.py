"""Time comes in through the door: nothing in sysvm calls time.time() or asyncio.sleep() for policy.

`SystemClock` is the machine's time; `VirtualClock` moves only when told, for the simulation and the tests.
Instants are seconds since the epoch (float); they are compared only with instants of the same clock.
"""

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` of this clock."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`; at once (but yielding) for 0 or less."""
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """A clock that stands still until `advance` is called; sleepers wake in the order of their instants."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """The virtual instant."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Returns once the clock has been advanced by `seconds`."""
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), wake))
        await wake

    def next_wake(self) -> float | None:
        """The instant of the earliest sleeper, or None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Moves time forward and wakes those whose instant has come."""
        self._now += seconds
        while (instant := self.next_wake()) is not None and instant <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)
