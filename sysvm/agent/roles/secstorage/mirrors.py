"""Several mirrors at once: each brings whole pieces of the file, whichever is next; the fast ones bring more.

A piece that is here is on the disk and in the record, so another life asks for the others only. A mirror that fails is asked
again with growing pauses, and left alone after some failures in a row; one that has another size or no ranges at once. What the
pieces give together is judged by the promised checksum, without which nothing is taken from more than one place.
Races thought of: a mirror that fails gives its piece back before it pauses; the last pieces are waited for by whoever is free.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from sysvm.agent.roles.secstorage.fetch import SourceFailed, Way
from sysvm.agent.roles.secstorage.incoming import PIECE, Incoming
from sysvm.agent.roles.secstorage.pace import Patience
from sysvm.agent.roles.secstorage.reaching import Answer, reached
from sysvm.agent.roles.secstorage.source import Source
from sysvm.agent.roles.secstorage.streaming import pieces
from sysvm.basics.clock import Clock
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger

AT_ONCE = 4  # mirrors; one connection to each
LEAST = 2 * PIECE  # smaller files are not worth it
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
log = get_logger()


@dataclass(slots=True)
class Mirrors:
    """One file from many places."""

    sources: tuple[Source, ...]
    way: Way
    store: Path
    clock: Clock
    patience: Patience
    progress: Callable[[float], Awaitable[None]]
    _left: deque[int] = field(default_factory=deque)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: int = 0  # pieces that have not come
    _broken: OSError | None = None
    _why: str = "no mirror answers"

    async def size(self) -> int:
        """Bytes of the file, by the first mirror that gives ranges; 0 when none does."""
        for source in self.sources:
            try:
                async with reached(source, {"Range": "bytes=0-0"}, self.way, self.store) as answer:
                    form = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                    if answer.status == 206 and form is not None:
                        return int(form[3])
            except (SourceFailed, Refused) as error:
                self._why = str(error)
        return 0

    async def bring(self, incoming: Incoming) -> None:
        """All pieces are here afterwards. Raises Refused when no mirror gives some of them."""
        self._left = deque(incoming.missing())
        self._open = len(self._left)
        async with asyncio.TaskGroup() as group:
            for source in self.sources[:AT_ONCE]:
                group.create_task(self._work(source, incoming))
        if self._broken is not None:
            raise self._broken
        if self._open:
            raise Refused(f"the download failed at every mirror; at last: {self._why}")

    async def _work(self, source: Source, incoming: Incoming) -> None:
        failed = 0
        while self._open and self._broken is None:
            if not self._left:
                await self.clock.sleep(self.patience.first_pause_s)  # another mirror may give a piece back
                continue
            number = self._left.popleft()
            try:
                data = await self._piece(source, number, incoming.record.total)
                async with self._writing:
                    await asyncio.to_thread(incoming.put, number, data)
            except (SourceFailed, Refused) as error:
                self._left.appendleft(number)
                failed, self._why = failed + 1, str(error)
                log.info("mirror_failed", mirror=source.host, piece=number, why=self._why)
                if failed >= self.patience.tries or isinstance(error, Refused):
                    return
                await self.clock.sleep(self.patience.pause(failed))
            except OSError as error:
                self._broken = error  # the store cannot be written: that is no mirror's fault
            else:
                failed = 0
                self._open -= 1
                await self.progress(1 - self._open * PIECE / incoming.record.total)
                await edge("mirror_piece")

    async def _piece(self, source: Source, number: int, total: int) -> bytes:
        first, last = number * PIECE, min((number + 1) * PIECE, total) - 1
        async with reached(source, {"Range": f"bytes={first}-{last}"}, self.way, self.store) as answer:
            self._judge(source, answer, first, total)
            data = bytearray()
            async for part in pieces(answer, self.patience):
                data += part
                if len(data) > last - first:
                    break
        if len(data) <= last - first:
            raise SourceFailed(f"{source.host} ended after {len(data)} of {last - first + 1} bytes")
        return bytes(data[: last - first + 1])

    def _judge(self, source: Source, answer: Answer, first: int, total: int) -> None:
        if answer.status >= 500 or answer.status == 429:
            raise SourceFailed(f"{source.host} answers {answer.status}")
        form = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        whole = answer.status == 200 and not first and answer.headers.get("Content-Length") == str(total)
        if whole and source.scheme == "ftp":  # it has ranges, and begins at the first byte without saying so
            return
        if answer.status != 206 or form is None or int(form[1]) != first:
            raise Refused(f"{source.host} answers {answer.status}, not with the range that was asked for")
        if int(form[3]) != total:
            raise Refused(f"{source.host} has another file: {form[3]} bytes, not {total}")
