"""Fault points. `await edge("name")` marks an instant at which a crash, a pause or a loss is to be survived.

In production an edge does nothing. The simulation installs a hook that can raise, pause or reorder there.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

Hook = Callable[[str], Awaitable[None]]

_hook: ContextVar[Hook | None] = ContextVar("edge_hook", default=None)


async def edge(name: str) -> None:
    """Passes the fault point `name`."""
    hook = _hook.get()
    if hook is not None:
        await hook(name)


def install(hook: Hook | None) -> None:
    """Makes every edge of the current context call `hook`."""
    _hook.set(hook)
