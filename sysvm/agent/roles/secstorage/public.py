"""What users reach of a secondary storage VM, on its public address: GET /userdata/<link>/<file>, with ranges; and uploads
(`uploads.py`). Other zones of the cloud ask there for an image's chunks (`giving.py`).

A link is signed by the server for one store, image and SHA-256 and expires, so nothing is written down here when one is made
and nothing has to be cleaned when it ends. The file's name is for people. Nothing can be listed or guessed: whatever is wrong
with a link, its bearer learns only that.

Two doors serve the same: plain, and TLS with the uploaded certificate (that of the built-in CA while there is none). Another
certificate is shown with the next handshake; what is under way goes on (`serving/door.py`).
"""

import ssl
from collections.abc import Callable

from aiohttp import web

from sysvm.agent.roles.secstorage.giving import give_chunks
from sysvm.agent.roles.secstorage.handing import found, handed
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.agent.roles.secstorage.uploads import Uploads
from sysvm.agent.roles.serving.door import Door
from sysvm.agent.roles.serving.http import Site
from sysvm.agent.roles.serving.tls import BadCertificate, server_context
from sysvm.basics.log import get_logger
from sysvm.wire.documents import SecStorageDocument
from sysvm.wire.grants import BadGrant, FetchTicket, check_link
from sysvm.wire.machines import ServiceFault

log = get_logger()


class PublicDoors:
    """The public address; its key, certificate and place change with the document."""

    def __init__(self, stores: Callable[[], dict[str, ImageStore]], now: Callable[[], float], uploads: Uploads) -> None:
        self._uploads = uploads
        self._key = ""
        self._stores = stores
        self._now = now
        app = web.Application()
        app.router.add_get("/userdata/{link}/{file}", self._get)
        app.router.add_get("/chunks/{link}", self._get_chunks)
        uploads.add_to(app)
        self._site = Site(app)
        self._plain, self._tls = Door(self._site.accept), Door(self._site.accept)

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens; 0 where it does not."""
        return {"plain": self._plain.port, "tls": self._tls.port}

    async def start(self) -> None:
        """Must be called before `open`."""
        await self._site.start()

    async def stop(self) -> None:
        """Ends all connections."""
        for door in (self._plain, self._tls):
            await door.close()
        await self._site.stop()

    async def open(self, document: SecStorageDocument) -> list[ServiceFault]:
        """Both doors are as the document says afterwards; what could not be is told, and stays as it was."""
        self._key = self._uploads.key = document.ticket_key
        if not document.public_address:
            return []
        faults = await _opened(self._plain, document.public_address, document.public_port, None)
        if document.public_certificate is None:
            return faults
        try:
            context = server_context(document.public_certificate)
        except BadCertificate as error:
            return [*faults, _fault(str(error), "upload certificate, chain and key again")]
        return [*faults, *await _opened(self._tls, document.public_address, document.public_tls_port, context)]

    # ------------------------------------------------------------ downloads
    async def _get(self, request: web.Request) -> web.StreamResponse:
        store, image = await self._image(self._ticket(request))
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "X-SHA256": image.sha256,
        }
        return await handed(request, store, image.sha256, headers)

    async def _get_chunks(self, request: web.Request) -> web.StreamResponse:
        store, image = await self._image(self._ticket(request))
        return await give_chunks(request, store, image.sha256)

    def _ticket(self, request: web.Request) -> FetchTicket:
        try:
            return check_link(self._key, request.match_info["link"], self._now())
        except BadGrant as error:
            log.warning("link_refused", client=request.remote, why=str(error))
            raise web.HTTPForbidden(text=f"this address is not good: {error}\n") from error

    async def _image(self, ticket: FetchTicket) -> tuple[ImageStore, Image]:
        store = self._stores().get(ticket.store)
        image = await found(store, ticket.image)
        if store is None or image is None or image.sha256 != ticket.sha256:
            raise web.HTTPNotFound(text="this image is here no longer\n")
        return store, image


async def _opened(door: Door, address: str, port: int, context: ssl.SSLContext | None) -> list[ServiceFault]:
    try:
        await door.open(address, port, context)
    except OSError as error:
        return [_fault(f"port {port} of {address} cannot be opened: {error.strerror}", "look who has it")]
    return []


def _fault(why: str, remedy: str) -> ServiceFault:
    return ServiceFault(service="public", why=why, remedy=remedy)
