"""Which agent goes into the system VMs of this host: the one made from the very sources that the host agent runs.

The choice is written down once at the start of the host agent, so that all drivers take the same, and a machine that is
started by hand later takes it too. Making the layer needs the network once; where it cannot be made, the newest one of
the cache is taken.
"""

import asyncio
from pathlib import Path

from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.hosts.layout import Layout
from sysvm.hosts.system.durable import write_durably
from sysvm.images.agentlayer import agent_layer

log = get_logger()


async def choose_agent(layout: Layout) -> None:
    """The agent of our own sources is built, unless it is there, and chosen."""
    try:
        layer = await asyncio.to_thread(agent_layer, layout.cache)
    except Refused as error:
        log.warning("agent_layer_not_built", why=error.text)
        return
    write_durably(_choice(layout), layer.digest.encode())


def chosen_agent(layout: Layout) -> Path | None:
    """The folder of the chosen agent (root/, agent.squashfs); the newest of the cache when none was chosen."""
    choice = _choice(layout)
    if choice.exists():
        folder = layout.cache / "agents" / choice.read_text()
        if (folder / "root").is_dir():
            return folder
    folders = [root.parent for root in (layout.cache / "agents").glob("[!.]*/root")]
    return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def _choice(layout: Layout) -> Path:
    return layout.host / "agent"
