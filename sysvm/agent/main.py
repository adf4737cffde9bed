"""The agent's process. s6 starts it in every system VM; it ends on SIGTERM and never by itself.

The order is chosen for boot time, because under emulation an import costs tenths of a second: NICs first, with nothing
imported but what that needs, then asyncio, then the role. What others import if it is there, and do without if not, is left
out: structlog (`basics.log`), typing_extensions (msgspec) and, in a router, ssl (asyncio), OpenSSL's hashes (hashlib has its
own) and compression (shutil). The agent's frozen records are msgspec's, because a dataclass takes ten times as long to be
declared. Garbage is collected only when all this stands, which then is never looked through again.
"""

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sysvm.agent.paths import Paths
    from sysvm.wire.machines import BootData


def main(argv: list[str] | None = None) -> None:
    """Runs the agent of this machine."""
    gc.disable()
    words = sys.argv[1:] if argv is None else argv
    root = _root(words) if words else Path("/")
    _leave_out("structlog", "typing_extensions")
    from sysvm.agent.boot import bring_up, read_boot_data
    from sysvm.agent.paths import Paths
    from sysvm.basics.log import configure
    from sysvm.wire.machines import Kind, Runtime

    configure()
    paths = Paths(root)
    boot = read_boot_data(paths)
    bring_up(boot)
    if boot.kind is Kind.ROUTER:
        _leave_out("ssl", "_hashlib", "bz2", "lzma")
    else:
        del sys.modules["typing_extensions"]
    if boot.kind is Kind.ROUTER or boot.runtime is Runtime.VM:
        # uvloop reads from what it shall only write to, and takes the host's words from a virtio port.
        import asyncio

        # Files are read by threads: sendfile would read on the loop's own, and wait there for a dead NFS server.
        os.environ["AIOHTTP_NOSENDFILE"] = "1"

        asyncio.run(serve(paths, boot))
    else:
        # These two move bytes, which uvloop does with less CPU.
        import uvloop

        uvloop.run(serve(paths, boot))


def _root(words: list[str]) -> Path:
    import argparse

    parser = argparse.ArgumentParser(prog="sysvm-agent", description="the program inside system VMs")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the machine's paths begin")
    root: Path = parser.parse_args(words).root
    return root


def _leave_out(*modules: str) -> None:
    """An import of these fails from now on, unless they have been imported already."""
    for module in modules:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]


async def serve(paths: "Paths", boot: "BootData") -> None:
    """Everything after the NICs are up."""
    import asyncio

    from sysvm import __version__
    from sysvm.agent.button import heed_power_button
    from sysvm.agent.core import Agent
    from sysvm.agent.line import Line
    from sysvm.agent.roles import Context, role_for
    from sysvm.agent.seal import Seal
    from sysvm.agent.terminal import offer_login
    from sysvm.basics.clock import SystemClock
    from sysvm.basics.tasks import Tasks

    context = Context(boot=boot, paths=paths, clock=SystemClock(), seal=Seal(boot.state_key), line=Line())
    agent = Agent(context, role_for(context), version=__version__, nonce=os.urandom(16).hex())
    gc.freeze()
    gc.enable()
    async with Tasks() as tasks:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, tasks.stop)
        tasks.start(agent.run(tasks), "agent")
        tasks.start(offer_login(paths, boot), "login on the terminal")
        tasks.start(heed_power_button(paths, boot, context.clock), "power button")


if __name__ == "__main__":
    main()
