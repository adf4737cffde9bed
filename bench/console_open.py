"""console.open_ms: from the API call to the first whole picture in a browser, over the demo that bench/real.py brings up.

Everything is real: server, proxy, the relay of the guest's host, QEMU's VNC, Chromium. The browser runs already, as a user's
does; with each opening it has never seen this proxy's page before (a profile of its own), which is the worst case, or has.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.measure import median
from bench.rows import Row, row
from sysvm.cli.client import Client
from tests.agent_console.browser import Page, browser
from tests.agent_console.test_console_browser import STATE

NAME = "console.open_ms"
NEEDS = ("chromium",)
PATIENCE_S = 60.0


def measure(client: Client, guest: str, times: int) -> Row:
    """The row; the second opening of each browser is in the note."""
    found = [asyncio.run(_openings(client, guest)) for _ in range(times)]
    again = median([second for _, second in found])
    note = "createConsoleEndpoint to the first whole picture of a VM's screen in Chromium, which sees this page for the first"
    note += f" time; median of {times}; the second time {again:.0f} ms"
    return row(NAME, median([first for first, _ in found]), "ms", note=note)


async def _openings(client: Client, guest: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        async with browser(Path(folder)) as page:
            return await _open(client, guest, page), await _open(client, guest, page)


async def _open(client: Client, guest: str, page: Page) -> float:
    await page.open("about:blank")
    began = time.perf_counter()
    url = client.call("createConsoleEndpoint", virtualmachineid=guest)["consoleendpoint"]["url"]
    await page.open(url)
    await page.until(f"{STATE} === 'open'", PATIENCE_S)  # which the page says when a picture is whole
    return (time.perf_counter() - began) * 1000
