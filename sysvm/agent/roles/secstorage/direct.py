"""The body of a plain HTTP answer straight from its socket into a buffer that is used again and again.

On the way through aiohttp each byte is copied twice and lands in memory that was just asked for; for an image that is most of
the work. So once the header has been read the connection is taken from aiohttp: what it has read already comes first, and
its transport reads no more. Read by a thread, one call at a time, while another one writes and hashes the buffer before.

Not for TLS, chunked bodies, or those of unknown length: they go the usual way (streaming.py). Races thought of: whoever gives
up a body closes it, and a thread that waits for bytes sees the end of them.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator

import aiohttp

from sysvm.agent.roles.secstorage.fetch import SourceFailed
from sysvm.agent.roles.secstorage.pace import Pace, Patience
from sysvm.agent.roles.secstorage.reaching import Answer

SIZE = 4 * 1024 * 1024
_BUFFERS = 2  # one is filled, one is written


class Direct:
    """The rest of a body."""

    def __init__(self, first: bytes, line: socket.socket, length: int) -> None:
        self._first = memoryview(first)
        self._line = line
        self._left = length
        self._buffers = [memoryview(bytearray(SIZE)) for _ in range(_BUFFERS)]

    def fill(self, buffer: memoryview, seconds: float) -> tuple[int, bool]:
        """(bytes that came, whether more may come): until the buffer is full, the body is whole, or the time is over."""
        filled, end = 0, time.monotonic() + seconds
        while filled < len(buffer) and self._left:
            got = self._some(buffer[filled : filled + self._left], end - time.monotonic())
            if not got:
                return filled, got is None
            filled, self._left = filled + got, self._left - got
        return filled, self._left > 0

    def _some(self, room: memoryview, seconds: float) -> int | None:
        """How many bytes came; None when the time was over before."""
        if self._first:
            got = min(len(room), len(self._first))
            room[:got], self._first = self._first[:got], self._first[got:]
            return got
        if seconds <= 0:
            return None
        self._line.settimeout(seconds)
        try:
            return self._line.recv_into(room)
        except TimeoutError:
            return None

    async def batches(self, patience: Patience) -> AsyncIterator[memoryview]:
        """Buffer by buffer; each is good until the next but one is asked for. SourceFailed when it stalls or breaks."""
        now = asyncio.get_running_loop().time
        pace, turn, more = Pace(patience, now()), 0, True
        while more:
            buffer, turn = self._buffers[turn % _BUFFERS], turn + 1
            try:
                size, more = await asyncio.to_thread(self.fill, buffer, pace.left(now()) + 0.001)
            except OSError as error:
                raise SourceFailed(f"the connection broke: {error}") from error
            if size:
                yield buffer[:size]
            if more and not pace.took(size, now()):
                raise SourceFailed(patience.too_slow)

    def close(self) -> None:
        """Nobody reads it any more."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()


def take_over(answer: Answer) -> Direct | None:
    """The body, taken from aiohttp; None where it has to come the usual way. Does not await: nothing is read meanwhile."""
    if not isinstance(answer, aiohttp.ClientResponse) or answer.connection is None:
        return None
    length, transport = answer.content_length, answer.connection.transport
    if length is None or "Transfer-Encoding" in answer.headers or not isinstance(transport, asyncio.Transport):
        return None
    if transport.get_extra_info("sslcontext") is not None:
        return None
    first = answer.content.read_nowait()
    transport.pause_reading()
    line = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    return Direct(first, line, length)
