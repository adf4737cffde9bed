"""Every task has a parent. `Tasks` is a nursery whose children fail loudly and never outlive it.

It is an `asyncio.TaskGroup` that can also be closed from outside (daemons stop by cancelling their children).
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any


class Tasks:
    """An asyncio.TaskGroup with names and a `stop`."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._children: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Tasks":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.stop()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Starts a child; an exception in it cancels its siblings and is raised by the group."""
        task = self._group.create_task(work, name=name)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    def stop(self) -> None:
        """Cancels all children; the group then ends normally."""
        for task in list(self._children):
            task.cancel()


def awaited_perhaps() -> "asyncio.Future[Any]":
    """A future whose waiter may be cancelled before it looks: asyncio does not complain that nobody took its exception."""
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
