"""A whole download: as many attempts as it takes, one file, one result. Nothing of a wrong image stays; of one whose source or
store has failed for now everything does that is on the disk for certain.

    metalink  read it first: where from, and what is promised; large files come from several mirrors at once (`mirrors.py`)
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

from sysvm.agent.roles.secstorage import answer, formats
from sysvm.agent.roles.secstorage.checksum import Checksum, parse_checksum
from sysvm.agent.roles.secstorage.direct import take_over
from sysvm.agent.roles.secstorage.fetch import SourceFailed, Way
from sysvm.agent.roles.secstorage.incoming import Incoming, Record
from sysvm.agent.roles.secstorage.keeping import BrokenOff, Keeping, as_refused, goes_on, result
from sysvm.agent.roles.secstorage.metalink import MAX_BYTES, Metalink, parse_metalink
from sysvm.agent.roles.secstorage.mirrors import LEAST, Mirrors
from sysvm.agent.roles.secstorage.pace import Patience
from sysvm.agent.roles.secstorage.reaching import Answer, reached
from sysvm.agent.roles.secstorage.source import Source, parse_source
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.agent.roles.secstorage.streaming import pieces
from sysvm.basics.clock import Clock
from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Download, Downloaded

BATCH = 2 * 1024 * 1024

Progress = Callable[[float], Awaitable[None]]
Batch = tuple[list[bytes | memoryview], int]
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
    source, checksum = parse_source(body.url), parse_checksum(body.checksum)
    if source.scheme == "sftp" and checksum is None:
        raise Refused("sftp needs a checksum: nobody vouches for the key of the server")
    return Order(
        image=body.image,
        source=source,
        format=formats.known_format(body.format),
        checksum=checksum,
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
    _links: Metalink | None = None
    _turn: int = 0  # which mirror is asked

    @property
    def keeping(self) -> Keeping:
        """What becomes of the bytes."""
        order = self.order
        return Keeping(self.store, order.image, order.format, self._promised, order.max_bytes, order.fingerprint)

    @property
    def _promised(self) -> Checksum | None:
        """By who ordered, else by the metalink."""
        return self.order.checksum or (self._links.checksum if self._links is not None else None)

    @property
    def _source(self) -> Source:
        links = self._links
        return links.mirrors[self._turn % len(links.mirrors)] if links is not None else self.order.source

    def _next_mirror(self) -> bool:
        """Whether there is one that has not been asked."""
        self._turn += 1
        return self._links is not None and self._turn < len(self._links.mirrors)

    async def run(self) -> Downloaded:
        """The image is in the store afterwards. Raises Refused when it never will be."""
        if known := await asyncio.to_thread(self.keeping.known):
            return known
        if self.order.source.is_metalink:
            self._links = await self._read_metalink()
        incoming = self.keeping.incoming()
        try:
            await asyncio.to_thread(incoming.open, lambda _: None)
        except OSError as error:
            raise as_refused(error) from error
        try:
            if not incoming.is_complete and not await asyncio.to_thread(self.keeping.is_kept, incoming):
                await self._bring(incoming)
            image = await self.keeping.keep(incoming)
        except (Refused, OSError) as error:
            incoming.close()
            if not (goes_on(error) and incoming.has_any):
                await asyncio.to_thread(self.store.drop_incoming, self.order.image)
            raise as_refused(error) from error
        finally:
            incoming.close()
        return result(image)

    # ------------------------------------------------------------ mirrors
    async def _read_metalink(self) -> Metalink:
        failed = 0
        while True:
            text = b""
            try:
                async with reached(self.order.source, {}, self.way, self.store.path) as response:
                    answer.read_answer(response.status, response.headers, Record(order=""))
                    async for piece in pieces(response, self.patience):
                        text += piece
                        if len(text) > MAX_BYTES:
                            break
                return parse_metalink(text)
            except SourceFailed as error:
                failed += 1
                if failed >= self.patience.tries:
                    raise Refused(f"the download failed {failed} times in a row; at last: {error}") from error
                await self.clock.sleep(self.patience.pause(failed))

    async def _from_mirrors(self, incoming: Incoming) -> bool:
        """Whether several mirrors have brought it; without a checksum, or for a small file, one place does."""
        links = self._links
        if links is None or len(links.mirrors) < 2 or self._promised is None:
            return False
        mirrors = Mirrors(links.mirrors, self.way, self.store.path, self.clock, self.patience, self._tell)
        total = await mirrors.size()
        if total < LEAST:
            return False
        await self.keeping.check_size(total, incoming)
        if incoming.record.total != total:
            await asyncio.to_thread(incoming.restart, "", total)
        await mirrors.bring(incoming)
        return True

    # ------------------------------------------------------------ bringing
    async def _bring(self, incoming: Incoming) -> None:
        if await self._from_mirrors(incoming):
            return
        failed = 0
        while True:
            before = incoming.size
            try:
                await self._attempt(incoming)
            except Refused as error:
                if not self._next_mirror():
                    raise
                log.info("mirror_refused", image=self.order.image, why=str(error))
            except SourceFailed as error:
                self._next_mirror()
                failed = failed + 1 if incoming.size <= before else 1
                await asyncio.to_thread(incoming.sync)
                if isinstance(error, answer.Restart):
                    await asyncio.to_thread(incoming.restart, "", 0)
                if failed >= self.patience.tries:
                    raise BrokenOff(f"the download failed {failed} times in a row; at last: {error}") from error
                log.info("source_failed", image=self.order.image, done=incoming.size, why=str(error))
                await self.clock.sleep(self.patience.pause(failed))
            else:
                return

    async def _attempt(self, incoming: Incoming) -> None:
        headers = answer.ask_for(incoming.record, promised=self._promised is not None)
        async with reached(self._source, headers, self.way, self.store.path) as response:
            begin = answer.read_answer(response.status, response.headers, incoming.record)
            if isinstance(begin, answer.Complete):
                return
            await self.keeping.check_size(begin.total, incoming)
            if begin.at != incoming.size or not begin.at:
                # Mirrors have validators of their own; the checksum tells whether they have the same file.
                validator = "" if self._links is not None and self._promised else begin.validator
                await asyncio.to_thread(incoming.restart, validator, begin.total)
            await self._stream(response, incoming, begin.total)
        if begin.total and incoming.size != begin.total:
            raise SourceFailed(f"the source ended after {incoming.size} of {begin.total} bytes")

    async def _stream(self, response: Answer, incoming: Incoming, total: int) -> None:
        direct = take_over(response)
        if direct is None:
            await self._write(self._batches(response), incoming, total)
            return
        try:
            await self._write(_alone(direct.batches(self.patience)), incoming, total)
        finally:
            direct.close()

    async def _write(self, batches: AsyncIterator[Batch], incoming: Incoming, total: int) -> None:
        writing: asyncio.Future[None] | None = None
        try:
            async for batch, size in batches:
                if writing is not None:
                    await writing
                await self.keeping.check_size(incoming.size + size, incoming)
                writing = asyncio.ensure_future(asyncio.to_thread(incoming.append, batch))
                await self._tell((incoming.size + size) / total if total else 0.0)
                await edge("download_batch")
        finally:
            if writing is not None:
                await asyncio.shield(writing)
        await asyncio.to_thread(incoming.sync)

    async def _batches(self, response: Answer) -> AsyncIterator[Batch]:
        batch: list[bytes | memoryview] = []
        size = 0
        try:
            async for piece in pieces(response, self.patience):
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

    async def _tell(self, share: float) -> None:
        if share - self._said >= 0.01 or share >= 1.0:
            self._said = share
            await self.progress(min(share, 1.0))


async def _alone(pieces: AsyncIterator[memoryview]) -> AsyncIterator[Batch]:
    """Each piece is a batch."""
    async for piece in pieces:
        yield [piece], len(piece)
