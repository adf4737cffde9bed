"""Waiting for a condition, with a deadline that is long enough for a busy machine: it is only ever reached by a fault."""

import asyncio
from collections.abc import AsyncIterator

from sysvm.basics.clock import Clock

PATIENCE_S = 60.0


async def until(clock: Clock, what: str) -> AsyncIterator[None]:
    """Yields again and again; the caller returns when it sees what it waits for."""
    deadline = clock.now() + PATIENCE_S
    while clock.now() < deadline:
        yield
        await asyncio.sleep(0.02)
    raise AssertionError(f"it never came true: {what}")
