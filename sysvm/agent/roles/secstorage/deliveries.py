"""What hosts bring: snapshots and captured disks, with a ticket that the server made for exactly these bytes.

    GET /deliveries/<store>/<image>     {"done": bytes that are on the disk for certain, "kept": it is in the store}
    PUT /deliveries/<store>/<image>     Content-Range: bytes <done>-<size - 1>/<size>; the same answer

They grow in `incoming` with a durable record, as downloads do, and become an image when size and SHA-256 are those of the
ticket and the file is a QCOW2 image that stands alone. So an image is there whole or not at all, whoever dies when; what a
dead line has brought is kept for the next one. Whatever is wrong with a request, a caller without a good ticket learns only that.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from sysvm.agent.roles.secstorage import qcow2
from sysvm.agent.roles.secstorage.checksum import Checksum
from sysvm.agent.roles.secstorage.copying import HEADROOM
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.grants import BadGrant, KeepTicket, check_keep_ticket

PLACE = "/deliveries/{store}/{image}"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_SILENCE_S = 60.0
_BATCH = 4 * 1024 * 1024
T = TypeVar("T")
log = get_logger()


@dataclass(frozen=True, slots=True)
class Doors:
    """What a delivery needs of the machine's role."""

    writable: Callable[[str], Awaitable[ImageStore]]  # the store, or Refused
    alone: Callable[[str], AbstractAsyncContextManager[None]]  # nobody else is at work on the image meanwhile


class Deliveries:
    """The handlers; `key` changes with the document."""

    def __init__(self, doors: Doors, now: Callable[[], float]) -> None:
        self.key = ""
        self._doors = doors
        self._now = now

    def add_to(self, app: web.Application) -> None:
        """From now on the application takes deliveries, too."""
        app.router.add_get(PLACE, self._get, allow_head=False)
        app.router.add_put(PLACE, self._put)

    async def _get(self, request: web.Request) -> web.Response:
        ticket = self._ticket(request)
        store = await self._store(ticket)
        return await _asked(_how_far, store, ticket)

    async def _put(self, request: web.Request) -> web.Response:
        ticket = self._ticket(request)
        store = await self._store(ticket)
        async with self._doors.alone(ticket.image):
            if not await _asked(_is_kept, store, ticket):
                await _Delivery(ticket, store, request).run()
            return await _asked(_how_far, store, ticket)

    def _ticket(self, request: web.Request) -> KeepTicket:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        named = (request.match_info["store"], request.match_info["image"])
        try:
            if kind.lower() != "bearer":
                raise BadGrant("none was shown")
            ticket = check_keep_ticket(self.key, text.strip(), self._now())
            if (ticket.store, ticket.image) != named:
                raise BadGrant("it is for another image")
        except BadGrant as error:
            log.warning("delivery_refused", store=named[0], image=named[1], why=str(error))
            raise web.HTTPForbidden(text=f"the ticket is not good: {error}\n") from error
        return ticket

    async def _store(self, ticket: KeepTicket) -> ImageStore:
        try:
            store = await self._doors.writable(ticket.store)
            store.incoming(ticket.image)
            await asyncio.to_thread(store.prepare)
        except (Refused, OSError) as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return store


async def _asked(ask: Callable[[ImageStore, KeepTicket], T], store: ImageStore, ticket: KeepTicket) -> T:
    """What the store says. One that does not answer may do so later."""
    try:
        return await asyncio.to_thread(ask, store, ticket)
    except OSError as error:
        raise web.HTTPServiceUnavailable(text=f"the image store cannot be used: {error.strerror}\n") from error


def _is_kept(store: ImageStore, ticket: KeepTicket) -> bool:
    known = store.image(ticket.image)
    return known is not None and known.sha256 == ticket.sha256


def _how_far(store: ImageStore, ticket: KeepTicket) -> web.Response:
    kept = _is_kept(store, ticket)
    done = int(ticket.size) if kept else _incoming(store, ticket).on_disk()
    return web.json_response({"done": done, "kept": kept})


def _incoming(store: ImageStore, ticket: KeepTicket) -> Incoming:
    name = digest(["delivery", ticket.image, ticket.sha256, ticket.size])
    return Incoming(store.incoming(ticket.image), name, Checksum("sha256", ticket.sha256))


class _Delivery:
    """One request that brings bytes."""

    def __init__(self, ticket: KeepTicket, store: ImageStore, request: web.Request) -> None:
        self._ticket = ticket
        self._size = int(ticket.size)
        self._store = store
        self._request = request
        self._incoming = _incoming(store, ticket)

    async def run(self) -> None:
        """What has come is on the disk afterwards, whatever became of the line; the image is kept when all has come."""
        try:
            await asyncio.to_thread(self._open)
            await self._pour()
            if self._incoming.size == self._size:
                await edge("delivery.whole")
                await asyncio.to_thread(self._keep)
        except (TimeoutError, ConnectionError) as error:
            raise web.HTTPRequestTimeout(text="nothing comes any more\n") from error
        except OSError as error:
            raise web.HTTPInsufficientStorage(text=f"the image store cannot be written: {error.strerror}\n") from error
        finally:
            await asyncio.to_thread(self._incoming.close)

    def _open(self) -> None:
        self._incoming.open(lambda _: None)
        if not self._incoming.size:
            self._incoming.restart("", self._size)
        first = self._first()
        if first != self._incoming.size:
            raise web.HTTPConflict(text=f"{self._incoming.size} bytes are here\n")
        if self._size - first + HEADROOM > self._store.free():
            raise web.HTTPInsufficientStorage(text="the image store is full\n")

    def _first(self) -> int:
        form = _RANGE.fullmatch(self._request.headers.get("Content-Range", ""))
        if form is None or int(form[3]) != self._size or int(form[2]) != self._size - 1:
            raise web.HTTPBadRequest(text=f"Content-Range is not that of a file of {self._size} bytes\n")
        return int(form[1])

    async def _pour(self) -> None:
        pieces: list[bytes] = []
        held = 0
        try:
            while piece := await self._piece():
                pieces.append(piece)
                held += len(piece)
                if self._incoming.size + held > self._size:
                    pieces.clear()
                    raise web.HTTPBadRequest(text=f"more than {self._size} bytes came\n")
                if held >= _BATCH:
                    await asyncio.to_thread(self._incoming.append, pieces)
                    pieces, held = [], 0
                    await edge("delivery.batch")
        finally:
            await asyncio.to_thread(self._save, pieces)

    async def _piece(self) -> bytes:
        async with asyncio.timeout(_SILENCE_S):
            return await self._request.content.readany()

    def _save(self, pieces: list[bytes]) -> None:
        self._incoming.append(pieces)
        self._incoming.sync()

    def _keep(self) -> None:
        ticket, incoming = self._ticket, self._incoming
        try:
            if not incoming.fulfils():
                raise Refused("the bytes are not those that were promised")
            virtual = _virtual_size(incoming.data, self._size)
        except Refused as error:
            self._store.drop_incoming(ticket.image)
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from error
        incoming.note_kept(ticket.sha256)
        self._store.keep(incoming.data, ticket.sha256)
        self._store.refer(
            Image(image=ticket.image, sha256=ticket.sha256, size=self._size, virtual_size=virtual, format="QCOW2",
                  source=incoming.record.order)
        )  # fmt: skip
        self._store.drop_incoming(ticket.image)
        log.info("delivery_kept", image=ticket.image, sha256=ticket.sha256, size=self._size)


def _virtual_size(data: Path, size: int) -> int:
    with data.open("rb") as file:
        return qcow2.virtual_size(file.read(qcow2.HEAD), size)
