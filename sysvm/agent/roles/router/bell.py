"""A bell that rings when a ruleset of this network namespace was changed, by whomever; another one when addresses were.

The kernel says so itself, once for each transaction, so that a rule that somebody deletes by hand is back before the watch
would have looked. It is a hint and no promise: where the kernel gives no such socket, or drops a message, the watch sees it
two seconds later all the same.

What rings it is not told. Own changes ring it, too; a look at the fingerprints finds nothing then. Whoever changes rules all
the time is answered once in a moment, not each time.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable

from sysvm.agent import netlink
from sysvm.basics.clock import Clock

MOMENT_S = 0.05  # between a ring and the look: what else belongs to the change comes along


async def rings(clock: Clock, news: Callable[[], socket.socket] = netlink.ruleset_news) -> AsyncGenerator[None, None]:
    """One item for each time that something was changed since the last one; ends at once where the kernel does not tell."""
    try:
        handle = news()
    except OSError:
        return
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.closing(handle):
        loop.add_reader(handle, rung.set)
        try:
            while True:
                await rung.wait()
                await clock.sleep(MOMENT_S)
                netlink.forget_news(handle)
                rung.clear()
                yield
        finally:
            loop.remove_reader(handle)
