"""A headless Chromium, steered over its debugging port: pages, what they show, keys."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--window-size=1000,700",
)  # fmt: skip
STATE = "document.body && document.body.dataset.state"  # of a console page


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._events: list[str | None] = []

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said = json.loads(await self._socket.receive_str())
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self._events.append(said.get("method"))

    async def open(self, url: str) -> None:
        """The page is loaded."""
        self._events.clear()
        await self.do("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._events.append(json.loads(await self._socket.receive_str()).get("method"))

    async def value(self, expression: str) -> Any:
        got = await self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    async def until(self, expression: str, seconds: float) -> Any:
        """The first true value of the expression, which the page itself watches for at each frame."""
        look = f"const v = ({expression}); v ? done(v) : setTimeout(look, 20);"
        watch = f"new Promise(done => {{ const look = () => {{ {look} }}; look(); }})"
        async with asyncio.timeout(seconds):
            return await self.value(watch)

    async def type(self, text: str) -> None:
        for key in text:
            code = {"\r": ("Enter", 13), " ": ("Space", 32)}.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
            named = "Enter" if key == "\r" else key
            common = {"key": named, "code": code[0], "windowsVirtualKeyCode": code[1]}
            await self.do("Input.dispatchKeyEvent", type="keyDown", text=key, **common)
            await self.do("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self, place: Path) -> bytes:
        png = base64.b64decode((await self.do("Page.captureScreenshot", format="png"))["data"])
        place.write_bytes(png)
        return png


@contextlib.asynccontextmanager
async def browser(folder: Path, *flags: str) -> AsyncIterator[Page]:
    program = shutil.which("chromium")
    assert program is not None, "the package chromium is not installed"
    process = await asyncio.create_subprocess_exec(
        program, *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        while b"DevTools listening on" not in (line := await process.stderr.readline()):
            assert line, "chromium ended before it listened"
        base = line.split()[-1].decode().split("/devtools")[0].replace("ws:", "http:")
        async with aiohttp.ClientSession() as web:
            async with web.get(f"{base}/json/list") as answer:
                where = next(tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page")
            async with web.ws_connect(where, max_msg_size=0) as socket:
                page = Page(socket)
                await page.do("Page.enable")
                yield page
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def read_png(picture: bytes) -> tuple[tuple[int, int], list[bytes]]:
    """Size and rows of a PNG of the plainest kind."""
    at, parts = 8, {}
    while at < len(picture):
        size = int.from_bytes(picture[at : at + 4], "big")
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + data) == int.from_bytes(picture[at + 8 + size : at + 12 + size], "big")
        parts[kind] = data
        at += 12 + size
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    raw, line = zlib.decompress(parts[b"IDAT"]), 1 + 3 * width
    return (width, height), [raw[n * line + 1 : (n + 1) * line] for n in range(height)]
