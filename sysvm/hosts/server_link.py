"""The host's one link: dialled by us, to one of the servers, again and again.

Acts that were asked for over a link go on when it dies (they belong to the host, not to the link); their answers are
lost, and the server looks again. Notices are kept only while a link stands, because a server looks at everything when a
link begins. Reconnecting is jittered, so that ten thousand hosts do not come back in one instant. A server that does not
answer to a beat any more is left: its process may stand still while its kernel keeps the connection.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.ids import Ids
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts.identity import Identity, refuse_other_than_server, trusting
from sysvm.wire import link
from sysvm.wire.peer import Peer

T = TypeVar("T")
Address = tuple[str, int]
Serve = Callable[[link.HostCallBody], Awaitable[msgspec.Struct]]
Hello = Callable[[], Awaitable[link.HostHello]]

_calls: msgspec.msgpack.Decoder[link.HostCallBody] = msgspec.msgpack.Decoder(link.HostCallBody)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_HANDSHAKE_S = 20.0
SILENCE_S = 10.0  # after which a server that does not answer is left
_BACKLOG = 10_000
_FAILURES = (OSError, Unreachable, Refused, NotYet, Broken, Stale, TimeoutError, ssl.SSLError)
log = get_logger()


class ServerLink:
    """The link, whichever server it leads to now."""

    def __init__(
        self,
        servers: tuple[Address, ...],
        identity: Identity,
        tasks: Tasks,
        clock: Clock,
        ids: Ids,
        *,
        hello: Hello,
        welcomed: Callable[[link.Welcome], None],
        serve: Serve,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._servers = servers
        self._identity = identity
        self._tasks = tasks
        self._clock = clock
        self._ids = ids
        self._hello = hello
        self._welcomed = welcomed
        self._serve = serve
        self._silence_s = silence_s
        self._silent: Address | None = None  # the last one that we left: its kernel would make us wait
        self._peer: Peer | None = None
        self._outbox: deque[link.HostNoticeBody] = deque(maxlen=_BACKLOG)
        self._filled = asyncio.Event()

    def notify(self, notice: link.HostNoticeBody) -> None:
        """News for the server; dropped when there is none. The same change is said once while it waits."""
        if self._peer is None or (isinstance(notice, link.MachineChanged) and notice in self._outbox):
            return
        self._outbox.append(notice)
        self._filled.set()

    async def ask(self, ask: link.FromAgent) -> msgspec.Struct:
        """The server's answer to an agent's question, as it came."""
        if self._peer is None:
            raise Unreachable("no management server is linked")
        answer: object = await self._peer.call(ask, msgspec.Raw)
        return answer  # type: ignore[return-value]  # encoded as it came

    async def run(self) -> None:
        """Keeps a link for ever."""
        pause = _FIRST_PAUSE_S
        while True:
            for server in self._shuffled():
                try:
                    await self._once(server)
                    pause = _FIRST_PAUSE_S
                except _FAILURES as error:
                    log.info("link_failed", server=f"{server[0]}:{server[1]}", why=f"{type(error).__name__}: {error}")
                await self._clock.sleep(pause * (0.5 + self._ids.number(1000) / 1000))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _once(self, server: Address) -> None:
        if self._clock.now() >= self._identity.lifetime().end:
            await self._renew_late(server)
        reader, writer = await dial(server, self._identity.context())
        peer = Peer(reader, writer, serve=self._take_call, hear=_ignore)
        # All of them are the host's tasks, because what serves a call outlives the link.
        children = [self._tasks.start(peer.run(self._tasks), "link")]
        try:
            await self._greet(peer)
            children.append(self._tasks.start(self._send_notices(peer), "notices"))
            children.append(self._tasks.start(self._renew(peer), "renew"))
            children.append(self._tasks.start(self._beat(peer, server), "beat"))
            await children[0]
        finally:
            self._peer = None
            self._outbox.clear()
            peer.close()
            for child in children:
                child.cancel()

    async def _greet(self, peer: Peer) -> None:
        welcome = await peer.call(await self._hello(), link.Welcome)
        self._welcomed(welcome)
        self._peer = peer
        log.info("link_stood", session=welcome.session, epoch=welcome.epoch)

    async def _take_call(self, raw: msgspec.Raw) -> msgspec.Struct:
        body = _calls.decode(raw)
        if isinstance(body, link.RenewNow):
            return await self._renew_now()
        return await self._serve(body)

    async def _renew_now(self) -> link.Nothing:
        if self._peer is None:
            raise NotYet(1, "the link is not greeted yet")
        self._identity.keep(await self._peer.call(self._renewal(), link.Renewed))
        log.info("certificate_renewed", until=self._identity.lifetime().end)
        return link.Nothing()

    async def _send_notices(self, peer: Peer) -> None:
        try:
            while peer.is_open:
                await self._filled.wait()
                self._filled.clear()
                while self._outbox:
                    await peer.notify(self._outbox.popleft())
        except Unreachable:
            peer.close()

    async def _beat(self, peer: Peer, server: Address) -> None:
        while peer.is_open:
            await self._clock.sleep(self._silence_s / 2)
            try:
                await peer.call(link.Beat(), link.Nothing, seconds=self._silence_s)
            except Unreachable as error:
                log.warning("server_silent", why=str(error))
                self._silent = server
                peer.abort()
            except (Refused, NotYet, Broken, Stale):
                pass  # whatever it says, it is there

    async def _renew(self, peer: Peer) -> None:
        """A new certificate in good time, over the link that stands; it is shown at the next link."""
        while peer.is_open:
            wait = self._identity.lifetime().renew_at() - self._clock.now()
            if wait > 0:
                await self._clock.sleep(min(wait, 600.0))
                continue
            try:
                self._identity.keep(await peer.call(self._renewal(), link.Renewed))
                log.info("certificate_renewed", until=self._identity.lifetime().end)
            except _FAILURES as error:
                log.warning("certificate_not_renewed", why=str(error))
                await self._clock.sleep(60.0)

    async def _renew_late(self, server: Address) -> None:
        context = trusting(self._identity.ca_pem())
        renewed = await ask_once(server, context, self._renewal(), link.Renewed, self._tasks)
        self._identity.keep(renewed)
        log.info("certificate_renewed_late", until=self._identity.lifetime().end)

    def _renewal(self) -> link.Renew:
        names = self._identity.names()
        return link.Renew(csr=self._identity.request(names.host if names else ""))

    def _shuffled(self) -> list[Address]:
        return sorted(self._servers, key=lambda server: (server == self._silent, self._ids.number(1 << 30)))


async def dial(server: Address, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection to a management server. Raises OSError, or Refused when a host answers."""
    async with asyncio.timeout(_HANDSHAKE_S):
        reader, writer = await asyncio.open_connection(*server, ssl=context, server_hostname=server[0])
    handle: socket.socket = writer.get_extra_info("socket")
    # A server that vanished without a word is noticed within 15 s.
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 3), (socket.TCP_KEEPCNT, 3)):
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)
    try:
        refuse_other_than_server(writer.get_extra_info("peercert"))
    except Refused:
        writer.close()
        raise
    return reader, writer


