"""A person opens a console: a real browser, the real page, a real RFB server; what is typed arrives, what is painted is seen."""

import asyncio
import contextlib
import json
import os
import shutil
import socket as socketlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.agent_console.browser import STATE, browser, read_png
from tests.agent_console.console_stage import PATIENCE, Screen, Stage, stage

pytestmark = pytest.mark.root

XTERM = ("xterm", "-bg", "navy", "-fg", "yellow", "-geometry", "80x24+10+10")
SHOWN = """(() => { const c = document.querySelector('#screen canvas'); if (!c || !c.width) return 0;
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();
  for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
  return seen.size > 2 ? seen.size : 0; })()"""


@contextlib.asynccontextmanager
async def display(folder: Path, *client: str, layout: str = "") -> AsyncIterator[Path]:
    """An X server whose only way out is RFB on a unix socket, with a program in it. With a `layout` it is as a guest: keys
    are what it hears, and the layout says what they mean."""
    for needed in ("Xvnc", "xterm"):
        assert shutil.which(needed), f"{needed} is not installed (packages tigervnc-standalone-server, xterm)"
    socket = folder / "rfb.sock"
    ready, tell = os.pipe()
    server = await asyncio.create_subprocess_exec(
        "Xvnc", "-displayfd", str(tell), "-rfbunixpath", str(socket), "-rfbport", "-1", "-SecurityTypes", "None",
        "-geometry", "800x600", "-nolisten", "tcp", "-br", *(["-RawKeyboard=1"] if layout else []), pass_fds=(tell,),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    os.close(tell)
    with os.fdopen(ready) as heard:
        number = (await asyncio.to_thread(heard.readline)).strip()
    assert number, "Xvnc ended before it was ready"
    if layout:
        chosen = await asyncio.create_subprocess_exec("setxkbmap", "-display", f":{number}", layout)
        assert await chosen.wait() == 0
    program = await asyncio.create_subprocess_exec(*client, env={**os.environ, "LC_ALL": "C.UTF-8", "DISPLAY": f":{number}"})
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


@contextlib.asynccontextmanager
async def wire(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A way to `port` that can be cut so that neither side hears of it: its own port, and what cuts it."""
    cut, ends = asyncio.Event(), list[asyncio.StreamWriter]()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if cut.is_set():
                    return
                target.write(data)
                await target.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        if cut.is_set():
            return
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        ends.append(forth)
        await asyncio.gather(carry(reader, forth), carry(back, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], cut
    finally:
        server.close()
        for writer in ends:
            writer.close()


def opening(port: int, page: str, ticket: str) -> str:
    return f"http{page}/resource/noVNC/vnc.html?autoconnect=true&port={port}&token={ticket}"


async def test_a_page_that_hears_nothing_goes_on_with_another_proxy_and_lets_no_key_stick(tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    script = f'read line; echo "$line" > {typed}.new; mv {typed}.new {typed}; exec sleep 3600'
    async with (
        stage(tmp_path / "one") as first,
        stage(tmp_path / "two", beside=first) as second,
        display(tmp_path, *XTERM, "-e", "sh", "-c", script) as socket,
    ):
        await second.role.apply(second.document(origins=("127.0.0.1",)))
        await first.role.apply(first.document(others=(f"127.0.0.1:{second.role.ports['websocket']}",)))
        ticket = first.ticket("look", through(socket))
        async with wire(first.role.ports["websocket"]) as (port, cut), browser(tmp_path / "profile") as page:
            await page.open(opening(port, first.page, ticket))
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until("document.getElementById('trip').textContent.endsWith(' ms')", PATIENCE)
            await page.do("Input.dispatchKeyEvent", type="keyDown", key="Shift", code="ShiftLeft", windowsVirtualKeyCode=16)
            cut.set()
            await page.until(f"{STATE} === 'away'", PATIENCE)
            assert await page.value(SHOWN) > 2, "the last picture stays"
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)
            assert first.server.came_back() == 1
            await page.type("still here\r")
            async with asyncio.timeout(PATIENCE):
                while not typed.exists():
                    await page.screenshot(tmp_path / "screen.png")
            assert typed.read_text() == "still here\n", "Shift was let go"


async def test_a_draining_proxy_hands_its_page_over_and_the_user_sees_nothing_of_it(tmp_path: Path) -> None:
    async with (
        stage(tmp_path / "one") as first,
        stage(tmp_path / "two", beside=first) as second,
        display(tmp_path, *XTERM) as socket,
    ):
        await second.role.apply(second.document(origins=("127.0.0.1",)))
        await first.role.apply(first.document())
        ticket = first.ticket("look", through(socket))
        async with browser(tmp_path / "profile") as page:
            await page.open(opening(first.role.ports["websocket"], first.page, ticket))
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.value(
                "window.states = []; new MutationObserver(() => states.push(document.body.dataset.state))"
                ".observe(document.body, {attributes: true}); 0"
            )
            others = (f"127.0.0.1:{second.role.ports['websocket']}",)
            await first.role.apply(first.document(draining=True, others=others))
            await first.server.report_where(lambda report: report.removed == ("session-look",))
            await page.until(SHOWN, PATIENCE)
            assert set(await page.value("states")) <= {"open"}
            assert second.role.services()[1].note == "1 sessions"


BALANCER = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
frontend pages
    bind 127.0.0.1:{page}
    default_backend pages
frontend consoles
    bind 127.0.0.1:{socket}
    default_backend consoles
backend pages
    balance roundrobin
    server one 127.0.0.1:{pages[0]} check inter 100
    server two 127.0.0.1:{pages[1]} check inter 100
backend consoles
    balance roundrobin
    server one 127.0.0.1:{sockets[0]} check inter 100
    server two 127.0.0.1:{sockets[1]} check inter 100
"""


@contextlib.asynccontextmanager
async def balancer(folder: Path, *proxies: Stage) -> AsyncIterator[tuple[int, int]]:
    """A real HAProxy in front of proxies that share one name, not sticky; its ports for pages and websockets."""
    page, port = free_port(), free_port()
    ports = [{name: proxy.role.ports[name] for name in ("page", "websocket")} for proxy in proxies]
    text = BALANCER.format(
        page=page, socket=port, pages=[one["page"] for one in ports], sockets=[one["websocket"] for one in ports]
    )
    (folder / "haproxy.cfg").write_text(text)
    process = await asyncio.create_subprocess_exec("haproxy", "-q", "-db", "-f", str(folder / "haproxy.cfg"))
    try:
        yield page, port
    finally:
        process.kill()
        await process.wait()


def free_port() -> int:
    with socketlib.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


async def test_behind_one_name_a_page_comes_back_through_whichever_proxy_is_left(tmp_path: Path) -> None:
    async with (
        stage(tmp_path / "one") as first,
        stage(tmp_path / "two", beside=first) as second,
        display(tmp_path, *XTERM) as socket,
    ):
        for proxy in (first, second):
            await proxy.role.apply(proxy.document())
        ticket = first.ticket("look", through(socket))
        async with balancer(tmp_path, first, second) as (page_port, port), browser(tmp_path / "profile") as page:
            await page.open(opening(port, f"://127.0.0.1:{page_port}", ticket))
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)
            serving = first if first.role.services()[1].note == "1 sessions" else second
            await serving.role.stop()
            await page.until(f"{STATE} === 'away'", PATIENCE)
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)
            left = second if serving is first else first
            assert left.role.services()[1].note == "1 sessions"


