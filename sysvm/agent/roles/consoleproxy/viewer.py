"""One browser's websocket: from its knock to its end.

    asking   waiting for the ticket (in the query, or in the first control frame)
    opening  the ticket is with the server, then the relay is dialled; the browser is not read meanwhile
    open     bytes go both ways; whoever is slow stops the other side, so nothing piles up here

Policy is elsewhere: `knock` (who may come in), `sessions` (limits), `rfb` (what counts as work), `control` (frames).
picows calls into this object from its C parser; whatever it raises ends the connection.
"""

import asyncio
from typing import Protocol, cast

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from sysvm.agent.roles.consoleproxy import control
from sysvm.agent.roles.consoleproxy.control import Key, Refusal
from sysvm.agent.roles.consoleproxy.knock import Knock, plausible
from sysvm.agent.roles.consoleproxy.relay import HEAD, Screen
from sysvm.agent.roles.consoleproxy.rfb import Viewer as RfbViewer
from sysvm.agent.roles.serving.memory import WAITING
from sysvm.wire.channel import ConsoleTarget

CLOSE_SECONDS = 5.0


class Desk(Protocol):
    """Where viewers are looked after."""

    def arrived(self, viewer: "Viewer") -> None:
        """Its websocket stands."""
        ...

    def showed(self, viewer: "Viewer", key: Key) -> None:
        """Its ticket, or the secret of its session, is here."""
        ...

    def measured(self, viewer: "Viewer", round_trip_ms: float) -> None:
        """Its page knows how far away it is."""
        ...

    def worked(self, viewer: "Viewer") -> None:
        """Its user did something."""
        ...

    def left(self, viewer: "Viewer") -> None:
        """It is gone."""
        ...


class Viewer(WSListener):
    """A browser, or a program that acts like one."""

    def __init__(self, number: int, knock: Knock, desk: Desk) -> None:
        self.number = number
        self.client = ""
        self.gone = False
        self._knock = knock
        self._desk = desk
        self._transport: WSTransport | None = None
        self._screen: Screen | None = None
        self._rfb: RfbViewer | None = None
        self._asking = True
        self._closing: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ the desk's side
    def greet(self, target: ConsoleTarget, screen: Screen, proxies: tuple[str, ...]) -> None:
        """The console is there: from now on bytes flow."""
        self._say(
            control.Opened(
                kind=target.kind,
                name=target.name,
                session=target.session,
                view_only=target.view_only,
                resume=target.resume,
                proxies=proxies,
            )
        )
        if target.kind == "vnc":
            self._rfb = RfbViewer(view_only=target.view_only)
        self._screen = screen
        screen.attach(self)
        self._read(True)

    def move(self, proxies: tuple[str, ...]) -> None:
        """Asks the page to go on elsewhere; a program that does not speak control frames stays to the end."""
        if self._screen is not None:
            self._say(control.Move(proxies))

    def turn_away(self, refusal: Refusal) -> None:
        """Ends the websocket with a reason that the page can show."""
        # picows takes any number here; its enumeration only names those of the RFC.
        self._end(cast(WSCloseCode, refusal.code), control.close_reason(refusal.text))

    # ------------------------------------------------------------ the browser's side (picows)
    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WAITING)
        peer = transport.underlying_transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self._desk.arrived(self)
        if self._knock.ticket and not self.gone:
            self._show(Key(self._knock.ticket, again=False))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._bytes(frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.TEXT:
            self._text(frame)
        elif frame.msg_type == WSMsgType.CLOSE:
            self._end(WSCloseCode.OK, b"")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone = True
        if self._closing is not None:
            self._closing.cancel()
        if self._screen is not None:
            self._screen.close()
        self._desk.left(self)

    def pause_writing(self) -> None:
        """The browser takes no more for now."""
        if self._screen is not None:
            self._screen.read(False)

    def resume_writing(self) -> None:
        if self._screen is not None:
            self._screen.read(True)

    # ------------------------------------------------------------ the screen's side
    def screen_says(self, data: memoryview | bytes) -> None:
        self._send(WSMsgType.BINARY, data)

    def screen_fills(self, frame: bytearray) -> None:
        if self._transport is not None and not self.gone:
            self._transport.send_reuse_external_bytearray(WSMsgType.BINARY, frame, HEAD)

    def screen_is_full(self, full: bool) -> None:
        self._read(not full)

    def screen_ended(self) -> None:
        self.turn_away(Refusal(control.GONE, "the machine's console has ended"))

    # ------------------------------------------------------------ inside
    def _end(self, code: WSCloseCode, reason: bytes) -> None:
        """Closes both sides; a browser that does not even take its close frame is cut off after a while."""
        if self._transport is None or self.gone or self._closing is not None:
            return
        if self._screen is not None:
            self._screen.close()
        self._transport.send_close(code, reason)
        self._transport.disconnect()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(CLOSE_SECONDS, self._transport.disconnect, False)

    def _bytes(self, data: memoryview) -> None:
        if self._screen is None:
            self.turn_away(Refusal(control.BROKEN, "console bytes came before the console"))
            return
        active, passing = (True, data) if self._rfb is None else self._rfb.feed(data)
        if active:
            self._desk.worked(self)
        if passing:
            self._screen.write(passing)

    def _text(self, frame: WSFrame) -> None:
        if not self._knock.control:
            return
        said = frame.get_payload_as_bytes() if frame.payload_size <= control.MAX_TEXT else b""
        if not self._asking:
            self._beat(said)
            return
        key = control.parse_key(said)
        if key is None or not plausible(key.text):
            self.turn_away(Refusal(control.TICKET, "this page brought no ticket: open the console again"))
            return
        self._show(key)

    def _beat(self, said: bytes) -> None:
        beat = control.parse_beat(said)
        if beat is None:
            return
        self._say(control.Beat(beat.n))
        if beat.round_trip_ms is not None:
            self._desk.measured(self, beat.round_trip_ms)

    def _say(self, words: control.Opened | control.Beat | control.Move) -> None:
        if self._knock.control:
            self._send(WSMsgType.TEXT, control.say(words))

    def _show(self, key: Key) -> None:
        self._asking = False
        self._read(False)
        self._desk.showed(self, key)

    def _send(self, kind: WSMsgType, data: bytes | memoryview) -> None:
        if self._transport is not None and not self.gone:
            self._transport.send(kind, data)

    def _read(self, on: bool) -> None:
        if self._transport is None or self.gone:
            return
        transport = self._transport.underlying_transport
        if transport.is_closing():
            return
        if on:
            transport.resume_reading()
        else:
            transport.pause_reading()