async def ask_once(server: Address, context: ssl.SSLContext, ask: msgspec.Struct, answer: type[T], tasks: Tasks) -> T:
    """One question on a connection of its own."""
    reader, writer = await dial(server, context)
    peer = Peer(reader, writer, serve=_refuse, hear=_ignore)
    running = tasks.start(peer.run(tasks), "short link")
    try:
        return await peer.call(ask, answer)
    finally:
        peer.close()
        running.cancel()


async def join(server: Address, identity: Identity, ca_pem: str, ask: link.Join, tasks: Tasks) -> None:
    """Buys a certificate with the token; with the key alone when an earlier attempt got that far."""
    context = trusting(ca_pem)
    tried_before = identity.has_key()
    ask = msgspec.structs.replace(ask, csr=identity.request(ask.host))
    if tried_before:
        try:
            identity.keep(await ask_once(server, context, link.Renew(csr=ask.csr), link.Renewed, tasks))
        except Refused as error:
            log.info("earlier_join_unknown", why=error.text)
        else:
            return
    identity.keep(await ask_once(server, context, ask, link.Renewed, tasks))


async def _refuse(raw: msgspec.Raw) -> msgspec.Struct:
    del raw
    raise Refused("this host has not joined yet")


async def _ignore(raw: msgspec.Raw) -> None:
    del raw
