"""The way of a running guest, or of a router's service, from host to host: byte streams over TLS 1.3 between two host agents,
unix sockets at both ends.

libvirt and QEMU know unix sockets only; no hypervisor listens on a network. The host that takes a guest in opens a door for one
attempt: it lets in the one host that it was told of, known by its certificate, and only to the three sockets of that attempt.

    /run/libvirt/moving/<attempt>/libvirt.sock | memory.sock | disks.sock     as libvirt sees them, on both hosts

An agent that dies takes its streams with it; what that means for the guest is the mover's.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts.storage.owners import Owner, give
from sysvm.hosts.system import netns
from sysvm.wire.machines import LandingPlace

PIECE = 256 * 1024
STREAMS = ("libvirt", "memory", "disks")
_GREETING_S = 10.0
# A way that carries nothing for so long is no way: QEMU itself would wait for a quarter of an hour.
_OPTIONS = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 20_000,
}
log = get_logger()
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Guest:
    """Who may come through the door, and where it leads."""

    sender: str
    sockets: dict[str, Path]  # by stream
    expected: Callable[[], bool]  # still


class Doors:
    """The listener of one host agent; it listens from the first attempt on."""

    def __init__(self, namespace: str | None, address: str, context: Callable[[], ssl.SSLContext], tasks: Tasks) -> None:
        self.address = address
        self._namespace = namespace
        self._context = context
        self._tasks = tasks
        self._guests: dict[str, Guest] = {}
        self._port = 0

    def open(self, attempt: str, guest: Guest) -> int:
        """The port at which the sender of this attempt is let in."""
        self._guests = {name: one for name, one in self._guests.items() if one.expected()} | {attempt: guest}
        if not self._port:
            door = self._listen()
            self._port = int(door.getsockname()[1])
            self._tasks.start(self._accept(door), "door")
        return self._port

    def _listen(self) -> socket.socket:
        if not self.address:
            raise NotYet(30, "this host has no underlay address (--underlay), by which other hosts could send it guests")
        door = netns.socket_in(self._namespace, socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        try:
            door.bind((self.address, 0))
            door.listen(64)
        except OSError as error:
            door.close()
            raise NotYet(5, f"cannot listen at {self.address}: {error}") from error
        return door

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with door:
            while True:
                visitor, _ = await loop.sock_accept(door)
                self._tasks.start(self._visit(visitor), "visitor")

    async def _visit(self, visitor: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_GREETING_S):
                reader, writer = await _accepted(visitor, self._context())
                line = (await reader.readline()).decode("ascii").split()
                target = self._target(line, writer)
                inner = await asyncio.open_unix_connection(str(target), limit=PIECE)
            await splice((reader, writer), inner)
        except (OSError, TimeoutError, ValueError) as error:
            log.info("visitor_not_let_in", why=str(error) or type(error).__name__)
        finally:
            visitor.close() if writer is None else writer.close()

    def _target(self, line: list[str], writer: asyncio.StreamWriter) -> Path:
        guest = self._guests.get(line[0]) if len(line) == 2 else None
        if guest is None or line[1] not in guest.sockets or not guest.expected():
            raise ValueError("no such attempt, or it is over")
        _need_host(writer, guest.sender)
        return guest.sockets[line[1]]


@asynccontextmanager
async def tunnel(
    sockets: dict[str, Path], place: LandingPlace, attempt: str, namespace: str | None, context: ssl.SSLContext, owner: Owner
) -> AsyncIterator[None]:
    """While it lasts whoever connects to one of the sockets speaks with the one of that name on the other host. They are for
    `owner` and root; their folder is there."""
    async with Tasks() as tasks:

        async def come(stream: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(_GREETING_S):
                    outer = await reach(place, namespace, context)
                    outer[1].write(f"{attempt} {stream}\n".encode())
                await splice((reader, writer), outer)
            except (OSError, TimeoutError) as error:
                log.warning("host_not_reached", address=place.address, why=str(error) or type(error).__name__)
            finally:
                writer.close()

        servers = []
        for stream, path in sockets.items():
            path.unlink(missing_ok=True)

            def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: str = stream) -> None:
                tasks.start(come(stream, reader, writer), stream)

            servers.append(await asyncio.start_unix_server(visit, str(path), limit=PIECE))
            give(path, owner)
        try:
            yield
        finally:
            for server in servers:
                server.close()
            for path in sockets.values():
                path.unlink(missing_ok=True)
            tasks.stop()


async def reach(place: LandingPlace, namespace: str | None, context: ssl.SSLContext) -> Streams:
    """Streams to the door of the host that is meant, and of no other one."""
    plain = await netns.connect_in(namespace, place.address, place.port)
    _watch_over(plain)
    streams = await asyncio.open_connection(sock=plain, ssl=context, server_hostname=place.host, limit=PIECE)
    try:
        _need_host(streams[1], place.host)
    except ValueError as error:
        streams[1].close()
        raise OSError(str(error)) from error
    return streams


async def _accepted(visitor: socket.socket, context: ssl.SSLContext) -> Streams:
    loop = asyncio.get_running_loop()
    visitor.setblocking(False)
    _watch_over(visitor)
    reader = asyncio.StreamReader(limit=PIECE, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, visitor, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _watch_over(way: socket.socket) -> None:
    way.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _OPTIONS.items():
        way.setsockopt(socket.IPPROTO_TCP, option, value)


def _need_host(writer: asyncio.StreamWriter, host: str) -> None:
    """The other end's certificate, which is of our CA, is that host's."""
    names = (writer.get_extra_info("peercert") or {}).get("subjectAltName", ())
    if not any(kind == "URI" and value.endswith(f"/host/{host}") for kind, value in names):
        raise ValueError(f"the other end is not host {host}")


async def splice(one: Streams, other: Streams) -> None:
    """Copies both ways until either end is done."""
    async with Tasks() as tasks:

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(PIECE):
                    writer.write(data)
                    await writer.drain()
            tasks.stop()

        tasks.start(copy(one[0], other[1]), "there")
        tasks.start(copy(other[0], one[1]), "back")
    for _, writer in (one, other):
        writer.close()
