"""The next version of an image comes from another zone's secondary storage VM: only the chunks that no store here has.

    GET /chunks/<link>                      the list of the image's chunks (chunks.py)
    GET /chunks/<link>  X-Ranges: a-b,c-d   those bytes, one after the other

What is here already is read from the newest images of the same format, chunk by chunk, and compared before it is believed.
The image grows in `incoming` as any download does, from its first byte to its last, so a killed agent goes on where the record
says; when it is complete, or the other end is of an older release or breaks off, `transfer.py` goes on from there. Its SHA-256
is compared in the end.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sysvm.agent.roles.secstorage import chunks
from sysvm.agent.roles.secstorage.fetch import SourceFailed, Way, opened
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.keeping import Keeping, as_refused, goes_on
from sysvm.agent.roles.secstorage.pace import Patience
from sysvm.agent.roles.secstorage.source import Source
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.agent.roles.secstorage.streaming import pieces
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger

LOOKED_AT = 8  # images of a store, the newest first
RANGES = "X-Ranges"
_RUNS = 200  # of two numbers each; a header has room for 8,190 characters
_WINDOW = 64 * 1024 * 1024
_BATCH = 4 * 1024 * 1024
log = get_logger()


class Held(NamedTuple):
    """A chunk that is here."""

    place: Path
    at: int


class Piece(NamedTuple):
    """A part of the image, in order."""

    at: int
    length: int
    name: bytes  # of the chunk that it is, whole
    held: Held | None  # None: it has to come


def held_chunks(stores: list[ImageStore], form: str) -> dict[bytes, Held]:
    """What the newest images of that format have."""
    found: dict[bytes, Held] = {}
    for store in stores:
        for sha256 in _newest(store, form):
            at = 0
            for name, length in chunks.read(chunks.list_of(store, sha256)):
                found.setdefault(name, Held(store.object(sha256), at))
                at += length
    return found


def _newest(store: ImageStore, form: str) -> list[str]:
    known = [store.image(place.stem) for place in (store.path / "images").glob("*.json")]
    same = {image.sha256 for image in known if image is not None and image.format == form}
    objects = {sha256: store.object(sha256).stat().st_mtime for sha256 in same}
    return sorted(objects, key=lambda sha256: -objects[sha256])[:LOOKED_AT]


def plan(entries: list[tuple[bytes, int]], held: dict[bytes, Held], begin: int) -> list[Piece]:
    """The way from `begin`, where a chunk begins, to the end."""
    found, at = [], 0
    for name, length in entries:
        if at >= begin:
            found.append(Piece(at, length, name, held.get(name)))
        at += length
    return found


def boundary(entries: list[tuple[bytes, int]], at: int) -> int:
    """Where the chunk begins in which `at` is."""
    begin = 0
    for _, length in entries:
        if begin + length > at:
            break
        begin += length
    return begin


def windows(todo: list[Piece]) -> Iterator[list[Piece]]:
    """Pieces that are asked for at once: so many bytes, and so many runs as fit into a header."""
    window: list[Piece] = []
    size = runs = 0
    for piece in todo:
        if window and (size + piece.length > _WINDOW or runs >= _RUNS):
            yield window
            window, size, runs = [], 0, 0
        runs += piece.held is None and not (window and window[-1].held is None)
        window.append(piece)
        size += piece.length
    if window:
        yield window


def ranges(window: list[Piece]) -> str:
    """What has to come, as `first-last` of runs."""
    runs: list[list[int]] = []
    for piece in window:
        if piece.held is not None:
            continue
        if runs and runs[-1][1] == piece.at:
            runs[-1][1] += piece.length
        else:
            runs.append([piece.at, piece.at + piece.length])
    return ",".join(f"{first}-{end - 1}" for first, end in runs)


@dataclass(slots=True)
class Patching:
    """One image."""

    source: Source
    keeping: Keeping
    stores: list[ImageStore]
    way: Way
    patience: Patience
    saved: int = 0  # bytes that did not have to come

    async def run(self) -> None:
        """The image is in `incoming`, as far as it could be brought in this way."""
        incoming = self.keeping.incoming()
        try:
            await asyncio.to_thread(incoming.open, lambda _: None)
            if not incoming.is_complete and not await asyncio.to_thread(self.keeping.is_kept, incoming):
                await self._bring(incoming)
                await asyncio.to_thread(incoming.sync)
        except SourceFailed as error:
            log.info("patching_left", image=self.keeping.image, done=incoming.size, why=str(error))
            await asyncio.to_thread(incoming.sync)
        except (Refused, OSError) as error:
            incoming.close()
            if not (goes_on(error) and incoming.has_any):
                await asyncio.to_thread(self.keeping.store.drop_incoming, self.keeping.image)
            raise as_refused(error) from error
        finally:
            incoming.close()

    async def _bring(self, incoming: Incoming) -> None:
        held = await asyncio.to_thread(held_chunks, self.stores, self.keeping.format)
        if not held:
            return
        entries = chunks.read(await self._list())
        total = sum(length for _, length in entries)
        if not any(name in held for name, _ in entries):
            return
        await self.keeping.check_size(total, incoming)
        if not incoming.size or incoming.record.total != total:
            await asyncio.to_thread(incoming.restart, "", total)
        skip = incoming.size - boundary(entries, incoming.size)
        for window in windows(plan(entries, held, incoming.size - skip)):
            await self._window(incoming, window, skip)
            skip = 0
            await edge("patch_window")
        log.info("image_patched", image=self.keeping.image, size=total, saved=self.saved)

    async def _list(self) -> bytes:
        found = b""
        async with opened(self._at_chunks(), {}, self.way) as response:
            if response.status != 200:
                raise SourceFailed(f"the other secondary storage VM answers {response.status}")
            async for piece in pieces(response, self.patience):
                found += piece
        if len(found) % chunks.ENTRY.size:
            raise SourceFailed("the list of chunks came to an early end")
        return found

    def _at_chunks(self) -> Source:
        """/userdata/<link>/<file> is the image itself."""
        link = self.source.target.split("/")[2]
        return replace(self.source, target=f"/chunks/{link}")

    async def _window(self, incoming: Incoming, window: list[Piece], skip: int) -> None:
        """`skip` bytes of its first piece are here already."""
        wanted = ranges(window)
        if not wanted:
            await self._write(incoming, window, skip, None)
            return
        async with opened(self._at_chunks(), {RANGES: wanted}, self.way) as response:
            if response.status != 200:
                raise SourceFailed(f"the other secondary storage VM answers {response.status}")
            await self._write(incoming, window, skip, pieces(response, self.patience))

    async def _write(self, incoming: Incoming, window: list[Piece], skip: int, coming: AsyncIterator[bytes] | None) -> None:
        batch: list[bytes] = []
        size, rest = 0, b""
        for piece in window:
            if piece.held is not None:
                data = await asyncio.to_thread(_local, piece, piece.held)
                self.saved += piece.length
            else:
                assert coming is not None
                data, rest = await _take(coming, rest, piece.length)
            batch.append(data[skip:])
            size, skip = size + len(batch[-1]), 0
            if size >= _BATCH:
                await asyncio.to_thread(incoming.append, batch)
                batch, size = [], 0
        await asyncio.to_thread(incoming.append, batch)


def _local(piece: Piece, held: Held) -> bytes:
    try:
        with held.place.open("rb") as file:
            file.seek(held.at)
            data = file.read(piece.length)
    except OSError as error:
        raise SourceFailed(f"an image here cannot be read: {error.strerror}") from error
    if chunks.name_of(data) != piece.name:
        raise SourceFailed(f"{held.place.name} is damaged at byte {held.at}")
    return data


async def _take(coming: AsyncIterator[bytes], rest: bytes, length: int) -> tuple[bytes, bytes]:
    """So many bytes, and what has come beyond them."""
    parts, size = [rest], len(rest)
    while size < length:
        piece = await anext(coming, b"")
        if not piece:
            raise SourceFailed("the other secondary storage VM ended too early")
        parts.append(piece)
        size += len(piece)
    whole = b"".join(parts)
    return whole[:length], whole[length:]
