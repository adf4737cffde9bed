"""What is to happen when, in a simulation: one heap for all hosts, no task for each machine.

Things due at one instant happen in the order in which they were planned.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from sysvm.basics.clock import Clock
from sysvm.basics.tasks import Tasks
from sysvm.hosts.simulated.pairs import Pairs


class Died(BaseException):
    """This host agent is dead: whatever it was about to do is not done. No Exception, so that it catches nothing of it."""


class Mortal:
    """Something as an agent sees that may die; afterwards it gets at nothing."""

    def __init__(self, inner: object, lives: Callable[[], bool]) -> None:
        self._inner = inner
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        if not self._lives():
            raise Died
        return getattr(self._inner, name)


class World:
    """The future of all simulated hosts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = asyncio.Event()
        self.pairs = Pairs()
        self.landings: dict[str, Any] = {}  # attempt -> the life that a host of this world takes in

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Calls `happen` in `seconds`; in any case not before the caller is done."""
        heapq.heappush(self._due, (self.clock.now() + seconds, next(self._order), happen))
        self._planned.set()

    def next_due(self) -> float | None:
        """The instant of the next event."""
        return self._due[0][0] if self._due else None

    def run_due(self) -> None:
        """Lets happen what is due."""
        while self._due and self._due[0][0] <= self.clock.now():
            heapq.heappop(self._due)[2]()

    async def run(self) -> None:
        """Lets things happen when they are due, until cancelled."""
        async with Tasks() as tasks:
            while True:
                self._planned.clear()
                self.run_due()
                waits = [tasks.start(_until(self._planned), "planned")]
                due = self.next_due()
                if due is not None:
                    waits.append(tasks.start(self.clock.sleep(due - self.clock.now()), "due"))
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()


async def _until(event: asyncio.Event) -> None:
    await event.wait()
