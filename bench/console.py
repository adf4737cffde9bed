"""console.*: what a console costs in its proxy, how many one carries, and what its user loses when things change.

The proxy is the agent's program; the hosts' relay, the server and the browsers are in this process. Peers do the same work on
the same bytes: websockify with a TLS target, and HAProxy in TCP mode, which frames nothing.
"""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import uvloop
from picows import WSTransport

from bench.console_load import EVERY_S, Watch, live_relay, look
from bench.console_proxies import LOCAL, Proxy, World, haproxy, proxy, websockify, world
from bench.measure import cpu_s, median, percentile, rss_mb
from bench.rows import Row, row
from sysvm.agent.roles.consoleproxy import control
from tests.agent_console.browser import browser
from tests.agent_console.console_stage import Screen, echo_screen
from tests.agent_console.test_console_browser import SHOWN, STATE, XTERM, display, opening, through

NAMES = (
    "console.cpu_ms_per_mb.plain",
    "console.cpu_ms_per_mb.tls",
    "console.cpu_ms_per_mb.plain_haproxy",
    "console.cpu_ms_per_mb.tls_haproxy",
    "console.sessions_p99_ms",
    "console.sessions_rss_mb",
    "console.backpressure_mb",
    "console.cert_swap_cut",
    "console.drain_cut",
    "console.resume_s",
)
NEEDS = ("root", "haproxy", "chromium", "Xvnc", "xterm")
PIECE = b"\xa5" * 65536
MB = 2**20
PATIENCE_S = 60.0


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows."""
    mb, times = (4, 1) if tiny else (100, 9)
    for number, tls in enumerate((False, True)):
        ours, theirs, floor = uvloop.run(_bulk(mb, times, tls=tls))
        note = f"one session, {mb} MB of screen data, TLS to the host; median of {times}, in turn"
        yield row(NAMES[number], ours, "ms", against=("websockify", theirs), note=note)
        yield row(NAMES[number + 2], ours, "ms", against=("HAProxy, TCP", floor), note=note)
    count, seconds = (5, 1) if tiny else (1000, 5)
    p99, memory = uvloop.run(_sessions(count, seconds))
    note = f"{count} sessions through TLS, 2 KB at 5/s each for {seconds} s; the load comes from the same two cores"
    yield row(NAMES[4], p99, "ms", note=note)
    yield row(NAMES[5], memory, "MB", note=note)
    count = 3 if tiny else 100
    yield row(NAMES[6], uvloop.run(_backpressure(count)), "MB", note=f"{count} browsers that stop reading a full screen")
    count = 3 if tiny else 50
    yield row(NAMES[7], uvloop.run(_swap(count)), "sessions", note=f"of {count}")
    yield row(NAMES[8], uvloop.run(_drain(count)), "sessions", note=f"of {count}; pages that follow the proxy's word")
    times = 1 if tiny else 5
    took = [uvloop.run(_resume()) for _ in range(times)]
    note = f"from the proxy's last word (no FIN) until a picture through another one, in Chromium; median of {times}"
    yield row(NAMES[9], median(took), "s", note=note)


# ---------------------------------------------------------------- one session
async def _bulk(mb: int, times: int, *, tls: bool) -> tuple[float, float, float]:
    """Milliseconds of CPU per MB: ours, websockify's, HAProxy's."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as name:
        folder = Path(name)
        async with world() as around, proxy(around, certificate=around.certificate if tls else None) as ours:
            (folder / "site.pem").write_text(around.certificate.chain + around.certificate.key)
            (folder / "ca.pem").write_text(around.authority.ca_text())
            trusting = around.trusting() if tls else None
            async with _raw(around, mb) as target:
                for turn in range(times):
                    found[0].append(await _ours(around, ours, mb, f"bulk-{turn}", trusting))
                    async with websockify(folder, target, tls=tls) as (pid, port):
                        found[1].append(await _websocket(_child, pid, f"{LOCAL}:{port}/", mb, trusting))
                    async with haproxy(folder, target, tls=tls) as (pid, port):
                        found[2].append(await _stream(pid, port, mb, trusting))
    return median(found[0]), median(found[1]), median(found[2])


