"""A body that is read straight from its socket: every byte once and in order, a stall told, no byte beyond its length taken."""

import socket
from collections.abc import Iterator

import pytest
from storage_stage import QUICK, Exchange, Stage, raw

from sysvm.agent.roles.secstorage import direct
from sysvm.agent.roles.secstorage.direct import Direct
from sysvm.agent.roles.secstorage.fetch import SourceFailed
from sysvm.basics.errors import Refused

DATA = raw(10_007)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(ours, the source's); buffers are small, so that there are many."""
    monkeypatch.setattr(direct, "SIZE", 1000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def taken(body: Direct) -> bytes:
    return b"".join([bytes(batch) async for batch in body.batches(QUICK)])


@pytest.mark.parametrize("ahead", [0, 1, 999, 1000, 2500, 10_007])
async def test_what_was_read_ahead_comes_first_and_nothing_twice(line: tuple[socket.socket, socket.socket], ahead: int) -> None:
    ours, theirs = line
    theirs.sendall(DATA[ahead:] + b"more than was said")
    assert DATA == await taken(Direct(DATA[:ahead], ours, len(DATA)))


async def test_what_came_before_a_stall_is_kept(line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    theirs.sendall(DATA[:1500])
    came = b""
    with pytest.raises(SourceFailed, match="stalled"):
        async for batch in Direct(b"", ours, len(DATA)).batches(QUICK):
            came += bytes(batch)
    assert DATA[:1500] == came


async def test_an_early_end_is_the_end(line: tuple[socket.socket, socket.socket]) -> None:
    """That it was early is for who knows what the source said."""
    ours, theirs = line
    theirs.sendall(DATA[:1500])
    theirs.shutdown(socket.SHUT_WR)
    assert DATA[:1500] == await taken(Direct(b"", ours, len(DATA)))


async def test_a_source_that_sends_more_than_it_said_is_refused_in_few_words(ssvm: Stage) -> None:
    async def answer(ask: Exchange) -> None:
        await ask.say("200 OK", f"Content-Length: {len(DATA)}", body=DATA + b"x" * 100_000)

    with pytest.raises(Refused, match="does not answer") as refused:
        await ssvm.fetch(ssvm.source.serve("/a", answer))
    assert 300 > len(refused.value.text)
    assert set() == ssvm.left()
