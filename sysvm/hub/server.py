"""Accepts host links: TLS 1.3, a client certificate of the built-in CA, or none for first contact and late renewal.

Without a certificate a peer may only join (one-time token) or renew (a request signed by a key whose certificate expired
less than 30 days ago). With one it says hello as the host that the certificate names; anything else is refused.
Accepts are admitted one by one up to ACCEPTS at a time: a TLS handshake costs 2 ms of CPU, and ten thousand hosts that
come back at once must not starve the links that stand.

Links are held in the name of this process' session, which may change while they stand (orchestrator/session.py). A server
whose session is over takes none: nobody would work for that host. While the database is away, hosts are told to come
again; when it stays away the hub closes, so that they find another server without paying for handshakes here.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from sysvm.basics.allocator import keep_large_blocks_apart
from sysvm.basics.clock import Clock
from sysvm.basics.errors import DatabaseAway, NotYet, Refused, Why
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority, key_fingerprint, name_and_serial, parse_request
from sysvm.hub.links import Links
from sysvm.store.queries import links as queries
from sysvm.store.queries import sessions
from sysvm.store.queries.links import Linked
from sysvm.store.store import Store, Tx
from sysvm.wire.link import (
    PROTOCOL,
    Beat,
    FromAgent,
    HostAskBody,
    HostHello,
    HostNoticeBody,
    Join,
    Nothing,
    Renew,
    Renewed,
    Welcome,
)
from sysvm.wire.peer import Peer

ACCEPTS = 16
HANDSHAKE_S = 20.0
AWAY_S = 1.0

_asks: msgspec.msgpack.Decoder[HostAskBody] = msgspec.msgpack.Decoder(HostAskBody)
_notices: msgspec.msgpack.Decoder[HostNoticeBody] = msgspec.msgpack.Decoder(HostNoticeBody)
log = get_logger()

OnAsk = Callable[[int, FromAgent], Awaitable[msgspec.Struct]]
OnNotice = Callable[[int, HostNoticeBody], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this server is to the hosts."""

    cloud: str
    session: str
    authority: Authority
    context: ssl.SSLContext