async def _send(writer: asyncio.StreamWriter, mb: int) -> None:
    for _ in range(mb * MB // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


async def _ours(around: World, ours: Proxy, mb: int, name: str, trusting: ssl.SSLContext | None) -> float:
    async def screen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _send(writer, mb)
        await _reader.read()

    ticket = around.ticket(name, screen)
    return await _websocket(_same, ours.pid, f"{ours.place}/websockify?token={ticket}", mb, trusting)


@contextlib.asynccontextmanager
async def _raw(around: World, mb: int) -> AsyncIterator[int]:
    """A TLS server that sends the same bytes to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await _send(writer, mb)
            await reader.read()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    around.authority.cloud.issue_cert(LOCAL).configure_cert(context)
    server = await asyncio.start_server(serve, LOCAL, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _same(pid: int) -> int:
    return pid


def _child(pid: int) -> int:
    """websockify forks for each session; the newest child is ours."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[-1])


async def _websocket(whose: Callable[[int], int], pid: int, where: str, mb: int, trusting: ssl.SSLContext | None) -> float:
    scheme = "wss" if trusting else "ws"
    left, begun, begun_mb = mb * MB, 0.0, 0.0
    async with aiohttp.ClientSession() as web:
        given = {"ssl": trusting} if trusting else {}
        async with web.ws_connect(f"{scheme}://{where}", protocols=("binary",), max_msg_size=0, **given) as socket:
            while left > 0:
                left -= len(await socket.receive_bytes())
                if not begun:  # the hand-shake is not what is measured
                    worker = whose(pid)
                    begun, begun_mb = cpu_s(worker), left / MB
            return (cpu_s(worker) - begun) * 1000 / begun_mb


async def _stream(pid: int, port: int, mb: int, trusting: ssl.SSLContext | None) -> float:
    reader, writer = await asyncio.open_connection(LOCAL, port, ssl=trusting, limit=4 * len(PIECE))
    left, begun, begun_mb = mb * MB, 0.0, 0.0
    while left > 0:
        left -= len(await reader.read(len(PIECE)))
        if not begun:
            begun, begun_mb = cpu_s(pid), left / MB
    spent = cpu_s(pid) - begun
    writer.close()
    return spent * 1000 / begun_mb


# ---------------------------------------------------------------- many sessions
async def _sessions(count: int, seconds: int) -> tuple[float, float]:
    """(99th percentile of the way from relay to browser in milliseconds, megabytes of the proxy)."""
    watch = Watch()
    async with (
        world() as around,
        proxy(around, certificate=around.certificate) as ours,
        live_relay(around) as relay,
    ):
        room, trusting = asyncio.Semaphore(8), around.trusting()

        async def open_one(number: int) -> WSTransport:
            async with room:
                return await look(around, ours, f"many-{number}", relay.port, watch, trusting)

        browsers = await asyncio.gather(*(open_one(number) for number in range(count)))
        relay.live()
        await asyncio.sleep(EVERY_S)
        watch.took.clear()
        await asyncio.sleep(seconds)
        took, memory = list(watch.took), rss_mb(ours.pid)
        assert not watch.cut and len(took) > 0.9 * count * seconds / EVERY_S, "every session is served"
        for browser in browsers:
            browser.disconnect(graceful=False)
    return percentile(took, 0.99), memory


async def _backpressure(count: int) -> float:
    """Megabytes that the proxy grows by when its browsers stop reading."""
    sent, flood = 0, asyncio.Event()

    async def screen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"first picture")
        await flood.wait()
        with contextlib.suppress(OSError):
            while True:
                writer.write(PIECE)
                await writer.drain()
                sent += 1

    async with world() as around, proxy(around) as ours:
        writers = [await _deaf(around, ours, f"deaf-{n}", screen) for n in range(count)]
        before = rss_mb(ours.pid)
        flood.set()
        still, last = 0, -1
        while still < 10:
            still, last = (still + 1 if last == sent else 0), sent
            await asyncio.sleep(0.1)
        grown = rss_mb(ours.pid) - before
        for writer in writers:
            writer.transport.abort()
    return grown


