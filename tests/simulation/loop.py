"""An event loop in virtual time: when nobody can run, the clock jumps to the next sleeper. No threads, no sockets."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sysvm.basics.clock import VirtualClock

T = TypeVar("T")


class Deadlock(AssertionError):
    """Nobody can run, and nobody sleeps."""


class _Selector(selectors.SelectSelector):
    """Instead of waiting for sockets it moves the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        wake = self._clock.next_wake()
        if wake is None and timeout is None:
            raise Deadlock("nobody can run and nobody sleeps")
        steps = [timeout] if timeout is not None else []
        if wake is not None:
            steps.append(max(0.0, wake - self._clock.now()))
        self._clock.advance(min(steps))
        return super().select(0)


class SimulationLoop(asyncio.SelectorEventLoop):
    """asyncio on a virtual clock; timeouts are virtual too."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock
        self._clock_resolution = 1e-6  # instants are floats of some 1e9 seconds: a smaller one makes no difference to them

    def time(self) -> float:
        return self._virtual.now()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """What goes to a thread is done at once: a thread would need real time, and virtual days would pass meanwhile."""

        async def at_once() -> T:
            return func(*args)

        return self.create_task(at_once())


def run(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: SimulationLoop(clock)) as runner:
        return runner.run(main)