def server_context(certificate_file: str, key_file: str, ca_pem: str) -> ssl.SSLContext:
    """TLS 1.3 only; client certificates of our CA are verified when they are shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # hosts dial for days, not again and again: nothing to be kept for the next time
    context.load_cert_chain(certificate_file, key_file)
    context.load_verify_locations(cadata=ca_pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Hub:
    """The listening end of all links."""

    def __init__(self, store: Store, clock: Clock, identity: Identity, links: Links, on_ask: OnAsk, on_notice: OnNotice) -> None:
        self._store = store
        self._clock = clock
        self._identity = identity
        self._session = identity.session
        self._links = links
        self._on_ask = on_ask
        self._on_notice = on_notice
        self._accepts = asyncio.Semaphore(ACCEPTS)
        self._address: tuple[str, int]
        self._tasks: Tasks
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, tasks: Tasks) -> asyncio.Server:
        """Accepts links on an address; each is a child of `tasks`. Raises OSError."""
        self._address, self._tasks = (host, port), tasks
        keep_large_blocks_apart()  # each link has a buffer of 256 KB, nearly all of which is never touched
        return await self._listen()

    async def _listen(self) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._tasks.start(self._serve(reader, writer), "link")

        self._server = await asyncio.start_server(
            accept, *self._address, ssl=self._identity.context, ssl_handshake_timeout=HANDSHAKE_S, backlog=1024
        )
        return self._server

    async def open(self, session: str) -> None:
        """Links are taken in the name of `session`."""
        self._session = session
        while self._server is None:
            try:
                await self._listen()
            except OSError as error:  # somebody else has our port for a moment
                log.warning("hub_does_not_listen", why=str(error))
                await self._clock.sleep(AWAY_S)

    def close(self) -> None:
        """No link stands, and none is taken until the next `open`."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._links.keep(frozenset())
            log.warning("hub_closed")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = tls.getpeercert()
        connection = _Connection(self, *name_and_serial(shown) if shown else ("", ""))
        async with Tasks() as tasks:
            peer = Peer(reader, writer, serve=connection.serve, hear=connection.hear)
            connection.peer = peer
            await peer.run(tasks)
            tasks.stop()
        await self._ended(connection)

    async def _ended(self, connection: "_Connection") -> None:
        host_id = connection.host_id
        if host_id is None or connection.peer is None or not self._links.detach(host_id, connection.peer):
            return
        log.info("host_unlinked", host=host_id)
        connected = connection.connected
        while True:
            try:
                await self._store.run(lambda tx: queries.link_down(tx, host_id, connected))
                return
            except DatabaseAway:
                await self._clock.sleep(AWAY_S)

    # ------------------------------------------------------------ what peers ask
    async def hello(self, hello: HostHello, connection: "_Connection") -> Welcome:
        """A host comes with its certificate."""
        if not connection.name or connection.name != hello.host:
            raise Refused("a host says hello with its own certificate", Why.NOT_ALLOWED)
        session = self._session

        def link_up(tx: Tx) -> Linked:
            if not sessions.is_alive(tx, session):
                raise NotYet(AWAY_S, "this server has no session at the moment")
            return queries.link_up(tx, hello, session, connection.serial)

        async with self._accepts:
            linked = await self._store.run(link_up)
        if session != self._session:
            raise NotYet(AWAY_S, "this server has a new session; say hello once more")
        assert connection.peer is not None
        connection.host_id, connection.connected = linked.host_id, linked.connected
        old = self._links.attach(linked.host_id, connection.peer)
        if isinstance(old, Peer):
            old.close()
        log.info("host_linked", host=hello.host, version=hello.version)
        return Welcome(protocol=PROTOCOL, session=session, epoch=linked.epoch, cloud=linked.cloud)

    async def join(self, join: Join) -> Renewed:
        """First contact: the token buys a certificate, once."""
        host = await self._store.run(lambda tx: queries.redeem_token(tx, join.token))
        if host is None:
            raise Refused("this token was used before; the host's certificates are revoked")
        return await self._issue(host.id, host.uuid, join.csr)

    async def renew(self, renew: Renew) -> Renewed:
        """A request signed by the key of a certificate that we gave."""
        fingerprint = key_fingerprint(parse_request(renew.csr).public_key())
        host = await self._store.read(lambda tx: queries.host_of_key(tx, fingerprint))
        return await self._issue(host.id, host.uuid, renew.csr)

    async def _issue(self, host_id: int, uuid: str, csr: str) -> Renewed:
        identity = self._identity
        uri = f"sysvm://{identity.cloud}/host/{uuid}"
        seconds = await self._store.read(lambda tx: queries.validity_s(tx, host_id))
        issued = identity.authority.sign_request(csr, uuid, uri, self._clock.now(), seconds=seconds)
        await self._store.run(
            lambda tx: queries.add_certificate(tx, host_id, issued.serial, issued.key_fingerprint, issued.not_after)
        )
        return Renewed(host=uuid, cloud=identity.cloud, chain=issued.chain, ca=identity.authority.ca_pem)

    async def ask(self, host_id: int, ask: FromAgent) -> msgspec.Struct:
        """An agent of a system VM on this host asks something."""
        return await self._on_ask(host_id, ask)

    async def notice(self, host_id: int, notice: HostNoticeBody) -> None:
        """News from a host."""
        await self._on_notice(host_id, notice)


class _Connection:
    """One accepted connection: before its hello it may do next to nothing."""

    def __init__(self, hub: Hub, name: str, serial: str) -> None:
        self._hub = hub
        self.name = name  # and serial, of its certificate; empty: it has shown none
        self.serial = serial
        self.peer: Peer | None = None
        self.host_id: int | None = None
        self.connected = 0.0

    async def serve(self, raw: msgspec.Raw) -> msgspec.Struct:
        """Calls of the host."""
        try:
            return await self._answer(raw)
        except DatabaseAway as away:
            raise NotYet(AWAY_S, str(away)) from away

    async def _answer(self, raw: msgspec.Raw) -> msgspec.Struct:
        match _asks.decode(raw):
            case HostHello() as hello:
                return await self._hub.hello(hello, self)
            case Join() as join:
                return await self._hub.join(join)
            case Renew() as renew:
                return await self._hub.renew(renew)
            case Beat():
                return Nothing()
            case FromAgent() as ask if self.host_id is not None:
                return await self._hub.ask(self.host_id, ask)
            case _:
                raise Refused("say hello first", Why.NOT_ALLOWED)

    async def hear(self, raw: msgspec.Raw) -> None:
        """Notices of the host; before the hello they are nobody's."""
        if self.host_id is not None:
            await self._hub.notice(self.host_id, _notices.decode(raw))
