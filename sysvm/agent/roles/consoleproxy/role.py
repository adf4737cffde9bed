"""The document of a console proxy made true: ports, certificates, limits.

Each port keeps what it served before when the new state of it fails, and the failure is a fault of that service. A change of
certificate or of limits cuts no session. A draining proxy asks its pages to go on with another one. Sessions end when the
agent ends: a page then attaches again by itself, through any proxy.
"""

import asyncio
import itertools
import logging
import ssl
from socket import socket
from typing import Any

import msgspec
from picows import WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from sysvm.agent.roles import Context, Progress, Role
from sysvm.agent.roles.consoleproxy import pages
from sysvm.agent.roles.consoleproxy.desk import Outside, ProxyDesk
from sysvm.agent.roles.consoleproxy.knock import TurnedAway, read_knock
from sysvm.agent.roles.consoleproxy.sessions import Limits, SessionTable
from sysvm.agent.roles.consoleproxy.viewer import Viewer
from sysvm.agent.roles.serving import memory
from sysvm.agent.roles.serving.door import Door
from sysvm.agent.roles.serving.tls import BadCertificate, relay_context, server_context
from sysvm.agent.roles.serving.whole import Pages
from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.basics.limits import raise_open_files
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import ConsoleSession, ConsoleTarget, RedeemTicket, ResumeSession, ServiceSeen, TaskBody
from sysvm.wire.documents import Certificate, ConsoleProxyDocument, SystemVmDocument
from sysvm.wire.machines import BootData, ServiceFault, Traffic

OPEN_FILES = 16_384  # two for each session
MAX_FRAME = 16 * 1024 * 1024
READ_BUFFER = 4096  # to begin with: browsers say little
IDLE_LOOK_S = 1.0
REPORT_GAP_S = 0.1  # a crowd that arrives at once is told in one report

log = get_logger()


