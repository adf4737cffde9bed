"""Channels to agents that stand still: noticed, and taken up again when the agent goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.tasks import Tasks
from sysvm.hosts import channels
from sysvm.hosts.channels import Channels
from sysvm.hosts.driver import ChannelEnd, DialTo, ListenAt
from sysvm.wire import channel, link
from sysvm.wire.channel import PROTOCOL, AgentHello, AgentReport
from sysvm.wire.machines import Kind
from sysvm.wire.peer import Peer
from tests.hosts.progress import until

MACHINE = "11111111-2222-3333-4444-555555555555"
HELLO = AgentHello(protocol=PROTOCOL, machine=MACHINE, incarnation=1, kind=Kind.ROUTER, version="1", boot="b", live="")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute takes a blink."""
    monkeypatch.setattr(channels, "_PING_EVERY_S", 0.05)
    monkeypatch.setattr(channels, "_PING_S", 0.1)


class Inside:
    """An agent: it serves while it is `awake`; one `of_before` knows no pings."""

    def __init__(self, *, of_before: bool = False) -> None:
        self.awake = asyncio.Event()
        self.awake.set()
        self.pings = 0
        self._of_before = of_before
        self.peer: Peer | None = None

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hello: bool = True) -> None:
        """Until the connection ends."""
        self.peer = Peer(reader, writer, serve=self._serve, hear=_nothing, strict=False)
        async with Tasks() as tasks:
            if hello:
                await self.peer.notify(HELLO)
            await self.peer.run(tasks)
            tasks.stop()

    async def _serve(self, raw: msgspec.Raw) -> msgspec.Struct:
        await self.awake.wait()
        match msgspec.msgpack.decode(raw, type=channel.AgentCallBody):
            case channel.Greet():
                assert self.peer is not None
                await self.peer.notify(HELLO)
            case channel.Report():
                return AgentReport(boot="b", live="")
            case channel.Ping():
                self.pings += 1
                if self._of_before:
                    raise msgspec.ValidationError("Invalid value 'ping'")
        return link.Nothing()


async def _nothing(_raw: msgspec.Raw) -> None:
    pass


@asynccontextmanager
async def host(end: ChannelEnd) -> AsyncIterator[Channels]:
    """A host's channels, with one to our machine."""

    async def no_server(_ask: link.FromAgent) -> msgspec.Struct:
        raise AssertionError

    async with Tasks() as tasks:
        made = Channels(lambda _machine, _incarnation: end, tasks, SystemClock(), lambda _notice: None, no_server)
        await made.ensure(MACHINE, 1)
        yield made
        tasks.stop()


async def seen(made: Channels, *, there: bool) -> None:
    """Waits until the agent counts as connected, or as gone."""
    async for _ in until(SystemClock(), "the agent is seen" if there else "the agent is missed"):
        if (made.seen(MACHINE, 1) is not None) is there:
            return


async def dial(inside: Inside, socket: Path) -> None:
    """As agents in containers do: again and again."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(socket)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        await inside.speak(reader, writer)


async def test_an_agent_that_stands_still_is_missed_and_taken_up_again(tmp_path: Path):
    """In a container: it dials again when it goes on."""
    inside, socket = Inside(), tmp_path / "s"
    async with host(ListenAt(socket)) as made:
        dialling = asyncio.ensure_future(dial(inside, socket))
        await seen(made, there=True)
        async for _ in until(SystemClock(), "it is asked now and then"):
            if inside.pings > 3:
                break
        assert made.seen(MACHINE, 1) is not None
        dialling.cancel()  # it stands still: what it has open stays open
        reader, writer = await asyncio.open_unix_connection(socket)
        inside.awake.clear()
        standing = asyncio.ensure_future(inside.speak(reader, writer))
        await seen(made, there=True)
        await seen(made, there=False)
        inside.awake.set()
        dialling = asyncio.ensure_future(dial(inside, socket))
        await seen(made, there=True)
        for task in (standing, dialling):
            task.cancel()


async def test_a_machine_that_stands_still_is_missed_and_greeted_again(tmp_path: Path):
    """A VM: its serial port is there all the time, and the agent behind it knows of no connection."""
    inside, socket = Inside(), tmp_path / "s"
    port = await asyncio.start_unix_server(lambda reader, writer: inside.speak(reader, writer, hello=False), socket)
    async with host(DialTo(socket)) as made:
        await seen(made, there=True)
        inside.awake.clear()
        await seen(made, there=False)
        inside.awake.set()
        await seen(made, there=True)
    port.close()


async def test_an_agent_of_an_earlier_release_is_there_although_it_knows_no_pings(tmp_path: Path):
    """That it does not know is an answer."""
    inside, socket = Inside(of_before=True), tmp_path / "s"
    async with host(ListenAt(socket)) as made:
        dialling = asyncio.ensure_future(dial(inside, socket))
        await seen(made, there=True)
        async for _ in until(SystemClock(), "it was asked several times"):
            assert made.seen(MACHINE, 1) is not None
            if inside.pings > 5:
                break
        dialling.cancel()


async def test_a_machine_that_is_still_on_its_way_up_is_left_alone(tmp_path: Path):
    """Nobody behind the port answers yet; the connection stays."""
    connections, socket = [], tmp_path / "s"
    port = await asyncio.start_unix_server(lambda reader, writer: connections.append((reader, writer)), socket)
    async with host(DialTo(socket)) as made:
        async for _ in until(SystemClock(), "it is dialled"):
            if connections:
                break
        await asyncio.sleep(0.5)
        assert 1 == len(connections)
        assert made.seen(MACHINE, 1) is None
    port.close()