async def test_a_page_waits_for_a_machine_that_restarts(tmp_path: Path) -> None:
    """The screen ends; the next one, of the same machine, is shown in its place."""
    async with stage(tmp_path) as proxy, display(tmp_path, *XTERM) as socket:
        await proxy.role.apply(proxy.document())
        ended = asyncio.Event()

        async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            showing = asyncio.ensure_future(through(socket)(reader, writer))
            await ended.wait()
            showing.cancel()

        ticket = proxy.ticket("look", short)
        async with browser(tmp_path / "profile") as page:
            await page.open(opening(proxy.role.ports["websocket"], proxy.page, ticket))
            await page.until(f"{STATE} === 'open'", PATIENCE)
            proxy.relay.absence = b"WAIT the machine is not running\n"
            del proxy.relay.screens["grant-look"]
            ended.set()
            await page.until(f"{STATE} === 'away' && document.body.innerText.includes('is not running')", PATIENCE)
            proxy.relay.screens["grant-look"] = through(socket)
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)


async def test_a_pasted_text_is_typed_whole(tmp_path: Path) -> None:
    typed, text = tmp_path / "typed", 'The quick {brown} fox: 100% <jumps> ~ over_the "lazy" dog! ' * 8
    script = f'IFS= read -r line; printf "%s" "$line" > {typed}.new; mv {typed}.new {typed}; exec sleep 3600'
    async with stage(tmp_path) as proxy, display(tmp_path, *XTERM, "-e", "sh", "-c", script) as socket:
        await proxy.role.apply(proxy.document())
        ticket = proxy.ticket("look", through(socket))
        async with browser(tmp_path / "profile") as page:
            await page.open(opening(proxy.role.ports["websocket"], proxy.page, ticket))
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)
            await page.do("Input.dispatchMouseEvent", type="mouseMoved", x=200, y=150)
            await page.value("document.getElementById('paste').click(); 0")
            await page.value(f"document.getElementById('text').value = {json.dumps(text + chr(10))}; 0")
            await page.value("document.getElementById('type').click(); 0")
            async with asyncio.timeout(PATIENCE):
                while not typed.exists():
                    await page.screenshot(tmp_path / "screen.png")
            assert typed.read_text() == text


