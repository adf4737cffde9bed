"""The channels to the agents inside system VMs: a unix socket that a container's agent dials, or a VM's serial port that
we dial.

A channel belongs to one incarnation, whatever the agent in it says about itself. The newest connection wins. What an
agent says is forwarded to the server and remembered as `AgentSeen` while it is connected; nothing else is kept: after a
restart of the host agent containers dial again and VMs are greeted.

An agent that stands still, or a machine whose kernel does, keeps its connection. So each is asked now and then whether it
is there; one that gives no answer twice is as one that is not connected, and the server's patience with it begins to run.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts.driver import ChannelEnd, DialTo, ListenAt
from sysvm.wire import channel, link
from sysvm.wire.handover import Connections, StandBy, TakeConnections, Taken, TakeOver, TellConnections
from sysvm.wire.machines import AgentSeen, OperationSeen
from sysvm.wire.peer import Peer

Place = tuple[str, int]
Notify = Callable[[link.HostNoticeBody], None]
AskServer = Callable[[link.FromAgent], Awaitable[msgspec.Struct]]
EndOf = Callable[[str, int], ChannelEnd | None]

_RETRY_S = 1.0
_APPLY_S = 120.0
_CALL_S = 30.0
_PING_EVERY_S = 20.0
_PING_S = 30.0
_PINGS = 2  # in a row without an answer
_notices: msgspec.msgpack.Decoder[channel.AgentNoticeBody] = msgspec.msgpack.Decoder(channel.AgentNoticeBody)
_asks: msgspec.msgpack.Decoder[channel.AgentAskBody] = msgspec.msgpack.Decoder(channel.AgentAskBody)
log = get_logger()


@dataclass(slots=True)
class Channel:
    """One incarnation's channel."""

    machine: str
    incarnation: int
    peer: Peer | None = None
    seen: AgentSeen | None = None
    work: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Channels:
    """All channels of a host. Satisfies service.Agents."""

    def __init__(self, end_of: EndOf, tasks: Tasks, clock: Clock, notify: Notify, ask_server: AskServer) -> None:
        self._end_of = end_of
        self._tasks = tasks
        self._clock = clock
        self._notify = notify
        self._ask_server = ask_server
        self._channels: dict[Place, Channel] = {}

    # ------------------------------------------------------------ service.Agents
    def seen(self, machine: str, incarnation: int) -> AgentSeen | None:
        """See Agents."""
        found = self._channels.get((machine, incarnation))
        return None if found is None else found.seen

    async def call(self, machine: str, incarnation: int, body: channel.AgentCallBody) -> msgspec.Struct:
        """See Agents. Answers pass as they are, except that reports are noticed in passing."""
        found = self._channels.get((machine, incarnation))
        if found is None or found.peer is None or found.seen is None:
            raise NotYet(1, "the agent is not connected")
        if isinstance(body, channel.Apply | channel.Report | StandBy | TakeOver):
            report = await found.peer.call(body, channel.AgentReport, seconds=_APPLY_S)
            _take_report(found, report)
            return report
        if isinstance(body, TellConnections):
            return await found.peer.call(body, Connections, seconds=_CALL_S)
        if isinstance(body, TakeConnections):
            return await found.peer.call(body, Taken, seconds=_CALL_S)
        answer: object = await found.peer.call(body, msgspec.Raw, seconds=_CALL_S)
        return answer  # type: ignore[return-value]  # encoded as it came

    async def ensure(self, machine: str, incarnation: int) -> None:
        """See Agents."""
        found = self._channels.get((machine, incarnation))
        if found is not None:
            found.wake.set()
            return
        end = self._end_of(machine, incarnation)
        if end is None:
            return
        found = Channel(machine, incarnation)
        self._channels[machine, incarnation] = found
        work = self._listen(found, end) if isinstance(end, ListenAt) else self._dial(found, end)
        found.work = self._tasks.start(work, f"channel {machine}.{incarnation}")

    async def drop(self, machine: str, incarnation: int) -> None:
        """See Agents."""
        found = self._channels.pop((machine, incarnation), None)
        if found is not None and found.work is not None:
            found.work.cancel()
            await asyncio.wait([found.work])

    # ------------------------------------------------------------ connections
    async def _listen(self, found: Channel, end: ListenAt) -> None:
        async with Tasks() as tasks:

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.start(self._serve(found, reader, writer, strict=True), "agent")

            end.socket.parent.mkdir(parents=True, exist_ok=True)
            end.socket.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(accept, end.socket)
            # The machine's root may dial, and nobody else.
            end.socket.chmod(0o600)
            os.chown(end.socket, end.owner, end.owner)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()

    async def _dial(self, found: Channel, end: DialTo) -> None:
        while True:
            found.wake.clear()
            try:
                reader, writer = await asyncio.open_unix_connection(end.socket)
            except OSError:
                await self._pause(found)
                continue
            await self._serve(found, reader, writer, strict=False)
            await self._pause(found)

    async def _pause(self, found: Channel) -> None:
        try:
            async with asyncio.timeout(_RETRY_S):
                await found.wake.wait()
        except TimeoutError:
            return

    async def _serve(self, found: Channel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, strict: bool) -> None:
        async def serve(raw: msgspec.Raw) -> msgspec.Struct:
            ask = _asks.decode(raw)
            return await self._ask_server(link.FromAgent(machine=found.machine, incarnation=found.incarnation, ask=ask))

        async def hear(raw: msgspec.Raw) -> None:
            self._take_notice(found, peer, _notices.decode(raw))

        peer = Peer(reader, writer, serve=serve, hear=hear, strict=strict)
        if found.peer is not None:
            found.peer.close()
        found.peer = peer
        try:
            async with Tasks() as tasks:
                tasks.start(self._greet(found, peer), "greet")
                tasks.start(self._ping(found, peer), "ping")
                await peer.run(tasks)
                tasks.stop()
        finally:
            peer.close()
            self._ended(found, peer)

    async def _greet(self, found: Channel, peer: Peer) -> None:
        # Serial ports have no connections: the agent does not know that somebody new listens. Tasks and faults are in no hello.
        try:
            await peer.call(channel.Greet(), msgspec.Raw, seconds=_CALL_S)
            _take_report(found, await peer.call(channel.Report(), channel.AgentReport, seconds=_APPLY_S))
        except (NotYet, Refused, Stale, Broken, Unreachable, msgspec.DecodeError) as error:
            log.info("greeting_unanswered", machine=found.machine, incarnation=found.incarnation, why=str(error))
            return
        self._notify(link.MachineChanged(machine=found.machine))

    async def _ping(self, found: Channel, peer: Peer) -> None:
        unanswered = 0
        while unanswered < _PINGS:
            await self._clock.sleep(0 if unanswered else _PING_EVERY_S)
            if found.seen is not None:  # else it is still on its way up
                unanswered = 0 if await _is_there(peer) else unanswered + 1
        if peer.is_open:
            log.warning("agent_stands_still", machine=found.machine, incarnation=found.incarnation, seconds=_PINGS * _PING_S)
            peer.abort()

    def _ended(self, found: Channel, peer: Peer) -> None:
        if found.peer is peer:
            found.peer, found.seen = None, None
            log.info("agent_disconnected", machine=found.machine, incarnation=found.incarnation)
            self._notify(link.MachineChanged(machine=found.machine))

    # ------------------------------------------------------------ what agents say
    def _take_notice(self, found: Channel, peer: Peer, notice: channel.AgentNoticeBody) -> None:
        if found.peer is not peer:
            return
        match notice:
            case channel.AgentHello():
                if (notice.machine, notice.incarnation) != (found.machine, found.incarnation):
                    log.warning("agent_claimed_to_be_another", machine=found.machine, claimed=notice.machine)
                    peer.close()
                    return
                self._take_hello(found, notice)
            case channel.AgentReport():
                _take_report(found, notice)
            case channel.TaskReport():
                _take_task(found, notice.task)
            case channel.RedundancyReport() if found.seen is not None:
                found.seen = msgspec.structs.replace(found.seen, redundancy=notice.state)
        self._notify(link.FromAgent(machine=found.machine, incarnation=found.incarnation, notice=notice))

    def _take_hello(self, found: Channel, hello: channel.AgentHello) -> None:
        same = found.seen is not None and found.seen.boot == hello.boot
        if same and found.seen is not None:
            found.seen = msgspec.structs.replace(
                found.seen, live=hello.live, standby=hello.standby, ready=hello.ready, redundancy=hello.redundancy
            )
            return
        found.seen = AgentSeen(
            boot=hello.boot, version=hello.version, live=hello.live, standby=hello.standby, ready=hello.ready,
            redundancy=hello.redundancy,
        )  # fmt: skip
        log.info("agent_connected", machine=found.machine, incarnation=found.incarnation, version=hello.version)
        self._notify(link.MachineChanged(machine=found.machine))


async def _is_there(peer: Peer) -> bool:
    try:
        await peer.call(channel.Ping(), msgspec.Raw, seconds=_PING_S)
    except Unreachable:
        return False
    except (NotYet, Refused, Stale, Broken, msgspec.DecodeError):
        return True
    return True


def _take_report(found: Channel, report: channel.AgentReport) -> None:
    if found.seen is not None:
        found.seen = msgspec.structs.replace(
            found.seen,
            boot=report.boot,
            live=report.live,
            faults=report.faults,
            operations=report.operations,
            standby=report.standby,
            ready=report.ready,
            carries=report.carries,
            redundancy=report.redundancy,
            notes=report.notes,
        )


def _take_task(found: Channel, task: OperationSeen) -> None:
    if found.seen is not None:
        others = tuple(known for known in found.seen.operations if known.name != task.name)
        found.seen = msgspec.structs.replace(found.seen, operations=(*others, task))
