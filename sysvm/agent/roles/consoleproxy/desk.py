"""The desk: admits viewers, redeems their tickets, opens their screens, tells the server who is here.

A ticket travels from the browser to the server and nowhere else; it is in no log line. A viewer that shows none within
TICKET_SECONDS is sent away. Opening happens in a task of its own; an open session has none.
Races thought of: a viewer may leave while its ticket is with the server or its relay is dialled (the screen is then closed
again); a session that comes back on a second websocket replaces the first; limits may change under open sessions.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from sysvm.agent.roles.consoleproxy import control
from sysvm.agent.roles.consoleproxy.control import Key, Refusal
from sysvm.agent.roles.consoleproxy.picture import Painter, Unpaintable
from sysvm.agent.roles.consoleproxy.relay import HEAD, Screen, open_screen
from sysvm.agent.roles.consoleproxy.sessions import SessionTable
from sysvm.agent.roles.consoleproxy.viewer import Viewer
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.wire.channel import ConsoleTarget, LoadReport, RedeemTicket, ResumeSession

TICKET_SECONDS = 10.0
PICTURE_SECONDS = 10.0

log = get_logger()

Ask = Callable[[RedeemTicket | ResumeSession], Awaitable[ConsoleTarget]]
Tell = Callable[[LoadReport], Awaitable[None]]
Spawn = Callable[[Coroutine[Any, Any, None], str], object]


@dataclass(frozen=True, slots=True)
class Outside:
    """What the desk needs of the world."""

    ask: Ask
    spawn: Spawn
    now: Callable[[], float]  # never steps
    changed: Callable[[], None]  # the sessions are others than before


class ProxyDesk:
    """See `viewer.Desk`."""

    def __init__(self, table: SessionTable, outside: Outside) -> None:
        self.table = table
        self.relays: ssl.SSLContext | None = None
        self.others: tuple[str, ...] = ()  # where pages may go on
        self._outside = outside
        self._viewers: dict[int, Viewer] = {}
        self._waiting: dict[int, asyncio.TimerHandle] = {}

    # ------------------------------------------------------------ what viewers say
    def arrived(self, viewer: Viewer) -> None:
        """Its websocket stands."""
        self._viewers[viewer.number] = viewer
        if why := self.table.admit(viewer.number):
            viewer.turn_away(Refusal(control.FULL, why))
            return
        late = Refusal(control.TICKET, "no ticket was shown: open the console again")
        timer = asyncio.get_running_loop().call_later(TICKET_SECONDS, viewer.turn_away, late)
        self._waiting[viewer.number] = timer

    def showed(self, viewer: Viewer, key: Key) -> None:
        """Its ticket, or the secret of its session, is here."""
        timer = self._waiting.pop(viewer.number, None)
        if timer is None:
            return
        timer.cancel()
        if why := self.table.enter(viewer.number, key.again):
            viewer.turn_away(Refusal(control.FULL, why))
        else:
            self._outside.spawn(self._open(viewer, key), "console")

    def worked(self, viewer: Viewer) -> None:
        """Its user did something."""
        self.table.touch(viewer.number, self._outside.now())

    def measured(self, viewer: Viewer, round_trip_ms: float) -> None:
        """Its page knows how far away it is."""
        self.table.measured(viewer.number, round_trip_ms)

    def left(self, viewer: Viewer) -> None:
        """It is gone."""
        self._viewers.pop(viewer.number, None)
        timer = self._waiting.pop(viewer.number, None)
        if timer is not None:
            timer.cancel()
        self.table.leave(viewer.number)
        self._tell_if_changed()

    # ------------------------------------------------------------ what time and documents bring
    def move_all(self) -> None:
        """Asks every page to go on with another proxy: this one is to be emptied."""
        for viewer in list(self._viewers.values()):
            viewer.move(self.others)

    def end_idle(self) -> None:
        """Ends the sessions whose users do nothing."""
        refusal = Refusal(control.IDLE, "nobody used this console for a while: open it again")
        for number in self.table.idle(self._outside.now()):
            self._viewers[number].turn_away(refusal)

    def end_all(self) -> None:
        """Ends every session (the machine stops)."""
        for viewer in list(self._viewers.values()):
            viewer.turn_away(Refusal(control.FULL, "this console proxy is stopping: open the console again"))

    # ------------------------------------------------------------ a picture
    async def picture(self, ticket: str, client: str, size: tuple[int, int]) -> bytes:
        """A PNG of the screen that the ticket is for. Raises Refused, NotYet or Unreachable; Unpaintable."""
        target = await self._outside.ask(RedeemTicket(ticket=ticket, client=client))
        self.table.glanced(target.session)
        self._tell_if_changed()
        if target.kind != "vnc":
            raise Refused("this machine has a text console, of which there is no picture")
        screen = await self._screen(target)
        try:
            async with asyncio.timeout(PICTURE_SECONDS):
                return await _paint(screen, Painter(*size))
        except TimeoutError:
            raise Unreachable(f"the screen painted nothing within {PICTURE_SECONDS:g} s") from None
        finally:
            screen.close()

    # ------------------------------------------------------------ inside
    async def _open(self, viewer: Viewer, key: Key) -> None:
        try:
            target = await self._outside.ask(_question(key, viewer.client))
            screen = await self._screen(target)
        except Refused as error:
            viewer.turn_away(Refusal(control.TICKET, error.text))
        except NotYet as error:
            viewer.turn_away(Refusal(control.ASLEEP, error.why))
        except (Unreachable, Broken, Stale) as error:
            viewer.turn_away(Refusal(control.ASLEEP, str(error)))
        except msgspec.DecodeError as error:
            log.error("target_not_understood", why=str(error))
            viewer.turn_away(Refusal(control.ASLEEP, "the server's answer was not understood: look at the versions"))
        else:
            self._begin(viewer, target, screen)

    async def _screen(self, target: ConsoleTarget) -> Screen:
        if self.relays is None:
            raise NotYet(5, "this console proxy has no certificate for the hosts yet: try again in a moment")
        return await open_screen(target, self.relays)

    def _begin(self, viewer: Viewer, target: ConsoleTarget, screen: Screen) -> None:
        if viewer.gone:
            screen.close()
            return
        older = self.table.begin(viewer.number, target.session, target.guest, viewer.client, self._outside.now())
        if older is not None and older in self._viewers:
            self._viewers[older].turn_away(Refusal(control.REPLACED, "this console was opened elsewhere"))
        viewer.greet(target, screen, self.others)
        self._tell_if_changed()

    def _tell_if_changed(self) -> None:
        if self.table.changed:
            self._outside.changed()


def _question(key: Key, client: str) -> RedeemTicket | ResumeSession:
    if key.again:
        return ResumeSession(secret=key.text, client=client)
    return RedeemTicket(ticket=key.text, client=client)


class _Eye:
    """Hears a screen for a painter."""

    def __init__(self, screen: Screen, painter: Painter) -> None:
        self.painted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._screen, self._painter = screen, painter

    def screen_fills(self, frame: bytearray) -> None:
        """The same."""
        self.screen_says(memoryview(frame)[HEAD:])

    def screen_says(self, data: memoryview | bytes) -> None:
        """Bytes of RFB."""
        if self.painted.done():
            return
        try:
            self._screen.write(self._painter.feed(bytes(data)))
        except Unpaintable as error:
            self.painted.set_exception(error)
        if self._painter.done and not self.painted.done():
            self.painted.set_result(self._painter.png())

    def screen_is_full(self, full: bool) -> None:
        """We say little."""

    def screen_ended(self) -> None:
        """Before the picture was whole."""
        if not self.painted.done():
            self.painted.set_exception(Unreachable("the screen ended before its picture was whole"))


async def _paint(screen: Screen, painter: Painter) -> bytes:
    eye = _Eye(screen, painter)
    screen.attach(eye)
    return await eye.painted