class SocketAcceptor:
    """picows on one socket."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    async def close(self) -> None:
        """No more connections from here."""
        self._server.close()


class ConsoleProxyRole(Role):
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._table = SessionTable(Limits())
        self._news = asyncio.Event()
        self._document: ConsoleProxyDocument | None = None
        self._live: ConsoleProxyDocument | None = None
        self._faults: tuple[ServiceFault, ...] = ()
        self._pages = Pages(pages.console_pages(self._picture))
        self._status = Pages(pages.status_pages(self._sessions))
        self._doors = {"page": Door(self._pages.accept), "websocket": Door(self._accept)}
        self._status_doors: dict[str, Door] = {}

    @property
    def ports(self) -> dict[str, int]:
        """Where each service listens now."""
        return {name: door.port for name, door in {**self._doors, **self._status_doors}.items()}

    # ------------------------------------------------------------ the role
    async def start(self, tasks: Tasks) -> None:
        memory.keep_buffers()
        raise_open_files(OPEN_FILES)
        # Below warnings picows writes whole requests into its log, and a ticket may be in them.
        logging.getLogger("picows").setLevel(logging.WARNING)
        self._desk = ProxyDesk(
            self._table,
            Outside(ask=self._ask, spawn=tasks.start, now=self._now, changed=self._news.set),
        )
        tasks.start(self._report_load(), "load reports")
        tasks.start(self._watch_idle(), "idle sessions")

    async def apply(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        if not isinstance(document, ConsoleProxyDocument):
            raise Refused("this machine is a console proxy, and the document is not one's")
        self._document = document
        self._table.change(Limits(document.max_sessions, document.idle_s, document.draining))
        self._desk.others = document.others
        if document.draining:
            self._desk.move_all()
        faults = [*self._trust_relays(document), *await self._open_doors(document)]
        faults += await self._open_status(document)
        if gone := pages.missing():
            faults.append(_fault("page", f"the console page is not whole: {gone}", "run web/build, then build the template"))
        self._faults = tuple(faults)
        if not faults:
            self._live = document
        self._news.set()
        return self._faults

    async def live(self) -> str:
        return digest(self._live) if self._live is not None and self._live is self._document else ""

    async def faults(self) -> tuple[ServiceFault, ...]:
        return self._faults

    def services(self) -> tuple[ServiceSeen, ...]:
        note = f"{len(self._table)} sessions"
        return tuple(
            ServiceSeen(name=name, running=port > 0, note=note if name == "websocket" else "")
            for name, port in self.ports.items()
        )

    async def run_task(self, name: str, body: TaskBody, progress: Progress) -> msgspec.Struct | None:
        raise Refused(f"a console proxy has no such work: {type(body).__name__}")

    async def forget_task(self, name: str, body: TaskBody) -> None:
        return

    async def stop(self) -> None:
        for door in (*self._doors.values(), *self._status_doors.values()):
            await door.close()
        self._desk.end_all()
        await self._pages.stop()
        await self._status.stop()

    # ------------------------------------------------------------ making it true
    def _trust_relays(self, document: ConsoleProxyDocument) -> list[ServiceFault]:
        if not document.relay_ca or document.relay_certificate is None:
            self._desk.relays = None
            return [_fault("relays", "the document brings no certificate for the hosts' relays", "wait for the server")]
        try:
            self._desk.relays = relay_context(document.relay_ca, document.relay_certificate)
        except BadCertificate as error:
            return [_fault("relays", str(error), "let the server issue the certificate anew")]
        return []

    async def _open_doors(self, document: ConsoleProxyDocument) -> list[ServiceFault]:
        try:
            contexts = [_context_for(document.certificate) for _ in self._doors]
        except BadCertificate as error:
            return [_fault("certificate", str(error), "upload certificate, chain and key again")]
        wanted = {"page": document.page_port, "websocket": document.websocket_port}
        faults = []
        for (name, door), context in zip(self._doors.items(), contexts, strict=True):
            try:
                await door.open(document.listen, wanted[name], context)
            except OSError as error:
                why = f"port {wanted[name]} of {document.listen} cannot be opened: {error}"
                faults.append(_fault(name, why, "look who has it"))
        return faults

    async def _open_status(self, document: ConsoleProxyDocument) -> list[ServiceFault]:
        faults = []
        for address in inner_addresses(self._context.boot):
            door = self._status_doors.setdefault(f"status {address}", Door(self._status.accept))
            try:
                await door.open(address, document.command_port, None)
            except OSError as error:
                why = f"port {document.command_port} of {address} cannot be opened: {error}"
                faults.append(_fault("status", why, "look who has it"))
        return faults

    # ------------------------------------------------------------ browsers
    async def _accept(self, listening: socket, context: ssl.SSLContext | None) -> SocketAcceptor:
        sizes: dict[str, Any] = {"ssl_incoming_bio_size": memory.RECORDS, "ssl_outgoing_bio_size": memory.RECORDS}
        server = await ws_create_server(
            self._knock,
            sock=listening,
            ssl=context,
            **(sizes if context is not None else {}),
            use_aiofastnet=True,
            max_frame_size=MAX_FRAME,
            read_buffer_init_size=READ_BUFFER,
            websocket_handshake_timeout=10,
        )
        return SocketAcceptor(server)

    def _knock(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        origins = self._document.origins if self._document is not None else ()
        knock = read_knock(request.path.decode("latin-1"), request.headers, origins)
        if isinstance(knock, TurnedAway):
            log.info("console_refused", status=knock.status, why=knock.text)
            response = WSUpgradeResponse.create_error_response(knock.status, knock.text.encode())
            return WSUpgradeResponseWithListener(response, None)
        extra = {"Sec-WebSocket-Protocol": knock.subprotocol} if knock.subprotocol else None
        viewer = Viewer(next(self._numbers), knock, self._desk)
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), viewer)

    async def _ask(self, ask: RedeemTicket | ResumeSession) -> ConsoleTarget:
        return await self._context.line.ask(ask, ConsoleTarget)

    async def _picture(self, ticket: str, client: str, size: tuple[int, int]) -> bytes:
        return await self._desk.picture(ticket, client, size)

    # ------------------------------------------------------------ beside documents
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _sessions(self) -> tuple[ConsoleSession, ...]:
        return self._table.sessions(self._now(), self._context.clock.now())

    async def _report_load(self) -> None:
        while True:
            await self._until_news(self._document.load_interval_ms / 1000 if self._document else None)
            await self._context.line.notify(self._table.report(self._now(), self._context.clock.now()))
            await self._context.clock.sleep(REPORT_GAP_S)

    async def _until_news(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    async def _watch_idle(self) -> None:
        while True:
            await self._context.clock.sleep(IDLE_LOOK_S)
            self._desk.end_idle()


def inner_addresses(boot: BootData) -> tuple[str, ...]:
    """This machine's own addresses on the control and management segments."""
    inner = (nic for nic in boot.nics if nic.segment.traffic in (Traffic.CONTROL, Traffic.MANAGEMENT))
    return tuple(nic.addresses[0].partition("/")[0] for nic in inner if nic.addresses)


def _context_for(certificate: Certificate | None) -> ssl.SSLContext | None:
    return server_context(certificate) if certificate is not None else None


def _fault(service: str, why: str, remedy: str) -> ServiceFault:
    return ServiceFault(service=service, why=why, remedy=remedy)
