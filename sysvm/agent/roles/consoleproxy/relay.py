"""The proxy's way to a screen: TLS to the relay on the guest's host, one line with the grant, one line of answer, then bytes.

    proxy -> relay   <grant>\\n
    relay -> proxy   OK\\n   or   NO <why>\\n   or   WAIT <why>\\n   (nothing to be seen now: ask the server again where it is)

`RelayAnswer` is the sans-IO half. `Screen` is the protocol object: one buffer serves all screens of the process, because
bytes are handed on within the call that read them and whoever cannot send them at once copies what is left. It has room in
front, so that a whole buffer is a frame by itself.
Races thought of: console bytes may arrive in the same segment as the answer; the relay may die before it answers.
"""

import asyncio
import ssl
from typing import Protocol, cast

import aiofastnet

from sysvm.agent.roles.serving import memory
from sysvm.agent.roles.serving.door import notice_death
from sysvm.basics.errors import NotYet, Refused, Unreachable
from sysvm.wire.channel import ConsoleTarget

MAX_ANSWER = 512
OPEN_SECONDS = 10.0
RETRY_S = 1.0
HEAD = 14  # room for the header of a websocket's frame, as picows wants it
_READ = 32 * 1024
_frame = bytearray(HEAD + _READ)
_shared = memoryview(_frame)[HEAD:]


class RelayAnswer:
    """Collects the relay's line; what follows it is console bytes."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """(answered OK, console bytes so far). Raises Refused for NO, NotYet for WAIT, Unreachable for anything else."""
        self._line += data
        line, newline, rest = bytes(self._line).partition(b"\n")
        if not newline:
            if len(line) > MAX_ANSWER:
                raise Unreachable("the host's relay answered with something else")
            return False, b""
        if line == b"OK":
            return True, rest
        word, _, why = line[:MAX_ANSWER].decode("ascii", "replace").partition(" ")
        if word == "NO":
            raise Refused(f"the host's relay refused: {why}")
        if word == "WAIT":
            raise NotYet(RETRY_S, why)
        raise Unreachable("the host's relay answered with something else")


class ScreenHears(Protocol):
    """Who gets the screen's bytes."""

    def screen_says(self, data: memoryview | bytes) -> None:
        """Bytes for the browser; they are not kept."""
        ...

    def screen_fills(self, frame: bytearray) -> None:
        """The same, after HEAD bytes that may be written over: what comes in bulk is not copied for its header's sake."""
        ...

    def screen_is_full(self, full: bool) -> None:
        """The relay takes no more for now, or does again."""
        ...

    def screen_ended(self) -> None:
        """The relay has closed."""
        ...


class Screen(asyncio.BufferedProtocol):
    """A connection to a relay."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer: RelayAnswer | None = RelayAnswer()
        self._early = bytearray()
        self._hears: ScreenHears | None = None
        self._transport: asyncio.Transport | None = None
        self._ended = False

    def attach(self, hears: ScreenHears) -> None:
        """From now on bytes go to `hears`."""
        self._hears = hears
        if self._early:
            hears.screen_says(bytes(self._early))
            self._early.clear()
        self.read(True)
        if self._ended:
            hears.screen_ended()

    def write(self, data: bytes | memoryview) -> None:
        """To the screen."""
        if self._transport is not None:
            self._transport.write(data)

    def read(self, on: bool) -> None:
        """Whether the screen's bytes are wanted now."""
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def close(self) -> None:
        """Ends it."""
        self._hears = None
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        notice_death(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _shared

    def buffer_updated(self, nbytes: int) -> None:
        if self._hears is not None and nbytes == _READ:
            self._hears.screen_fills(_frame)
        elif self._hears is not None:
            self._hears.screen_says(_shared[:nbytes])
        elif self._answer is not None:
            self._hear_answer(bytes(_shared[:nbytes]))
        else:
            self._early += _shared[:nbytes]

    def _hear_answer(self, data: bytes) -> None:
        assert self._answer is not None
        try:
            good, rest = self._answer.feed(data)
        except (Refused, NotYet, Unreachable) as error:
            self._fail(error)
            return
        if good:
            self._answer = None
            self._early += rest
            self.read(False)
            if not self.opened.done():
                self.opened.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        if not self.opened.done():
            self.opened.set_exception(Unreachable(f"the host's relay hung up: {exc or 'without a word'}"))
        if self._hears is not None:
            self._hears.screen_ended()

    def pause_writing(self) -> None:
        if self._hears is not None:
            self._hears.screen_is_full(True)

    def resume_writing(self) -> None:
        if self._hears is not None:
            self._hears.screen_is_full(False)


async def open_screen(target: ConsoleTarget, context: ssl.SSLContext) -> Screen:
    """A screen whose relay has said OK; reading is paused. Raises Refused, NotYet or Unreachable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            _, screen = await aiofastnet.create_connection(
                loop, Screen, target.relay_host, target.relay_port, ssl=context, server_hostname=target.relay_host,
                ssl_incoming_bio_size=memory.RECORDS, ssl_outgoing_bio_size=memory.RECORDS,
            )  # fmt: skip
            try:
                screen.write(f"{target.grant}\n".encode())
                await screen.opened
            except BaseException:
                screen.close()
                raise
    except TimeoutError:
        raise Unreachable(f"the host's relay did not answer within {OPEN_SECONDS:g} s") from None
    except (OSError, ValueError, OverflowError) as error:  # a place that is none is as good as one that is silent
        raise Unreachable(f"the host's relay at {target.relay_host} cannot be reached: {error}") from error
    return screen
