"""How two host agents speak about a router whose service goes from the one to the other: the protocol of links through a door.

The host that has the next incarnation opens a door (doors.py) for one attempt and the one host that it was told of. Behind it is
a unix socket of this agent. One attempt for each machine: a new one ends the one before. An agent that dies takes its doors with
it; the server has them opened again when it finds none (`place` is None).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from sysvm.basics.errors import Refused
from sysvm.basics.tasks import Tasks
from sysvm.hosts.layout import Layout
from sysvm.hosts.moves.doors import Doors, Guest, Streams, reach
from sysvm.wire.channel import AgentCallBody
from sysvm.wire.handover import HostToHost, ServiceTaken, TakeConnections, Taken, TakeService
from sysvm.wire.link import EnsureLanding, EnsureSent
from sysvm.wire.machines import LandingPlace
from sysvm.wire.peer import Peer

STREAM = "service"
_REACH_S = 5.0
_COPY_S = 20.0
_bodies: msgspec.msgpack.Decoder[HostToHost] = msgspec.msgpack.Decoder(HostToHost)


class Agents(Protocol):
    """The agents inside, as far as they are needed here."""

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """Its answer. Raises NotYet while it is not connected."""
        ...


class Taker(Protocol):
    """Who takes services here (service.HostService)."""

    def expects(self, machine: str, attempt: str) -> bool:
        """Whether one may still come in this attempt."""
        ...

    async def take_service(self, machine: str, incarnation: int, attempt: str) -> str:
        """Why it does not serve here, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class _Expected:
    attempt: str
    server: asyncio.Server
    place: LandingPlace


class DoorWay:
    """Satisfies relocation.Way. `taker` is set when there is one: each needs the other."""

    taker: Taker

    def __init__(
        self, layout: Layout, doors: Doors, agents: Agents, tasks: Tasks, *,
        host: Callable[[], str], context: Callable[[], ssl.SSLContext],
    ) -> None:  # fmt: skip
        self._layout = layout
        self._doors = doors
        self._agents = agents
        self._tasks = tasks
        self._host = host
        self._context = context
        self._expected: dict[str, _Expected] = {}

    # ------------------------------------------------------------ here
    async def open(self, order: EnsureLanding) -> None:
        """See Way."""
        machine, incarnation = order.spec.machine, order.spec.incarnation
        if self.place(machine) is not None and self._expected[machine].attempt == order.attempt:
            return
        self._forget_old()
        path = self._layout.run / "handover" / f"{machine[:8]}.{incarnation}.sock"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)

        def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._tasks.start(self._serve(order, reader, writer), "handover")

        server = await asyncio.start_unix_server(visit, str(path))
        guest = Guest(order.sender, {STREAM: path}, lambda: self.taker.expects(machine, order.attempt))
        place = LandingPlace(
            address=self._doors.address, port=self._doors.open(order.attempt, guest), host=self._host(),
            mark=self._layout.hash8, sockets="", console_log="",
        )  # fmt: skip
        self._expected[machine] = _Expected(order.attempt, server, place)

    def place(self, machine: str) -> LandingPlace | None:
        """See Way."""
        found = self._expected.get(machine)
        return found.place if found is not None and self.taker.expects(machine, found.attempt) else None

    def _forget_old(self) -> None:
        for machine in [name for name in self._expected if self.place(name) is None]:
            self._expected.pop(machine).server.close()

    async def _serve(self, order: EnsureLanding, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine, incarnation = order.spec.machine, order.spec.incarnation

        async def serve(raw: msgspec.Raw) -> msgspec.Struct:
            body = _bodies.decode(raw)
            if isinstance(body, TakeConnections):
                return await self._agents.call(machine, incarnation, body)
            return ServiceTaken(why=await self.taker.take_service(machine, incarnation, order.attempt))

        # What serves a call outlives the way: it is done whole, whoever hears of it.
        await Peer(reader, writer, serve=serve, hear=_hear_nothing).run(self._tasks)

    # ------------------------------------------------------------ there
    @asynccontextmanager
    async def to(self, order: EnsureSent) -> AsyncIterator["DoorThere"]:
        """See Way."""
        async with asyncio.timeout(_REACH_S):
            reader, writer = await self._reach(order)
        peer = Peer(reader, writer, serve=_serve_nothing, hear=_hear_nothing)
        running = self._tasks.start(peer.run(self._tasks), "handover")
        try:
            yield DoorThere(peer)
        finally:
            peer.abort()
            running.cancel()

    async def _reach(self, order: EnsureSent) -> Streams:
        streams = await reach(order.place, self._layout.namespace, self._context())
        streams[1].write(f"{order.attempt} {STREAM}\n".encode())
        await streams[1].drain()
        return streams


class DoorThere:
    """Satisfies relocation.There."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def take_connections(self, body: TakeConnections) -> Taken:
        """See There."""
        return await self._peer.call(body, Taken, seconds=_COPY_S)

    async def take_service(self, body: TakeService, seconds: float) -> ServiceTaken:
        """See There."""
        return await self._peer.call(body, ServiceTaken, seconds=seconds)


async def _serve_nothing(raw: msgspec.Raw) -> msgspec.Struct:
    raise Refused("the host that takes a service asks for nothing")


async def _hear_nothing(raw: msgspec.Raw) -> None:
    """Hosts tell each other no news."""
