"""The relay as a process: listens inside the host's namespace with TLS, and gives each visitor a session.

It stays outside of the namespace itself (containers' consoles are reached from there); only its socket is inside. Address,
port and grant key are followed while it runs; certificates are read again when their files have changed, which
affects new visitors only: a renewed certificate drops nobody.
"""

import asyncio
import logging
import os
import socket
import ssl
import sys
from contextlib import suppress

from sysvm.basics.clock import Clock
from sysvm.basics.errors import Refused
from sysvm.basics.tasks import Tasks
from sysvm.basics.transports import cut
from sysvm.hosts.layout import Layout
from sysvm.hosts.relay.files import RelayFiles, Settings
from sysvm.hosts.relay.grants import UsedGrants
from sysvm.hosts.relay.session import PIECE, No, serve
from sysvm.hosts.relay.targets import Target, target_of
from sysvm.hosts.system import netns
from sysvm.wire.grants import BadGrant, Grant

MAX_VISITORS = 4000
_HANDSHAKE_S = 10.0
_LOOK_EVERY = 1.0
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
log = logging.getLogger("relay")


class Certificates:
    """The TLS context of the files as they are now."""

    def __init__(self, layout: Layout) -> None:
        self._files = [layout.tls / name for name in ("cert.pem", "key.pem", "ca.pem")]
        self._state: tuple[object, ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """None before the host has its certificate. While files are being replaced, the last whole set."""
        try:
            state = tuple((file.stat().st_mtime_ns, file.stat().st_ino) for file in self._files)
            if state != self._state:
                self._context, self._state = self._load(), state
        except (OSError, ssl.SSLError) as error:
            log.warning("certificates cannot be read: %s", error)
        return self._context

    def _load(self) -> ssl.SSLContext:
        cert, key, ca = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(cert, key)
        context.load_verify_locations(ca)
        context.num_tickets = 0
        return context


class Relay:
    """Listens where the settings say, for as long as the process lives."""

    def __init__(self, layout: Layout, clock: Clock, *, namespace: str | None) -> None:
        self._layout = layout
        self._clock = clock
        self._namespace = namespace
        self._files = RelayFiles(layout)
        self._certificates = Certificates(layout)
        self._used = UsedGrants(self._files.used, clock.now())
        self._visitors = 0
        self._grant_key = ""

    async def run(self) -> None:
        """Ends when the settings are gone: nobody wants a relay any more, or its state folder has been removed."""
        at: tuple[str, int] | None = None
        accepting: asyncio.Task[None] | None = None
        async with Tasks() as tasks:
            while (settings := self._files.read()) is not None:
                self._grant_key = settings.grant_key
                if accepting is None or accepting.done() or at != (settings.address, settings.port):
                    if accepting is not None:
                        accepting.cancel()
                    accepting, at = self._listen(settings, tasks), (settings.address, settings.port)
                await self._clock.sleep(_LOOK_EVERY)
            tasks.stop()

    def _listen(self, settings: Settings, tasks: Tasks) -> asyncio.Task[None] | None:
        try:
            door = self._door(settings)
        except (OSError, Refused) as error:
            log.warning("cannot listen at %s port %d: %s", settings.address, settings.port, error)
            return None
        log.info("listening at %s port %d", settings.address, settings.port)
        return tasks.start(self._accept(door, tasks), "accept")

    def _door(self, settings: Settings) -> socket.socket:
        family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
        door = netns.socket_in(self._namespace, family)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((settings.address, settings.port))
            door.listen(256)
        except OSError:
            door.close()
            raise
        return door

    async def _accept(self, door: socket.socket, tasks: Tasks) -> None:
        loop = asyncio.get_running_loop()
        with door:
            while True:
                try:
                    visitor, address = await loop.sock_accept(door)
                except OSError as error:
                    log.warning("cannot accept: %s", error)
                    await self._clock.sleep(_LOOK_EVERY)
                    continue
                context = self._certificates.context()
                if context is None or self._visitors >= MAX_VISITORS:
                    visitor.close()
                    continue
                tasks.start(self._visit(visitor, str(address[0]), context), "visitor")

    async def _visit(self, visitor: socket.socket, address: str, context: ssl.SSLContext) -> None:
        self._visitors += 1
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await _greet(visitor, context)
            grant = await serve((reader, writer), self._redeem, self._find)
            log.info("session %s of %s on %s ended", grant.session, address, grant.machine)
        except No as no:
            log.info("%s refused: %s", address, no)
        except (OSError, TimeoutError) as error:
            log.info("%s went away: %s", address, error or type(error).__name__)
        finally:
            self._visitors -= 1
            visitor.close() if writer is None else await _farewell(writer)

    def _redeem(self, text: str) -> Grant:
        if not self._grant_key:
            raise BadGrant("this host has not been told whose grants it may take")
        return self._used.redeem(self._grant_key, text, self._clock.now())

    def _find(self, grant: Grant) -> Target | None:
        return target_of(self._layout, grant.machine, grant.kind)


async def _greet(visitor: socket.socket, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    visitor.setblocking(False)
    visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        visitor.setsockopt(socket.IPPROTO_TCP, option, value)
    reader = asyncio.StreamReader(limit=PIECE, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, visitor, ssl=context, ssl_handshake_timeout=_HANDSHAKE_S)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _farewell(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_HANDSHAKE_S):
            await writer.wait_closed()
    cut(writer.transport)


def configure_log(files: RelayFiles) -> None:
    """Two files of a megabyte."""
    from logging.handlers import RotatingFileHandler

    os.makedirs(files.folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    handler = RotatingFileHandler(files.log, maxBytes=1 << 20, backupCount=1)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(message)s")
    sys.excepthook = lambda kind, error, trace: log.critical("the relay died", exc_info=(kind, error, trace))
