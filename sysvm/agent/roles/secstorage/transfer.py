"""A whole download: as many attempts as it takes, one file, one result. Nothing of a wrong image stays.

    attempt   ask (with a range, when some bytes are here), check the answer, stream into the file
    failure   of the source: wait and go on where it stopped; a try that brought bytes starts the counting anew
    end       what has come is judged and kept (`keeping.py`)

Hashing and writing happen in a thread, one batch at a time, while the next batch comes in. There is no limit of total time.
Races thought of: killed at any instruction (the record says what is on the disk; an object without its reference is found
by the record and used); the same image asked for twice at once (`role.py` makes the second wait).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from sysvm.agent.roles.secstorage import answer, formats
from sysvm.agent.roles.secstorage.checksum import Checksum, parse_checksum
from sysvm.agent.roles.secstorage.fetch import SourceFailed, Way, opened
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.keeping import Keeping, as_refused, result
from sysvm.agent.roles.secstorage.pace import Pace, Patience
from sysvm.agent.roles.secstorage.source import Source, parse_source
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.basics.clock import Clock
from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Download, Downloaded

BATCH = 2 * 1024 * 1024

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

    @property
    def keeping(self) -> Keeping:
        """What becomes of the bytes."""
        order = self.order
        return Keeping(self.store, order.image, order.format, order.checksum, order.max_bytes, order.fingerprint)

    async def run(self) -> Downloaded:
        """The image is in the store afterwards. Raises Refused when it never will be."""
        if known := await asyncio.to_thread(self.keeping.known):
            return known
        incoming = self.keeping.incoming()
        try:
            await asyncio.to_thread(incoming.open, lambda _: None)
        except OSError as error:
            raise as_refused(error) from error
        try:
            if not self.keeping.is_kept(incoming) and not incoming.is_complete:
                await self._bring(incoming)
            image = await self.keeping.keep(incoming)
        except (Refused, OSError) as error:
            incoming.close()
            await asyncio.to_thread(self.store.drop_incoming, self.order.image)
            raise as_refused(error) from error
        finally:
            incoming.close()
        return result(image)

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
            self.keeping.check_size(begin.total, incoming)
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
                self.keeping.check_size(incoming.size + size, incoming)
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

    async def _tell(self, share: float) -> None:
        if share - self._said >= 0.01 or share >= 1.0:
            self._said = share
            await self.progress(min(share, 1.0))
