"""The console relay: a small process of its own, through which console proxies reach screens on this host.

`ensure_relay` and `stop_relay` are the host agent's; `python -m sysvm.hosts.relay --state DIR` is the process. It is a child
of nobody, so that restarts and upgrades of the host agent leave all sessions alone; two of one state folder cannot be
(a lock). It opens a screen only for a grant that the server has signed, once.

A dead relay is started again by the next `ensure_relay`, which costs next to nothing while one lives.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sysvm.basics.clock import Clock
from sysvm.basics.errors import NotYet
from sysvm.hosts.layout import Layout
from sysvm.hosts.relay.files import RelayFiles, Settings
from sysvm.wire.documents import HostDocument

MODULE = "sysvm.hosts.relay"
_ROUNDS = 100
_BREATH = 0.05
_LOOK_EVERY = 2.0


async def ensure_relay(layout: Layout, document: HostDocument) -> None:
    """A relay runs and follows the document. Without a management address there is nothing to listen at."""
    address = document.management_address.partition("/")[0]
    if not address:
        await stop_relay(layout)
        return
    files = RelayFiles(layout)
    await asyncio.to_thread(files.write, Settings(address, document.relay_port, document.grant_key))
    await ensure_relay_process(layout)


async def ensure_relay_process(layout: Layout) -> None:
    """A relay that has been told what to do runs."""
    files = RelayFiles(layout)
    if not files.settings.exists() or files.holder() is not None:
        return
    process = await asyncio.create_subprocess_exec(
        *("setsid", "--fork", sys.executable, "-m", MODULE, "--state", str(layout.state)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
    )
    await process.wait()


async def keep_relay(layout: Layout, clock: Clock) -> None:
    """Starts a dead relay again, until cancelled; belongs to the host agent's tasks."""
    while True:
        await ensure_relay_process(layout)
        await clock.sleep(_LOOK_EVERY)


async def stop_relay(layout: Layout) -> None:
    """No relay runs, and none is started before the next `ensure_relay`."""
    files = RelayFiles(layout)
    files.settings.unlink(missing_ok=True)
    for _ in range(_ROUNDS):
        pids = set(_processes(layout))
        if not pids and files.holder() is None:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_BREATH)
    raise NotYet(5, "the console relay does not end")


def _processes(layout: Layout) -> Iterator[int]:
    """The relay of this host, also one that has just been started and holds no lock yet."""
    words = os.fsencode(f"{MODULE}\0--state\0{layout.state}\0")
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().endswith(words):
                yield int(entry.name)
