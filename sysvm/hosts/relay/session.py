"""One visitor of the console relay: a line with a grant, a line of answer, then bytes both ways until either side ends.

Nothing is buffered without bound: each direction reads no more than one piece before the other side has taken the last one.
A visitor has a deadline until it is answered; after that only the death of either end ends the session.
"""

import asyncio
import os
import pty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sysvm.basics.tasks import Tasks
from sysvm.hosts.driver import TextCommand
from sysvm.hosts.relay.targets import Target, UnixSocket
from sysvm.wire.grants import BadGrant, Grant

PIECE = 64 * 1024
_LINE = 4096
_ANSWER_BY = 10.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Redeem = Callable[[str], Grant]
Find = Callable[[Grant], Target | None]


class No(Exception):
    """The visitor gets this as the relay's answer."""

    word = "NO"


class NotNow(No):
    """There is nothing to be seen here now. The machine may be on its way to another host, or be starting anew: the server
    knows where to ask next, so it is not for a visitor to give up."""

    word = "WAIT"


async def serve(visitor: Streams, redeem: Redeem, find: Find) -> Grant:
    """Serves a visitor to its end; the grant that it showed. Raises No after having said so."""
    reader, writer = visitor
    try:
        async with asyncio.timeout(_ANSWER_BY):
            grant = await _grant(reader, redeem)
        target = find(grant)
        if target is None:
            raise NotNow(f"the machine has no {grant.kind} console on this host")
        async with _opened(target) as screen:
            writer.write(b"OK\n")
            await _splice(visitor, screen)
    except No as no:
        writer.write(f"{no.word} {no}\n".encode("ascii", "replace"))
        raise
    return grant


async def _grant(reader: asyncio.StreamReader, redeem: Redeem) -> Grant:
    try:
        line = await reader.readuntil(b"\n")
        return redeem(line[:_LINE].decode("ascii").strip())
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeDecodeError):
        raise No("that is no grant") from None
    except BadGrant as bad:
        raise No(f"the grant is refused: {bad}") from None


# ---------------------------------------------------------------- the screen's side
@asynccontextmanager
async def _opened(target: Target) -> AsyncIterator[Streams]:
    match target:
        case UnixSocket():
            try:
                streams = await asyncio.open_unix_connection(str(target.path), limit=PIECE)
            except OSError:
                raise NotNow("the machine is not running") from None
            try:
                yield streams
            finally:
                streams[1].close()
        case TextCommand():
            async with _terminal(target.argv) as streams:
                yield streams


@asynccontextmanager
async def _terminal(argv: tuple[str, ...]) -> AsyncIterator[Streams]:
    """The command in a pseudo-terminal of its own; it is killed at the end."""
    loop = asyncio.get_running_loop()
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", "--wait", *argv), stdin=theirs, stdout=theirs, stderr=theirs
        )
    except OSError:
        os.close(ours)
        raise No(f"{argv[0]} cannot be run on this host") from None
    finally:
        os.close(theirs)
    reader = asyncio.StreamReader(limit=PIECE)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(ours), "rb", 0))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(ours, "wb", 0))
    try:
        yield reader, asyncio.StreamWriter(transport, protocol, None, loop)
    finally:
        transport.abort()
        reading.close()
        if process.returncode is None:
            process.terminate()
        await process.wait()


# ---------------------------------------------------------------- bytes
async def _splice(one: Streams, other: Streams) -> None:
    """Copies both ways; when either direction ends, so does the other."""
    async with Tasks() as tasks:

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(PIECE):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass  # either end has died, which is one of the ways to end a session
            finally:
                tasks.stop()

        tasks.start(copy(one[0], other[1]), "to the machine")
        tasks.start(copy(other[0], one[1]), "from the machine")
