"""The other end of `patching.py`: which chunks an image has, and the bytes of some of them.

The list is made as it is sent, when nobody has asked for it before, so that a large image keeps nobody waiting in silence. Ranges
are read strictly and in order; whoever asks for others learns only that.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from itertools import islice

from aiohttp import web

from sysvm.agent.roles.secstorage import chunks
from sysvm.agent.roles.secstorage.patching import RANGES
from sysvm.agent.roles.secstorage.store import ImageStore, Readable

_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_AT_ONCE = 512  # chunks
_PIECE = 1024 * 1024


async def give_chunks(request: web.Request, store: ImageStore, sha256: str) -> web.StreamResponse:
    """The answer to GET /chunks/<link>."""
    wanted = request.headers.get(RANGES)
    answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    if wanted is not None:
        with await asyncio.to_thread(store.open, sha256) as file:
            runs = read_ranges(wanted, file.seek(0, os.SEEK_END))
            await answer.prepare(request)
            await _give_runs(answer, file, runs)
    else:
        await answer.prepare(request)
        await _give_list(answer, store, sha256)
    await answer.write_eof()
    return answer


def read_ranges(text: str, size: int) -> list[tuple[int, int]]:
    """(first byte, length) of each; raises HTTPBadRequest."""
    found, before = [], -1
    for one in text.split(","):
        form = _RANGE.fullmatch(one)
        if form is None or not before < int(form[1]) <= int(form[2]) < size:
            raise web.HTTPBadRequest(text="these are no ranges of the image\n")
        found.append((int(form[1]), int(form[2]) - int(form[1]) + 1))
        before = int(form[2])
    return found


async def _give_list(answer: web.StreamResponse, store: ImageStore, sha256: str) -> None:
    found = await asyncio.to_thread(chunks.known, store, sha256)
    if found is not None:
        await answer.write(found)
        return
    made: list[bytes] = []
    coming = chunks.entries_of(await asyncio.to_thread(store.open, sha256))
    while some := await asyncio.to_thread(_some, coming):
        made.append(some)
        await answer.write(some)
    await asyncio.to_thread(chunks.keep, store, sha256, b"".join(made))


def _some(coming: Iterator[bytes]) -> bytes:
    return b"".join(islice(coming, _AT_ONCE))


async def _give_runs(answer: web.StreamResponse, file: Readable, runs: list[tuple[int, int]]) -> None:
    for at, length in runs:
        file.seek(at)
        while length:
            data = await asyncio.to_thread(file.read, min(length, _PIECE))
            await answer.write(data)
            length -= len(data)
