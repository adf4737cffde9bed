"""A whole download: as many attempts as it takes, one file, one result. Nothing of a wrong image stays.

    attempt   ask (with a range, when some bytes are here), check the answer, stream into the file
    failure   of the source: wait and go on where it stopped; a try that brought bytes starts the counting anew
    end       hash and promise compared, format looked into, bytes made an object, reference written

Hashing and writing happen in a thread, one batch at a time, while the next batch comes in. There is no limit of total time.
Races thought of: killed at any instruction (the record says what is on the disk; an object without its reference is found
by the record and used); the same image asked for twice at once (`role.py` makes the second wait).
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sysvm.agent.roles.secstorage import answer, formats, unpack
from sysvm.agent.roles.secstorage.checksum import Checksum, parse_checksum
from sysvm.agent.roles.secstorage.fetch import SourceFailed, Way, opened
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.pace import Pace, Patience
from sysvm.agent.roles.secstorage.source import Source, parse_source
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.clock import Clock
from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Download, Downloaded

BATCH = 2 * 1024 * 1024
HEADROOM = 64 * 1024 * 1024  # bytes of a store that downloads leave free

Progress = Callable[[float], Awaitable[None]]
log = get_logger()


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, read and found possible."""

    image: str
    source: Source
    format: str
    checksum: Checksum | None
    max_bytes: int

    @property
    def fingerprint(self) -> str:
        """The same for the same order."""
        promised = self.checksum.hex if self.checksum else ""
        return digest([self.image, self.source.url, self.format, promised])


def read_order(body: Download, limit: int) -> Order:
    """The order in a task; raises Refused with the field that is wrong."""
    return Order(
        image=body.image,
        source=parse_source(body.url),
        format=formats.known_format(body.format),
        checksum=parse_checksum(body.checksum),
        max_bytes=min(body.max_bytes or limit, limit),
    )


