"""A second host comes to the demo, and guest one goes there while it runs and answers: real host agents, QEMU, VXLAN."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sysvm.hosts.layout import Layout
from tests.agent_console.browser import STATE, Page, browser
from tests.boot.conftest import world
from tests.boot.patience import NotYet
from tests.boot.screen import picture
from tests.boot.second_host import a_guest_on_a_wide_network, two_hosts
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]
PATIENCE_S = 120.0
LIT = """(() => { const c = document.querySelector('#screen canvas'); if (!c || !c.width) return 0;
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let lit = 0;
  for (let i = 0; i < d.length; i += 4) lit += d[i] > 100; return lit; })()"""


class Visitor:
    """Somebody outside who asks guest one for its page, again and again; the longest time without an answer."""

    def __init__(self, address: str) -> None:
        self.answered, self.longest = 0, 0.0
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Visitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.02):
            try:
                said = answers(self._address, 80, seconds=1.0)
            except OSError:
                continue
            if "tiny guest" in said:
                self.answered += 1
                self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()


def screen(demo: World, guest: str) -> str:
    """The address of its page."""
    said = demo.client.call("createConsoleEndpoint", virtualmachineid=guest)["consoleendpoint"]
    if not said["success"]:
        raise NotYet(said["details"])
    return str(said["url"])


async def goes_while_it_is_watched(demo: World, second: Layout, guest: str, visitor: Visitor, folder: Path) -> None:
    """Moved by its owner, with its page open: what is typed there is seen, and heard on the other host."""

    async def until(condition: Callable[[], Any], what: str) -> Any:
        return await asyncio.to_thread(demo.until, condition, what)

    async def writes(page: Page, word: str, host: Layout) -> None:
        await page.until(f"{STATE} === 'open'", PATIENCE_S)
        before = await page.value(LIT)
        await page.type(f"say {word}\r")
        await page.until(f"{LIT} > {before + len(word) * 10}", PATIENCE_S)  # a cursor that blinks is less
        logs = host.machine(guest)
        await until(lambda: any(f"guest: {word}" in log.read_text() for log in logs.rglob("console.log")), word)

    async with browser(folder) as page:
        await page.open(await until(lambda: screen(demo, guest), "its screen can be had"))
        await writes(page, "here", demo.layout)
        await asyncio.to_thread(demo.client.job, "migrateVirtualMachine", virtualmachineid=guest, autoselect="true")
        seen = visitor.answered
        await until(lambda: visitor.answered > seen + 20, "the guest answers on")
        await writes(page, "there", second)


def a_settler(demo: World, like: str, host: str) -> str:
    """A new guest on that host, which has to fetch the image from the secondary storage VM on the other one; its host then."""
    (first,) = demo.client.rows("listVirtualMachines", "virtualmachine", id=like)
    made = demo.client.job(
        "deployVirtualMachine", name="settler", serviceofferingid=first["serviceofferingid"], zoneid=first["zoneid"],
        templateid=first["templateid"], networkids=first["nic"][0]["networkid"], hostid=host,
    )["virtualmachine"]  # fmt: skip
    return str(demo.client.rows("listVirtualMachines", "virtualmachine", id=made["id"])[0]["hostid"])


def test_a_guest_goes_to_a_second_host_and_answers_on(tmp_path: Path):
    """Its page is there before, meanwhile and afterwards, and its screen, on the page that was open; nothing is left
    where it was."""
    with world("--runtime", "container") as demo, ExitStack() as stack:
        guest, address = a_guest_on_a_wide_network(demo)
        demo.until(lambda: "tiny guest" in answers(address, 80), "the guest answers")
        second = stack.enter_context(two_hosts(demo))
        before = demo.client.rows("listVirtualMachines", "virtualmachine", id=guest)[0]["hostid"]
        with Visitor(address) as visitor:
            asyncio.run(goes_while_it_is_watched(demo, second, guest, visitor, tmp_path / "profile"))
        print(f"answered {visitor.answered} times, longest silence {visitor.longest:.3f} s")
        now = demo.client.rows("listVirtualMachines", "virtualmachine", id=guest)[0]
        assert ("Running", True) == (now["state"], now["hostid"] != before)
        assert guest in [folder.name for folder in second.machines.iterdir()]
        name, pixels = asyncio.run(picture(screen(demo, guest)))
        assert guest in name and len(set(pixels)) > 1
        assert a_settler(demo, guest, now["hostid"]) == now["hostid"]
        demo.until(lambda: not demo.layout.machine(guest).exists(), "nothing of it is left where it was")
        (volume,) = demo.client.rows("listVolumes", "volume", virtualmachineid=guest)
        assert (second.state / f"primary/volumes/{volume['id']}.qcow2").exists()
        demo.until(lambda: not (demo.state / f"primary/volumes/{volume['id']}.qcow2").exists(), "nor of its volume")
