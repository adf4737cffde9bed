"""The session table of a console proxy: who looks at what, who may come in, who has been idle for too long.

Sans-IO: instants are handed in (seconds of a clock that never steps, such as `loop.time()`), nothing is sent from here.
A *connection* is one websocket and has a number; a *session* is what the server knows and is named by it. A session that
arrives on a second connection (the page attached again) replaces the first one, and is not reported as removed.

Not here: bytes, tickets, timers. Races thought of: a connection that leaves twice, or leaves before it began, changes
nothing; a removal is told in several reports, because a notice may be lost with its link.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sysvm.wire.channel import ConsoleSession, LoadReport

# A removed session is named in this many reports; the list of live sessions makes any loss beyond that harmless.
TELL = 3
RESUMED_FACTOR = 2
FULL = "this console proxy is full: try again in a moment"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the document allows."""

    max_sessions: int = 50
    idle_s: float = 180.0  # 0: no limit
    draining: bool = False


@dataclass(slots=True)
class _Open:
    session: str
    guest: str
    client: str
    since: float
    last_used: float
    round_trip_ms: float | None = None


@dataclass(slots=True)
class SessionTable:
    """All connections that this proxy has let in."""

    limits: Limits
    changed: bool = False  # since the last report
    _asking: set[int] = field(default_factory=set)  # have shown nothing yet
    _opening: set[int] = field(default_factory=set)
    _open: dict[int, _Open] = field(default_factory=dict)
    _removed: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._asking) + len(self._opening) + len(self._open)

    def change(self, limits: Limits) -> None:
        """New limits; sessions above them stay."""
        self.limits = limits

    def admit(self, connection: int) -> str:
        """Lets a connection in to show its ticket; otherwise the reason why not."""
        if self.limits.draining:
            return "this console proxy takes no new sessions: open the console again"
        if len(self._asking) >= self.limits.max_sessions:
            return FULL
        self._asking.add(connection)
        return ""

    def enter(self, connection: int, again: bool) -> str:
        """It has shown a ticket (or, `again`, the secret of a session that was open before); otherwise the reason why
        not. The latter is served beyond the limit rather than lost: its old connection may still be counted, or its
        proxy has died."""
        most = self.limits.max_sessions * (RESUMED_FACTOR if again else 1)
        if len(self._opening) + len(self._open) >= most:
            return FULL
        self._asking.discard(connection)
        self._opening.add(connection)
        return ""

    def begin(self, connection: int, session: str, guest: str, client: str, now: float) -> int | None:
        """The ticket was good. Answers the older connection of the same session, which has to be cut."""
        self._opening.discard(connection)
        older = next((number for number, known in self._open.items() if known.session == session), None)
        before = self._open.pop(older) if older is not None else None
        since, last_used = (before.since, before.last_used) if before is not None else (now, now)
        self._open[connection] = _Open(session, guest, client, since, last_used)
        self._removed.pop(session, None)
        self.changed = True
        return older

    def touch(self, connection: int, now: float) -> None:
        """Somebody typed, pointed or pasted."""
        if (known := self._open.get(connection)) is not None:
            known.last_used = now

    def measured(self, connection: int, round_trip_ms: float) -> None:
        """How long an answer took on its way to the page and back."""
        if (known := self._open.get(connection)) is not None:
            known.round_trip_ms = round_trip_ms

    def leave(self, connection: int) -> None:
        """The connection is gone."""
        self._asking.discard(connection)
        self._opening.discard(connection)
        if (known := self._open.pop(connection, None)) is not None:
            self._removed[known.session] = TELL
            self.changed = True

    def glanced(self, session: str) -> None:
        """A session that was one picture long."""
        self._removed[session] = TELL
        self.changed = True

    def idle(self, now: float) -> list[int]:
        """Connections whose user has done nothing for longer than the limit."""
        if not self.limits.idle_s:
            return []
        return [number for number, known in self._open.items() if now - known.last_used >= self.limits.idle_s]

    def report(self, now: float, wall: float) -> LoadReport:
        """What to tell the server; `wall` is the instant `now` on the clock that people read."""
        told = tuple(self._removed)
        self._removed = {session: left - 1 for session, left in self._removed.items() if left > 1}
        self.changed = False
        return LoadReport(sessions=tuple(self._sessions(wall - now)), removed=told)

    def sessions(self, now: float, wall: float) -> tuple[ConsoleSession, ...]:
        """The live sessions, for the status command; marks nothing as told."""
        return tuple(self._sessions(wall - now))

    def _sessions(self, offset: float) -> Iterator[ConsoleSession]:
        for known in self._open.values():
            yield ConsoleSession(
                session=known.session,
                guest=known.guest,
                client=known.client,
                since=known.since + offset,
                last_used=known.last_used + offset,
                round_trip_ms=known.round_trip_ms,
            )
