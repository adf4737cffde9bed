"""The kernel says when somebody has changed its rules: once for each transaction, and for nothing else."""

import subprocess
import sys
from uuid import uuid4

import pytest

pytestmark = pytest.mark.root

LISTENER = """
import asyncio, subprocess
from sysvm.agent.roles.router import bell
from sysvm.basics.clock import SystemClock

async def main():
    rings = bell.rings(SystemClock())
    for words in ("add table inet a", "add set inet a s { type ipv4_addr; }; add element inet a s { 192.0.2.1 }"):
        waits = asyncio.ensure_future(anext(rings))
        await asyncio.sleep(0)
        subprocess.run(["nft", "list", "ruleset"], check=True, stdout=subprocess.DEVNULL)
        await asyncio.sleep(0)
        print("before", waits.done())
        subprocess.run(["nft", words], check=True)
        async with asyncio.timeout(120):
            await waits
        print("rang")

asyncio.run(main())
"""


def test_it_rings_for_changes_and_not_for_looks():
    name = f"sysvm-bell-{uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        command = ["ip", "netns", "exec", name, sys.executable, "-c", LISTENER]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    assert ["before False", "rang"] * 2 == said.splitlines()
