"""A person opens a console: a real browser, the real page, a real RFB server; what is typed arrives, what is painted is seen."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from browser import browser
from console_stage import PATIENCE, Screen, stage

pytestmark = pytest.mark.root

XTERM = ("xterm", "-bg", "navy", "-fg", "yellow", "-geometry", "80x24+10+10")
SHOWN = """(() => { const c = document.querySelector('#screen canvas'); if (!c || !c.width) return 0;
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();
  for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
  return seen.size > 2 ? seen.size : 0; })()"""


@contextlib.asynccontextmanager
async def display(folder: Path, *client: str) -> AsyncIterator[Path]:
    """An X server whose only way out is RFB on a unix socket, with a program in it."""
    for needed in ("Xvnc", "xterm"):
        assert shutil.which(needed), f"{needed} is not installed (packages tigervnc-standalone-server, xterm)"
    socket = folder / "rfb.sock"
    ready, tell = os.pipe()
    server = await asyncio.create_subprocess_exec(
        "Xvnc", "-displayfd", str(tell), "-rfbunixpath", str(socket), "-rfbport", "-1", "-SecurityTypes", "None",
        "-geometry", "800x600", "-nolisten", "tcp", "-br", pass_fds=(tell,),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    os.close(tell)
    with os.fdopen(ready) as heard:
        number = (await asyncio.to_thread(heard.readline)).strip()
    assert number, "Xvnc ended before it was ready"
    program = await asyncio.create_subprocess_exec(*client, env={**os.environ, "DISPLAY": f":{number}"})
    try:
        yield socket
    finally:
        for process in (program, server):
            if process.returncode is None:
                process.kill()
            await process.wait()


def through(place: Path) -> Screen:
    """A relay's job: bytes between TLS and a unix socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(str(place))

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(carry(reader, forth), carry(back, writer), return_exceptions=True)

    return serve


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_browser_shows_a_screen_and_its_keys_arrive(tmp_path: Path, tls: bool) -> None:
    typed = tmp_path / "typed"
    script = f'echo ready; read line; echo "$line" > {typed}.new; mv {typed}.new {typed}; exec sleep 3600'
    async with stage(tmp_path) as proxy, display(tmp_path, *XTERM, "-e", "sh", "-c", script) as socket:
        certificate = proxy.authority.for_browsers() if tls else None
        assert await proxy.role.apply(proxy.document(certificate=certificate)) == ()
        ticket = proxy.ticket("look", through(socket))
        scheme, port = "https" if tls else "http", proxy.role.ports["websocket"]
        url = f"{scheme}{proxy.page}/resource/noVNC/vnc.html?autoconnect=true&show_dot=true&port={port}&token={ticket}"
        async with browser(tmp_path / "profile", "--ignore-certificate-errors") as page:
            await page.open(url)
            await page.until("document.body && document.body.dataset.state === 'open'", PATIENCE)
            assert await page.until(SHOWN, PATIENCE) > 2, "the canvas is not of one colour"
            assert "token" not in await page.value("location.href"), "a ticket does not stay in the address bar"
            await page.do("Input.dispatchMouseEvent", type="mouseMoved", x=200, y=150)
            await page.type("hello console\r")
            async with asyncio.timeout(PATIENCE):
                while not typed.exists():
                    await page.screenshot(tmp_path / "screen.png")
            assert typed.read_text() == "hello console\n"
            assert await page.value("document.title") == "web1"


async def test_a_browser_shows_a_text_console(tmp_path: Path) -> None:
    async def screen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x1b[1mDebian\x1b[0m login: ")
        line = await reader.readuntil(b"\r")
        writer.write(b"root\r\nWelcome" if line == b"root\r" else b"?")
        await reader.read()

    async with stage(tmp_path) as proxy:
        await proxy.role.apply(proxy.document())
        ticket = proxy.ticket("text", screen, kind="text")
        url = f"http{proxy.page}/ajax?port={proxy.role.ports['websocket']}&token={ticket}"
        async with browser(tmp_path / "profile") as page:
            await page.open(url)
            rows = "(document.querySelector('.xterm-rows') ?? {textContent: ''}).textContent"
            await page.until(f"{rows}.includes('Debian login:')", PATIENCE)
            await page.type("root\r")
            await page.until(f"{rows}.includes('Welcome')", PATIENCE)


async def test_a_refused_ticket_is_said_on_the_page(tmp_path: Path) -> None:
    async with stage(tmp_path) as proxy:
        await proxy.role.apply(proxy.document())
        url = f"http{proxy.page}/resource/noVNC/vnc.html?port={proxy.role.ports['websocket']}&token=used"
        async with browser(tmp_path / "profile") as page:
            await page.open(url)
            await page.until("document.body && document.body.dataset.state === 'ended'", PATIENCE)
            said = await page.value("document.getElementById('status').textContent")
    assert said == "this ticket is not known or was used"