async def _deaf(around: World, ours: Proxy, name: str, screen: Screen) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(LOCAL, ours.document.websocket_port, limit=4096)
    writer.write(
        b"GET /websockify?token=%b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % around.ticket(name, screen).encode()
    )
    await reader.readuntil(b"first picture")
    return writer


# ---------------------------------------------------------------- changes
class Page:
    """A browser's page without a picture: attaches, follows when it is told to move."""

    def __init__(self, web: aiohttp.ClientSession, url: str) -> None:
        self._web, self._url, self._secret = web, url, ""
        self.socket: aiohttp.ClientWebSocketResponse

    async def attach(self, key: dict[str, str]) -> None:
        """Opens, or comes back."""
        socket = await self._web.ws_connect(self._url, protocols=(control.SUBPROTOCOL,))
        await socket.send_json(key)
        opened = json.loads(await socket.receive_str())
        self._secret, self.socket = opened["resume"], socket

    async def moves(self, url: str) -> None:
        """Hears that it shall move, does so, and only then leaves."""
        assert json.loads(await self.socket.receive_str())["say"] == "move"
        old, self._url = self.socket, url
        await self.attach({"say": "resume", "secret": self._secret})
        await old.close()

    async def lives(self) -> bool:
        """Bytes go there and back."""
        try:
            await self.socket.send_bytes(b"still there?")
            return await self.socket.receive_bytes() == b"still there?"
        except (TypeError, ConnectionError, aiohttp.ClientError):
            return False


@contextlib.asynccontextmanager
async def _pages(around: World, ours: Proxy, count: int) -> AsyncIterator[list[Page]]:
    connector = aiohttp.TCPConnector(limit=0, ssl=around.trusting())
    async with aiohttp.ClientSession(connector=connector) as web:
        pages = [Page(web, ours.websocket()) for _ in range(count)]
        for number, page in enumerate(pages):
            await page.attach({"say": "open", "ticket": around.ticket(f"page-{number}", echo_screen())})
        yield pages


async def _swap(count: int) -> float:
    async with (
        world() as around,
        proxy(around, certificate=around.certificate) as ours,
        _pages(around, ours, count) as pages,
    ):
        await ours.apply(certificate=around.authority.for_browsers())
        return float(sum([not await page.lives() for page in pages]))


async def _drain(count: int) -> float:
    async with (
        world() as around,
        proxy(around) as ours,
        proxy(around) as other,
        _pages(around, ours, count) as pages,
    ):
        following = asyncio.gather(*(page.moves(other.websocket()) for page in pages), return_exceptions=True)
        await ours.apply(draining=True, others=(other.place,))
        await asyncio.wait_for(following, PATIENCE_S)
        return float(sum([not await page.lives() for page in pages]))


async def _resume() -> float:
    """Seconds from the proxy's death to a whole picture through another one."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as name:
        folder = Path(name)
        async with (
            world() as around,
            display(folder, *XTERM) as screen,
            proxy(around, origins=(LOCAL,)) as other,
            proxy(around, others=(other.place,)) as ours,
            browser(folder / "profile") as page,
        ):
            around.ticket("look", through(screen), kind="vnc")
            url = opening(ours.document.websocket_port, f"://{LOCAL}:{ours.document.page_port}", "look")
            await page.open(url)
            await page.until(f"{STATE} === 'open'", PATIENCE_S)
            await page.until(SHOWN, PATIENCE_S)
            began = time.perf_counter()
            # A machine that is killed sends no FIN; a process that is stopped is as silent.
            os.kill(ours.pid, signal.SIGSTOP)
            await page.until(f"{STATE} === 'away'", PATIENCE_S)
            await page.until(f"{STATE} === 'open' && {SHOWN}", PATIENCE_S)
            return time.perf_counter() - began
