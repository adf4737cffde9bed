"""What users bring: POST /upload/<image> with a multipart form whose file is the image, as CloudStack's clients send it.

An upload is a task of this machine (TakeUpload) that waits for its bytes: the task is the permission, and its end, good or bad,
is how the server hears. The request shows headers that the server signed (X-signature over path, X-metadata and X-expires).
Bytes are judged as a download's are (`keeping.py`). A line that breaks leaves nothing behind, and the client may begin again
until the time is over; an image that is none ends the task, and so does the time. The bytes come once: whoever comes second,
or later, is turned away.

Races thought of: a client is faster than the task (it is waited for); an agent that starts again (so does its task); time that
is over while bytes come (they may go on, as long as they come).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web

from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.keeping import Keeping, as_refused, result
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Downloaded
from sysvm.wire.grants import BadGrant, check_upload

PLACE = "/upload/{image}"
TASK_S = 30.0  # for the task to come, when the client is first
SILENCE_S = 60.0
BATCH = 2 * 1024 * 1024
HEADERS = ("X-signature", "X-metadata", "X-expires")
ALLOWED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": f"{', '.join(HEADERS)}, Content-Type",
}
Progress = Callable[[float], Awaitable[None]]
log = get_logger()


@dataclass(slots=True)
class _Waiting:
    """A task whose bytes have not come."""

    keeping: Keeping
    progress: Progress
    over: asyncio.Future[Downloaded]
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """The handlers and the tasks; `key` changes with the document."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.key = ""
        self._now = now
        self._waiting: dict[str, _Waiting] = {}
        self._came = asyncio.Condition()

    def add_to(self, app: web.Application) -> None:
        """From now on the application takes uploads, too."""
        app.router.add_post(PLACE, self._post)
        app.router.add_options(PLACE, self._options)

    async def take(self, keeping: Keeping, expires: float, progress: Progress) -> Downloaded:
        """The task: ends when the image has come. Raises Refused when it is none, or does not come."""
        if known := await asyncio.to_thread(keeping.known):
            return known
        waiting = _Waiting(keeping, progress, asyncio.get_running_loop().create_future())
        self._waiting[keeping.image] = waiting
        async with self._came:
            self._came.notify_all()
        try:
            return await self._outcome(waiting, expires)
        finally:
            waiting.over.cancel()
            del self._waiting[keeping.image]
            await asyncio.to_thread(keeping.store.drop_incoming, keeping.image)

    async def _outcome(self, waiting: _Waiting, expires: float) -> Downloaded:
        await asyncio.wait([waiting.over], timeout=max(0.0, expires - self._now()))
        async with waiting.busy:  # what comes now may come to its end
            if not waiting.over.done():
                raise Refused("nothing was uploaded before the address expired")
        return waiting.over.result()

    # ------------------------------------------------------------ requests
    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(headers=ALLOWED)

    async def _post(self, request: web.Request) -> web.Response:
        image = request.match_info["image"]
        try:
            self._check(request)
            size = await self._bring(request, image)
        except web.HTTPException as refused:
            refused.headers.update(ALLOWED)
            log.warning("upload_refused", image=image, client=request.remote, why=(refused.text or "").strip())
            raise
        return web.Response(text=f"{size} bytes were uploaded\n", headers=ALLOWED)

    def _check(self, request: web.Request) -> None:
        signature, metadata, expires = (request.headers.get(name, "") for name in HEADERS)
        if not (signature and metadata and expires):
            raise web.HTTPBadRequest(text=f"an upload needs the headers {', '.join(HEADERS)}\n")
        try:
            check_upload(self.key, signature, (request.path, metadata, expires), self._now())
        except BadGrant as error:
            raise web.HTTPForbidden(text=f"this upload is not good: {error}\n") from error
        if not request.content_type.startswith("multipart/"):
            raise web.HTTPBadRequest(text="an upload is a multipart form with one file\n")

    async def _bring(self, request: web.Request, image: str) -> int:
        waiting = await self._task(image)
        if waiting.busy.locked():
            raise web.HTTPConflict(text="somebody uploads this image already\n")
        async with waiting.busy:
            if waiting.over.done():
                raise web.HTTPConflict(text="this image has been uploaded already\n")
            try:
                got = await _Upload(waiting, request).run()
            except Refused as error:
                waiting.over.set_exception(error)
                raise web.HTTPUnprocessableEntity(text=f"{error}\n") from error
            waiting.over.set_result(got)
            return got.size

    async def _task(self, image: str) -> _Waiting:
        try:
            async with asyncio.timeout(TASK_S), self._came:
                await self._came.wait_for(lambda: image in self._waiting)
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(text="nobody waits for this image (any more)\n") from error
        return self._waiting[image]


class _Upload:
    """One request that brings an image."""

    def __init__(self, waiting: _Waiting, request: web.Request) -> None:
        self._keeping = waiting.keeping
        self._progress = waiting.progress
        self._request = request
        self._length = request.content_length or 0

    async def run(self) -> Downloaded:
        """The image is in the store. Raises Refused when these bytes are none; nothing stays of those."""
        incoming = self._keeping.incoming()
        try:
            await asyncio.to_thread(self._open, incoming)
            await self._pour(incoming)
            return result(await self._keeping.keep(incoming))
        except (TimeoutError, ConnectionError, ValueError) as error:
            raise web.HTTPBadRequest(text="the upload broke off; it can begin again\n") from error
        except (Refused, OSError) as error:
            raise as_refused(error) from error
        finally:
            incoming.close()
            await asyncio.to_thread(self._keeping.store.drop_incoming, self._keeping.image)

    def _open(self, incoming: Incoming) -> None:
        self._keeping.store.prepare()
        self._keeping.check_size_now(max(0, self._length - BATCH), incoming)
        incoming.open(lambda _: None)
        incoming.restart("", 0)

    async def _pour(self, incoming: Incoming) -> None:
        batch: list[bytes] = []
        held = 0
        async for piece in self._pieces():
            batch.append(piece)
            held += len(piece)
            if held >= BATCH:
                await self._keeping.check_size(incoming.size + held, incoming)
                await asyncio.to_thread(incoming.append, batch)
                batch, held = [], 0
                await self._progress(min(incoming.size / self._length, 1.0) if self._length else 0.0)
        await self._keeping.check_size(incoming.size + held, incoming)
        await asyncio.to_thread(incoming.append, batch)
        await asyncio.to_thread(incoming.sync)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the form's file; the form must come to its end."""
        form = await self._request.multipart()
        found = False
        while True:
            async with asyncio.timeout(SILENCE_S):
                part = await form.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader) or found or part.filename is None:
                continue
            found = True
            while piece := await self._piece(part):
                yield piece
        if not found:
            raise web.HTTPBadRequest(text="there is no file in the form\n")

    async def _piece(self, part: BodyPartReader) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            return bytes(await part.read_chunk(256 * 1024))
