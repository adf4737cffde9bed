"""A management server as small as it can be: it lets hosts join, welcomes them, asks them, and writes down what they say."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority
from sysvm.wire import link
from sysvm.wire.peer import Peer
from tests.hosts.progress import until

T = TypeVar("T")
_asks: msgspec.msgpack.Decoder[link.HostAskBody] = msgspec.msgpack.Decoder(link.HostAskBody)
_notices: msgspec.msgpack.Decoder[link.HostNoticeBody] = msgspec.msgpack.Decoder(link.HostNoticeBody)


class Server:
    """What a host sees of a management server."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.authority = Authority.new("cloud", clock.now())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(self.authority.ca_pem)
        issued, key = self.authority.issue("server", "sysvm://cloud/server/1", clock.now(), addresses=("127.0.0.1",))
        (folder / "server.pem").write_text(issued.chain)
        (folder / "server.key").write_text(key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.context.load_verify_locations(cadata=self.authority.ca_pem)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.epoch = 1
        self.certificate_s = 24 * 3600.0
        self.port = 0
        self.closed = False
        self.peer: Peer | None = None
        self.joins: list[link.Join] = []
        self.renewals = 0
        self.hellos: list[link.HostHello] = []
        self.asked: list[link.FromAgent] = []
        self.notices: list[link.HostNoticeBody] = []

    async def call(self, body: msgspec.Struct, answer: type[T], *, seconds: float = 30.0) -> T:
        """Asks the host that is linked."""
        assert self.peer is not None
        return await self.peer.call(body, answer, seconds=seconds)

    async def linked(self, count: int = 1) -> link.HostHello:
        """The host has said hello for the count-th time."""
        async for _ in until(SystemClock(), f"hello number {count}"):
            if len(self.hellos) >= count and self.peer is not None:
                break
        return self.hellos[-1]

    async def heard(self, what: type[T], since: int = 0) -> T:
        """The first notice of this kind."""
        async for _ in until(SystemClock(), f"a {what.__name__}"):
            for notice in self.notices[since:]:
                if isinstance(notice, what):
                    return notice
        raise AssertionError

    def drop(self) -> None:
        """Ends the link."""
        if self.peer is not None:
            self.peer.close()
            self.peer = None

    async def take(self, peer: Peer, raw: msgspec.Raw) -> msgspec.Struct:
        """Answers a host."""
        match _asks.decode(raw):
            case link.Join() as join:
                if join.token != "token":
                    raise Refused("no such token")
                self.joins.append(join)
                return self._issue(join.csr)
            case link.Renew() as renew:
                if not self.joins:
                    raise Refused("no such key")
                self.renewals += 1
                return self._issue(renew.csr)
            case link.HostHello() as hello:
                self.peer = peer
                self.hellos.append(hello)
                return link.Welcome(protocol=1, session="s", epoch=self.epoch, cloud="cloud")
            case link.Beat():
                return link.Nothing()
            case link.FromAgent() as ask:
                self.asked.append(ask)
                return link.Nothing()

    async def hear(self, raw: msgspec.Raw) -> None:
        """Writes down."""
        self.notices.append(_notices.decode(raw))

    def _issue(self, csr: str) -> link.Renewed:
        now, uri = SystemClock().now(), "sysvm://cloud/host/host-1"
        issued = self.authority.sign_request(csr, "host-1", uri, now, seconds=self.certificate_s)
        return link.Renewed(host="host-1", cloud="cloud", chain=issued.chain, ca=self.authority.ca_pem)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Server]:
    """A server that listens on loopback."""
    made = Server(folder)
    async with Tasks() as tasks:

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if made.closed:
                writer.close()
            else:
                tasks.start(serve(reader, writer), "link")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def take(raw: msgspec.Raw) -> Any:
                return await made.take(peer, raw)

            peer = Peer(reader, writer, serve=take, hear=made.hear)
            await peer.run(tasks)
            if made.peer is peer:
                made.peer = None

        listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=made.context)
        made.port = listener.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            made.closed = True
            listener.close()
            made.drop()
            tasks.stop()
