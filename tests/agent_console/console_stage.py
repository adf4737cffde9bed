"""What a console proxy has around it, small but real: a server that redeems tickets, a host's relay with TLS, screens.

The role runs in this process, as the agent runs it; its line to the server is a real `Peer` over a socket pair.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import trustme

from sysvm.agent.line import Line
from sysvm.agent.paths import Paths
from sysvm.agent.roles import Context
from sysvm.agent.roles.consoleproxy import make
from sysvm.agent.roles.consoleproxy.role import ConsoleProxyRole
from sysvm.agent.seal import Seal
from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import AgentAskBody, AgentNoticeBody, ConsoleTarget, LoadReport, RedeemTicket, ResumeSession
from sysvm.wire.documents import Certificate, ConsoleProxyDocument
from sysvm.wire.machines import BootData, Kind, Nic, Runtime, Segment, Traffic
from sysvm.wire.peer import Peer

PATIENCE = 60  # seconds without which a test hangs for ever; nothing is measured with it

Screen = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pem(leaf: trustme.LeafCert) -> Certificate:
    chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    return Certificate(chain=chain, key=leaf.private_key_pem.bytes().decode())


@dataclass
class Authority:
    """A CA of the cloud, and one that browsers trust."""

    cloud: trustme.CA = field(default_factory=trustme.CA)
    public: trustme.CA = field(default_factory=trustme.CA)

    def ca_text(self) -> str:
        return self.cloud.cert_pem.bytes().decode()

    def for_browsers(self, *names: str) -> Certificate:
        return pem(self.public.issue_cert(*(names or ("127.0.0.1", "localhost"))))


class Relay:
    """A host's relay: checks the proxy's certificate, knows some grants, shows a screen for each."""

    def __init__(self, authority: Authority) -> None:
        self.screens: dict[str, Screen] = {}
        self.connections = 0
        self.absence = b"NO this grant is not known\n"  # what those hear who come for a screen that is not here
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        authority.cloud.issue_cert("127.0.0.1").configure_cert(context)
        authority.cloud.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
        self._context = context

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            grant = (await reader.readline()).decode().strip()
            screen = self.screens.get(grant)
            writer.write(b"OK\n" if screen else self.absence)
            if screen is not None:
                await screen(reader, writer)
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    def stop(self) -> None:
        self._server.close()


class Server:
    """The server's end of the agents' lines: redeems tickets once, and of a session the last two secrets."""

    def __init__(self) -> None:
        self.targets: dict[str, ConsoleTarget] = {}
        self.asked: list[AgentAskBody] = []
        self.reports: asyncio.Queue[LoadReport] = asyncio.Queue()

    async def serve(self, body: msgspec.Raw) -> msgspec.Struct:
        ask = msgspec.msgpack.decode(body, type=AgentAskBody)
        self.asked.append(ask)
        shown = ask.ticket if isinstance(ask, RedeemTicket) else ask.secret
        target = self.targets.pop(shown, None)
        if target is None:
            raise Refused("this ticket is not known or was used")
        if isinstance(ask, ResumeSession):
            others = [key for key, known in self.targets.items() if known.session == target.session]
            for key in others:
                del self.targets[key]
            self.targets[shown] = target  # the answer may not arrive
        secret = f"secret-{len(self.asked)}"
        self.targets[secret] = msgspec.structs.replace(target, resume=secret)
        return self.targets[secret]

    def came_back(self) -> int:
        """How often a page has shown the secret of its session."""
        return sum(isinstance(ask, ResumeSession) for ask in self.asked)

    async def hear(self, body: msgspec.Raw) -> None:
        notice = msgspec.msgpack.decode(body, type=AgentNoticeBody)
        if isinstance(notice, LoadReport):
            self.reports.put_nowait(notice)

    async def report_where(self, holds: Callable[[LoadReport], bool]) -> LoadReport:
        async with asyncio.timeout(PATIENCE):
            while True:
                report = await self.reports.get()
                if holds(report):
                    return report


@dataclass
class Stage:
    """Everything together."""

    authority: Authority
    relay: Relay
    server: Server
    role: ConsoleProxyRole

    def document(self, **changes: object) -> ConsoleProxyDocument:
        base = ConsoleProxyDocument(
            machine="m",
            name="v-1-VM",
            listen="127.0.0.1",
            page_port=0,
            websocket_port=0,
            command_port=0,
            relay_ca=self.authority.ca_text(),
            relay_certificate=pem(self.authority.cloud.issue_cert("proxy")),
            idle_s=0,
            load_interval_ms=60_000,
        )
        return msgspec.structs.replace(base, **changes)

    def ticket(self, name: str, screen: Screen | None, **changes: object) -> str:
        """A new ticket `name` that leads to `screen`; None: to a grant that the relay refuses."""
        if screen is not None:
            self.relay.screens[f"grant-{name}"] = screen
        target = ConsoleTarget(
            session=f"session-{name}",
            guest="guest-1",
            name="web1",
            kind="vnc",
            relay_host="127.0.0.1",
            relay_port=self.relay.port,
            grant=f"grant-{name}",
        )
        self.server.targets[name] = msgspec.structs.replace(target, **changes)
        return name

    @property
    def websocket(self) -> str:
        return f"://127.0.0.1:{self.role.ports['websocket']}/websockify"

    @property
    def page(self) -> str:
        return f"://127.0.0.1:{self.role.ports['page']}"


def boot_data() -> BootData:
    control = Segment(key="control", traffic=Traffic.CONTROL)
    return BootData(
        machine="m",
        incarnation=1,
        name="v-1-VM",
        kind=Kind.CONSOLE_PROXY,
        runtime=Runtime.CONTAINER,
        hostname="v-1-VM",
        nics=(Nic(device=0, mac="02:00:00:00:00:01", segment=control, addresses=("127.0.0.2/8",)),),
        state_key="key",
    )


@contextlib.asynccontextmanager
async def stage(folder: Path, beside: Stage | None = None) -> AsyncIterator[Stage]:
    """A proxy; `beside` another one, with the same server and the same hosts."""
    authority, server = (beside.authority, beside.server) if beside else (Authority(), Server())
    relay = beside.relay if beside else Relay(authority)
    if beside is None:
        await relay.start()
    ours, theirs = socket.socketpair()
    line = Line()
    role = make(Context(boot_data(), Paths(folder), SystemClock(), Seal("key"), line))
    async with Tasks() as tasks:
        peers = [
            Peer(*await asyncio.open_connection(sock=ours), serve=server.serve, hear=server.hear),
            Peer(*await asyncio.open_connection(sock=theirs), serve=server.serve, hear=server.hear),
        ]
        for peer in peers:
            tasks.start(peer.run(tasks), "peer")
        line.carry_over(peers[1])
        await role.start(tasks)
        try:
            yield Stage(authority, relay, server, role)
        finally:
            await role.stop()
            if beside is None:
                relay.stop()
            tasks.stop()


def echo_screen() -> Screen:
    """Sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    return serve


# ---------------------------------------------------------------- a program that stands for a browser
async def open_console(
    web: aiohttp.ClientSession, stage: Stage, ticket: str, **options: object
) -> aiohttp.ClientWebSocketResponse:
    scheme = "wss" if options.get("ssl") else "ws"
    return await web.ws_connect(f"{scheme}{stage.websocket}?token={ticket}", max_msg_size=0, **options)


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The code and reason that the proxy closes with."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message


async def echoes(socket: aiohttp.ClientWebSocketResponse, data: bytes) -> bool:
    await socket.send_bytes(data)
    got = b""
    async with asyncio.timeout(PATIENCE):
        while len(got) < len(data):
            got += await socket.receive_bytes()
    return got == data
