"""A browser's part at a console: the ticket of the page's address, a websocket, RFB, one picture."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import aiohttp

PATIENCE_S = 60.0


class Turned(Exception):
    """The proxy opened no screen: its close code."""


class Stream:
    """The bytes of a websocket's binary frames, in the pieces that RFB wants."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._held = b""

    async def take(self, count: int) -> bytes:
        while len(self._held) < count:
            frame = await self._socket.receive(timeout=PATIENCE_S)
            if frame.type is not aiohttp.WSMsgType.BINARY:
                raise Turned(f"{frame.type.name} {frame.data} {frame.extra}")
            self._held += frame.data
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)


async def picture(url: str) -> tuple[str, bytes]:
    """The name and the pixels of the screen that the page of `url` would show. Raises Turned."""
    async with _opened(url) as stream:
        return await _rfb(stream)


async def typed(url: str, *turns: tuple[str, str]) -> str:
    """Everything that a text console says: (what is typed, what has to come then), again and again. Raises Turned."""
    said = ""
    async with _opened(url) as stream:
        for line, answer in turns:
            await stream.send(line.encode())
            fresh = ""
            while answer not in fresh:
                fresh += (await stream.take(1)).decode(errors="replace")
            said += fresh
    return said


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Stream]:
    parts = urlsplit(url)
    (token,) = parse_qs(parts.query)["token"]
    where = f"ws://{parts.hostname}:{parse_qs(parts.query)['port'][0]}/websockify?token={token}"
    try:
        async with (
            aiohttp.ClientSession() as web,
            web.ws_connect(where, protocols=("binary",), max_msg_size=0) as socket,
        ):
            yield Stream(socket)
    except aiohttp.WSServerHandshakeError as error:
        raise Turned(str(error.status)) from error


async def _rfb(stream: Stream) -> tuple[str, bytes]:
    version = await stream.take(12)
    assert version.startswith(b"RFB 003.")
    await stream.send(b"RFB 003.008\n")
    kinds = await stream.take((await stream.take(1))[0])
    assert 1 in kinds
    await stream.send(b"\x01")
    assert await stream.take(4) == b"\0\0\0\0"
    await stream.send(b"\x01")
    width, height, bits = struct.unpack(">HHB", (await stream.take(20))[:5])
    name = (await stream.take(struct.unpack(">I", await stream.take(4))[0])).decode()
    await stream.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    return name, await _raw(stream, bits // 8, width * height)


async def _raw(stream: Stream, size: int, wanted: int) -> bytes:
    """Pixels of raw rectangles, until there are as many as the screen has."""
    pixels = b""
    while len(pixels) < wanted * size:
        kind, _, count = struct.unpack(">BBH", await stream.take(4))
        assert kind == 0
        for _ in range(count):
            _, _, wide, high, encoding = struct.unpack(">HHHHi", await stream.take(12))
            assert encoding == 0
            pixels += await stream.take(wide * high * size)
    return pixels