@dataclass(slots=True)
class Transfer:
    """One download."""

    order: Order
    store: ImageStore
    way: Way
    clock: Clock
    progress: Progress
    patience: Patience = field(default_factory=Patience)
    _said: float = -1.0

    async def run(self) -> Downloaded:
        """The image is in the store afterwards. Raises Refused when it never will be."""
        known = await asyncio.to_thread(self.store.image, self.order.image)
        if known is not None and known.source == self.order.fingerprint:
            return _result(known)
        incoming = Incoming(self.store.incoming(self.order.image), self.order.fingerprint, self.order.checksum)
        try:
            await asyncio.to_thread(incoming.open, lambda _: None)
            if not self._is_kept(incoming) and not incoming.is_complete:
                await self._bring(incoming)
            image = await self._keep(incoming)
        except (Refused, OSError) as error:
            incoming.close()
            await asyncio.to_thread(self.store.drop_incoming, self.order.image)
            raise _as_refused(error) from error
        finally:
            incoming.close()
        return _result(image)

    # ------------------------------------------------------------ bringing
    async def _bring(self, incoming: Incoming) -> None:
        failed = 0
        while True:
            before = incoming.size
            try:
                await self._attempt(incoming)
            except SourceFailed as error:
                failed = failed + 1 if incoming.size <= before else 1
                await asyncio.to_thread(incoming.sync)
                if isinstance(error, answer.Restart):
                    await asyncio.to_thread(incoming.restart, "", 0)
                if failed >= self.patience.tries:
                    raise Refused(f"the download failed {failed} times in a row; at last: {error}") from error
                log.info("source_failed", image=self.order.image, done=incoming.size, why=str(error))
                await self.clock.sleep(self.patience.pause(failed))
            else:
                return

    async def _attempt(self, incoming: Incoming) -> None:
        headers = answer.ask_for(incoming.record, promised=self.order.checksum is not None)
        async with opened(self.order.source, headers, self.way) as response:
            begin = answer.read_answer(response.status, response.headers, incoming.record)
            if isinstance(begin, answer.Complete):
                return
            self._check_size(begin.total, incoming)
            if begin.at != incoming.size or not begin.at:
                await asyncio.to_thread(incoming.restart, begin.validator, begin.total)
            await self._stream(response, incoming, begin.total)
        if begin.total and incoming.size != begin.total:
            raise SourceFailed(f"the source ended after {incoming.size} of {begin.total} bytes")

    async def _stream(self, response: aiohttp.ClientResponse, incoming: Incoming, total: int) -> None:
        writing: asyncio.Future[None] | None = None
        try:
            async for batch, size in self._batches(response):
                if writing is not None:
                    await writing
                self._check_size(incoming.size + size, incoming)
                writing = asyncio.ensure_future(asyncio.to_thread(incoming.append, batch))
                await self._tell((incoming.size + size) / total if total else 0.0)
                await edge("download_batch")
        finally:
            if writing is not None:
                await asyncio.shield(writing)
        await asyncio.to_thread(incoming.sync)

    async def _batches(self, response: aiohttp.ClientResponse) -> AsyncIterator[tuple[list[bytes], int]]:
        batch: list[bytes] = []
        size = 0
        try:
            async for piece in self._pieces(response):
                batch.append(piece)
                size += len(piece)
                if size >= BATCH:
                    yield batch, size
                    batch, size = [], 0
        except SourceFailed:
            if batch:
                yield batch, size
            raise
        if batch:
            yield batch, size

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        pace = Pace(self.patience, now())
        while True:
            try:
                async with asyncio.timeout(pace.left(now()) + 0.001):
                    piece = await response.content.readany()
            except TimeoutError:
                piece = b""
                if not pace.took(0, now()):
                    raise SourceFailed(self.patience.too_slow) from None
                continue
            except (aiohttp.ClientError, OSError) as error:
                raise SourceFailed(f"the connection broke: {error or type(error).__name__}") from error
            if not piece:
                return
            yield piece
            if not pace.took(len(piece), now()):
                raise SourceFailed(self.patience.too_slow)

    def _check_size(self, size: int, incoming: Incoming) -> None:
        if size > self.order.max_bytes:
            raise Refused(f"the image is larger than the {self.order.max_bytes} bytes that an image may have")
        if size - incoming.size + HEADROOM > self.store.free():
            raise Refused(f"the image store is full: {size - incoming.size} bytes more do not fit")

    async def _tell(self, share: float) -> None:
        if share - self._said >= 0.01 or share >= 1.0:
            self._said = share
            await self.progress(min(share, 1.0))

    # ------------------------------------------------------------ keeping
    async def _keep(self, incoming: Incoming) -> Image:
        if self._is_kept(incoming):
            return await asyncio.to_thread(self._refer, incoming.record.kept)
        if not incoming.fulfils():
            promised = self.order.checksum.hex if self.order.checksum else ""
            raise Refused(f"the checksum is wrong: {promised} was promised, {incoming.found()} came")
        packing = await asyncio.to_thread(unpack.packing, incoming.data, self.order.format)
        if packing is None:
            return await asyncio.to_thread(self._accept, incoming, incoming.data, incoming.sha256())
        target = incoming.data.with_name("unpacked")
        sha256 = await unpack.unpacked(incoming.data, packing, target, self._room())
        return await asyncio.to_thread(self._accept, incoming, target, sha256)

    def _is_kept(self, incoming: Incoming) -> bool:
        return bool(incoming.record.kept) and self.store.object(incoming.record.kept).exists()

    def _room(self) -> int:
        return min(self.order.max_bytes, max(0, self.store.free() - HEADROOM))

    def _accept(self, incoming: Incoming, data: Path, sha256: str) -> Image:
        self._look(data)
        incoming.note_kept(sha256)
        self.store.keep(data, sha256)
        return self._refer(sha256)

    def _refer(self, sha256: str) -> Image:
        place = self.store.object(sha256)
        image = Image(
            image=self.order.image,
            sha256=sha256,
            size=place.stat().st_size,
            virtual_size=self._look(place),
            format=self.order.format,
            source=self.order.fingerprint,
        )
        self.store.refer(image)
        self.store.drop_incoming(self.order.image)
        return image

    def _look(self, place: Path) -> int:
        """The virtual size of the image in a file that is complete."""
        with place.open("rb") as file:

            def at(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length)

            virtual = formats.virtual_size(self.order.format, at, place.stat().st_size)
        if virtual > self.order.max_bytes:
            raise Refused(f"the image is a disk of {virtual} bytes; {self.order.max_bytes} are allowed")
        return virtual


def _as_refused(error: Refused | OSError) -> Refused:
    if isinstance(error, Refused):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused("the image store is full")
    return Refused(f"the image store cannot be written: {error.strerror or error}")


def _result(image: Image) -> Downloaded:
    return Downloaded(sha256=image.sha256, size=image.size, virtual_size=image.virtual_size, format=image.format)
