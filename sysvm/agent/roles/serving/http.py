"""HTTP applications behind doors (`door.Door`)."""

import ssl
from socket import socket

from aiohttp import web

LINGERING_S = 1.0  # for a client that still sends what was refused, to read why


class HttpAcceptor:
    """An aiohttp site on one socket."""

    def __init__(self, site: web.SockSite) -> None:
        self._site = site

    async def close(self) -> None:
        """No more connections from here; those that are open end by themselves."""
        await self._site.stop()


class Site:
    """An HTTP application that can be served at several doors."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=15, lingering_time=LINGERING_S)

    async def start(self) -> None:
        """Must be called before `accept`."""
        await self._runner.setup()

    async def accept(self, listening: socket, context: ssl.SSLContext | None) -> HttpAcceptor:
        """See `door.Accept`."""
        site = web.SockSite(self._runner, listening, ssl_context=context)
        await site.start()
        return HttpAcceptor(site)

    async def stop(self) -> None:
        """Ends all connections."""
        await self._runner.cleanup()
