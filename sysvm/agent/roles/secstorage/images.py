"""What hosts fetch: GET /images/<store>/<image>, with a ticket that the server made for this image. Ranges are honoured.

A ticket is for one store, image and SHA-256, and lives for minutes; it is checked anew at each request. Nothing can be
written, listed or guessed here: whatever is wrong with a request, a caller without a good ticket learns only that.
"""

from collections.abc import Callable

from aiohttp import web

from sysvm.agent.roles.secstorage.handing import found, handed
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.basics.log import get_logger
from sysvm.wire.grants import BadGrant, FetchTicket, check_ticket

log = get_logger()


class ImageServer:
    """The handler; `key` changes with the document."""

    def __init__(self, stores: Callable[[], dict[str, ImageStore]], now: Callable[[], float]) -> None:
        self.key = ""
        self._stores = stores
        self._now = now

    def app(self) -> web.Application:
        """To be served behind a door with TLS."""
        app = web.Application()
        app.router.add_get("/images/{store}/{image}", self._get)
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        try:
            ticket = self._ticket(request)
        except BadGrant as error:
            log.warning("image_refused", store=request.match_info["store"], image=request.match_info["image"], why=str(error))
            raise web.HTTPForbidden(text=f"the ticket is not good: {error}\n") from error
        return await self._image(request, ticket)

    def _ticket(self, request: web.Request) -> FetchTicket:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise BadGrant("none was shown")
        ticket = check_ticket(self.key, text.strip(), self._now())
        if (ticket.store, ticket.image) != (request.match_info["store"], request.match_info["image"]):
            raise BadGrant("it is for another image")
        return ticket

    async def _image(self, request: web.Request, ticket: FetchTicket) -> web.StreamResponse:
        store = self._stores().get(ticket.store)
        image = await found(store, ticket.image)
        if store is None or image is None or (ticket.sha256 and image.sha256 != ticket.sha256):
            raise web.HTTPNotFound(text="this image is not in this store\n")
        headers = {"Content-Type": "application/octet-stream", "X-SHA256": image.sha256, "X-Format": image.format}
        return await handed(request, store, image.sha256, headers)
