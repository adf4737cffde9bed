"""Looks at stores that cannot hold up anybody: each by a thread of its own, given up after a while.

A file system whose server is dead answers nothing for as long as its mount is patient. Whoever asks then is told so, and the look
goes on: at most one per store, whoever asks meanwhile joins it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sysvm.agent.roles.secstorage.health import Look, hanging
from sysvm.wire.documents import Store

PATIENCE_S = 4.0
AT_ONCE = 16


class Looks:
    """By store. `look` blocks; `now` is any clock that grows."""

    def __init__(self, look: Callable[[Store], Look], now: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self._look = look
        self._now = now
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(AT_ONCE, "look")
        self._running: dict[Store, tuple[asyncio.Future[Look], float]] = {}

    async def at(self, store: Store) -> Look:
        """What is to be seen of it now."""
        running, since = self._running.get(store) or self._begin(store)
        # Whoever asks after it has hung for that long is told at once.
        left = max(0.0, self._patience_s - (self._now() - since))
        await asyncio.wait((running,), timeout=left)
        return running.result() if running.done() else hanging(store, self._now() - since)

    def _begin(self, store: Store) -> tuple[asyncio.Future[Look], float]:
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._look, store)
        running.add_done_callback(lambda _: self._running.pop(store, None))
        self._running[store] = running, self._now()
        return self._running[store]
