"""Away with it: no process, bridge, namespace, mount, container or domain of this state folder is left.

May be repeated, and begun after a kill -9 of anything: what is there is found from the folder and its derived names, not
from anybody's memory.
"""

import asyncio
import shutil
from pathlib import Path

from sysvm.cli.demo import places as demo_places
from sysvm.cli.demo import uplink
from sysvm.cli.demo.supervisor import Supervisor
from sysvm.hosts.down import remove_everything
from sysvm.hosts.layout import Layout


def run(state: Path) -> None:
    """Takes the demo of a state folder down."""
    if not state.exists():
        print("nothing is up")
        return
    Supervisor(state).stop()
    asyncio.run(remove_everything(Layout.of(state)))
    uplink.remove(demo_places.of(state))
    shutil.rmtree(state)
    print(f"{state} is down, and nothing of it is left")
