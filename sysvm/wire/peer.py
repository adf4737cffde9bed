"""One end of a link: numbers its calls and awaits their answers, and serves the calls of the other end.

    peer = Peer(reader, writer, serve=serve_call, hear=hear_notice)
    async with Tasks() as tasks:
        tasks.start(peer.run(tasks), "link")
        report = await peer.call(channel.Report(), channel.AgentReport, seconds=5)

Calls of the other end are served concurrently, each in a task of its own; its notices are heard one after another, in
order. When the stream ends, `run` returns and every
call still waiting raises Unreachable: its outcome is unknown. Writes are whole frames, so callers need no lock; a
writer that is not drained by its reader suspends the caller (back-pressure), never the reading side.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks, awaited_perhaps
from sysvm.basics.transports import cut
from sysvm.wire.envelope import Answer, Call, Envelope, Fault, FaultKind, Notice
from sysvm.wire.frames import BadFrame, FrameReader, frame

T = TypeVar("T")
Serve = Callable[[msgspec.Raw], Awaitable[msgspec.Struct]]
Hear = Callable[[msgspec.Raw], Awaitable[None]]

_envelopes: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)
_encoder = msgspec.msgpack.Encoder()
log = get_logger()


def fault_of(error: BaseException) -> Fault:
    """How an exception of the serving side travels."""
    match error:
        case NotYet():
            return Fault(kind=FaultKind.NOT_YET, text=error.why, after=error.after)
        case Refused():
            return Fault(kind=FaultKind.REFUSED, text=error.text)
        case Stale():
            return Fault(kind=FaultKind.STALE, text=str(error) or "a newer fence has been seen")
        case msgspec.ValidationError():
            return Fault(kind=FaultKind.UNKNOWN, text=str(error))
        case _:
            return Fault(kind=FaultKind.BROKEN, text=f"{type(error).__name__}: {error}")


def error_of(fault: Fault) -> Exception:
    """The exception that the calling side raises for a fault."""
    match fault.kind:
        case FaultKind.NOT_YET:
            return NotYet(fault.after, fault.text)
        case FaultKind.REFUSED | FaultKind.UNKNOWN:
            return Refused(fault.text)
        case FaultKind.STALE:
            return Stale(fault.text)
        case _:
            return Broken(fault.text)


class Peer:
    """This end of a framed stream."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        serve: Serve,
        hear: Hear,
        strict: bool = True,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._serve = serve
        self._hear = hear
        self._frames = FrameReader(strict=strict)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._unheard: list[Notice] = []
        self._listener: asyncio.Task[None] | None = None  # while there is something to hear: most links are silent
        self._open = True

    @property
    def is_open(self) -> bool:
        """False once the stream has ended."""
        return self._open

    async def run(self, tasks: Tasks) -> None:
        """Reads until the stream ends; serving tasks are children of `tasks`. Never raises for a dead peer."""
        try:
            while data := await self._reader.read(256 * 1024):
                for payload in self._frames.feed(data):
                    self._take(_envelopes.decode(payload), tasks)
        except (OSError, BadFrame, msgspec.DecodeError, RecursionError) as error:
            log.warning("link_broken", why=f"{type(error).__name__}: {error}")
        finally:
            if self._listener is not None:
                self._listener.cancel()
            self.close()

    def close(self) -> None:
        """Ends the stream, once; waiting calls raise Unreachable."""
        if not self._open:
            return
        self._open = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unreachable("the link ended before the answer came"))
        self._waiting.clear()
        self._writer.close()

    def abort(self) -> None:
        """The same for an end that is silent: nobody waits for its part of TLS's good-bye, which takes 30 s."""
        self.close()
        cut(self._writer.transport)

    async def call(self, body: msgspec.Struct, answer: type[T], *, seconds: float = 20.0) -> T:
        """The answer to `body`. Raises NotYet, Refused, Stale, Broken (the other side's words) or Unreachable."""
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = awaited_perhaps()
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(seconds):
                await self._send(Call(number, msgspec.Raw(_encoder.encode(body))))
                got = await waiting
        except TimeoutError:
            raise Unreachable(f"no answer within {seconds:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if got.fault is not None:
            raise error_of(got.fault)
        return msgspec.msgpack.decode(got.body, type=answer)

    async def notify(self, body: msgspec.Struct) -> None:
        """Sends news; silently lost when the link is down."""
        if self._open:
            await self._send(Notice(msgspec.Raw(_encoder.encode(body))))

    async def _send(self, envelope: Envelope) -> None:
        if not self._open:  # a TLS transport that is closed cannot be written to at all (Python 3.11)
            raise Unreachable("the link is down")
        try:
            self._writer.write(frame(envelope))
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise Unreachable(f"the link broke: {error}") from error

    def _take(self, envelope: Envelope, tasks: Tasks) -> None:
        match envelope:
            case Answer():
                waiting = self._waiting.pop(envelope.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(envelope)
            case Call():
                tasks.start(self._answer(envelope), "serve")
            case Notice():
                self._unheard.append(envelope)
                if self._listener is None:
                    self._listener = tasks.start(self._listen(), "listen")

    async def _answer(self, call: Call) -> None:
        # The one border where a bug here becomes a fault there.
        try:
            result: Any = await self._serve(call.body)
            answer = Answer(call.number, msgspec.Raw(_encoder.encode(result)))
        except Exception as error:
            if fault_of(error).kind is FaultKind.BROKEN:
                log.exception("call_failed")
            answer = Answer(call.number, fault=fault_of(error))
        try:
            await self._send(answer)
        except Unreachable:
            self.close()

    async def _listen(self) -> None:
        try:
            while self._unheard:
                notice = self._unheard.pop(0)
                try:
                    await self._hear(notice.body)
                except (msgspec.ValidationError, RecursionError) as error:
                    log.warning("notice_not_understood", why=str(error))
        finally:
            self._listener = None