@pytest.mark.parametrize(
    ("language", "text", "seen"),
    [("", "zyx", "yzx"), ("de", "zyx@|~{ßü/", "zyx@|~{ßü/"), ("de_DE", "\u00ea", "\u00ea")],
    ids=["keys as pressed", "a guest's layout", "by dead keys"],
)
async def test_a_keyboard_unlike_the_guests(tmp_path: Path, language: str, text: str, seen: str) -> None:
    """An American keyboard here, a German one there: pressed keys are taken for the German ones, unless the page knows."""
    typed = tmp_path / "typed"
    script = f'IFS= read -r line; printf "%s" "$line" > {typed}.new; mv {typed}.new {typed}; exec sleep 3600'
    command = (*XTERM, "-u8", "-e", "sh", "-c", script)
    async with stage(tmp_path) as proxy, display(tmp_path, *command, layout="de") as socket:
        await proxy.role.apply(proxy.document())
        url = opening(proxy.role.ports["websocket"], proxy.page, proxy.ticket("look", through(socket)))
        async with browser(tmp_path / "profile") as page:
            await page.open(f"{url}&language={language}")
            await page.until(f"{STATE} === 'open'", PATIENCE)
            await page.until(SHOWN, PATIENCE)
            await page.do("Input.dispatchMouseEvent", type="mouseMoved", x=200, y=150)
            await page.type(f"{text}\r")
            async with asyncio.timeout(PATIENCE):
                while not typed.exists():
                    await page.screenshot(tmp_path / "screen.png")
            assert typed.read_text() == seen


@pytest.mark.parametrize(("asked", "size"), [("w=100&h=75", (100, 75)), ("w=80", (80, 60)), ("", (800, 600))])
async def test_a_small_picture_of_a_screen(tmp_path: Path, asked: str, size: tuple[int, int]) -> None:
    async with stage(tmp_path) as proxy, display(tmp_path, *XTERM) as socket, aiohttp.ClientSession() as web:
        await proxy.role.apply(proxy.document())
        seen: set[bytes] = set()
        while len(seen) < 2:  # until xterm has painted its navy window on the black screen
            ticket = proxy.ticket("thumbnail", through(socket))
            async with web.get(f"http{proxy.page}/getscreen?token={ticket}&{asked}") as answer:
                assert (answer.status, answer.content_type) == (200, "image/png")
                picture = await answer.read()
            got, rows = read_png(picture)
            assert got == size
            seen = {row[3 * x : 3 * x + 3] for row in rows for x in range(size[0])}
        assert bytes((0, 0, 128)) in seen, "navy, with red, green and blue in their places"
        async with web.get(f"http{proxy.page}/getscreen?token=used&{asked}") as answer:
            assert answer.status == 403
        assert proxy.role.services()[1].note == "0 sessions"


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
