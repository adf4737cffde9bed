"""A login on the first terminal of a container: what its text console shows.

Never a root shell. The template's accounts have no password that would let anybody in, so the console tells that the
machine lives and which one it is, no more, until the operator sets a password (`login.py`). A VM needs none of this: its
screen is the kernel's. s6 starts the login again after each visitor.
"""

import asyncio
import shutil

from sysvm.agent.command import CommandFailed
from sysvm.agent.paths import Paths
from sysvm.agent.supervision import Daemon, Supervision
from sysvm.basics.log import get_logger
from sysvm.wire.machines import BootData, Runtime

TERMINAL = "tty1"
log = get_logger()


def login(getty: str) -> Daemon:
    """The service: a new prompt after each visitor."""
    return Daemon("console", f"#!/bin/sh\nexec {getty} --noclear {TERMINAL} linux\n", "SIGHUP")


async def offer_login(paths: Paths, boot: BootData) -> None:
    """The login waits on the terminal, if there is one. What fails is said; nothing else depends on it."""
    getty = shutil.which("agetty")
    if boot.runtime is not Runtime.CONTAINER or getty is None or not (paths.devices / TERMINAL).exists():
        return
    try:
        await asyncio.to_thread(Supervision(paths).ensure, login(getty))
    except CommandFailed as error:
        log.warning("console_without_login", why=str(error))
