"""Ends of links over TLS, whose connection goes while something is under way."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Unreachable
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority
from sysvm.hosts.identity import trusting
from sysvm.wire import link
from sysvm.wire.peer import Peer
from tests.hosts.progress import until


class Busy:
    """Serves calls when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def serve(self, _raw: msgspec.Raw) -> msgspec.Struct:
        """A call."""
        self.asked.set()
        await self.go_on.wait()
        return link.Nothing()


async def unheard(_raw: msgspec.Raw) -> None:
    """A notice."""


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server, and for who trusts it."""
    now = SystemClock().now()
    authority = Authority.new("cloud", now)
    issued, key = authority.issue("server", "sysvm://cloud/server", now, addresses=("127.0.0.1",))
    (tmp_path / "cert.pem").write_text(issued.chain)
    (tmp_path / "key.pem").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context, trusting(authority.ca_pem)


@asynccontextmanager
async def pair(tls: tuple[ssl.SSLContext, ssl.SSLContext], busy: Busy, tasks: Tasks) -> AsyncIterator[tuple[Peer, Peer]]:
    """One that asks, and one that is busy."""
    accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = Peer(reader, writer, serve=busy.serve, hear=unheard)
        await accepted.put(there)
        await there.run(tasks)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls[0])
    try:
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2], ssl=tls[1])
        here = Peer(reader, writer, serve=busy.serve, hear=unheard)
        tasks.start(here.run(tasks), "here")
        yield here, await accepted.get()
    finally:
        listener.close()


@pytest.mark.parametrize("ending", ["the other end goes", "we close, and close again", "we abort"])
async def test_an_answer_that_comes_after_the_link_ended_is_dropped(tls: tuple[ssl.SSLContext, ssl.SSLContext], ending: str):
    """What serves a call outlives its link; and nothing but the call fails."""
    busy = Busy()
    async with Tasks() as tasks, pair(tls, busy, tasks) as (here, there):
        asking = asyncio.ensure_future(here.call(link.Nothing(), link.Nothing))
        await busy.asked.wait()
        match ending:
            case "the other end goes":
                here.abort()
                async for _ in until(SystemClock(), "it is seen there"):
                    if not there.is_open:
                        break
            case "we close, and close again":
                there.close()
                there.close()
            case "we abort":
                there.abort()
                there.abort()
        busy.go_on.set()
        with pytest.raises(Unreachable):
            await asking
        with pytest.raises(Unreachable):
            await there.call(link.Nothing(), link.Nothing)
        await there.notify(link.Nothing())
        for _ in range(10):
            await asyncio.sleep(0)  # the answer is dropped, not raised to the parent of all tasks
        here.close()


async def test_nobody_complains_of_a_call_whose_caller_has_gone(tls: tuple[ssl.SSLContext, ssl.SSLContext]):
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: complaints.append(told))
    busy = Busy()
    async with Tasks() as tasks, pair(tls, busy, tasks) as (here, there):
        asking = asyncio.ensure_future(here.call(link.Nothing(), link.Nothing))
        await busy.asked.wait()
        there.abort()
        here.close()  # the answer is an error now,
        asking.cancel()  # and nobody looks
        await asyncio.gather(asking, return_exceptions=True)
        busy.go_on.set()
    del asking
    gc.collect()
    assert [] == complaints
