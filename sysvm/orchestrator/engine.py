"""The loop: claim due turns, run them side by side, release them with what they found.

A turn ends in one of three ways. `Result`: write this, look again after so many seconds. A known failure (NotYet,
Unreachable, Refused, Broken, Stale): nothing is written but the reason and the back-off, if the turn is still ours at all.
Anything else is a bug: it is logged with its traceback and backs off like a failure, so that one broken thing
does not stop the others. That holds for what a result writes, too.

A database that is away stops nothing but the progress: claims and releases are tried until it is back. A release whose
outcome is unknown is done again (the fence tells whether it was done), a claim whose answer was lost is given back. When
no beat has reached the database for a session's whole time, the session is lost and all workers stop: another server may
have their turns by now. What comes then is not here (session.py).

What needs the link of a host that another server holds is sent there (sessions.send).

A server whose database was rolled back is read-only: it claims, so that each thing shows why it stands still, and does
nothing about it, whatever its kind.

Races thought of: the worker may be paused between any two steps and another server may have taken the turn; `release`
compares fence and session before anything is written, in the transaction that writes the result, and hosts compare the
fence before they act. Turns are given back between claims, by the loop that claims, so that no fresh claim is taken for a
lost one. Releases share transactions, and so does what turns read (store/together.py).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, DatabaseAway, Elsewhere, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.orchestrator.context import Context
from sysvm.store.queries import sessions, strays, turns
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx, Wake

CONCURRENT = 128
LONGEST_POLL_S = 5.0
AWAY_S = 0.5  # between two tries while the database is away
READ_ONLY_S = 60.0
COUNT_EVERY_S = 60.0  # turns of ours that nobody works on are looked for this often, whatever we know
HEART_BEAT = "heart-beat"
T = TypeVar("T")
BACKOFF_S = (0.5, 1, 2, 4, 8, 15, 30, 60)

log = get_logger()


@dataclass(frozen=True, slots=True)
class Result:
    """What a turn found: `write` is run in the transaction that releases it; due again `after` seconds."""

    after: float
    write: Callable[[Tx], object] | None = None
    failed: bool = False  # counts as a try: the next ones are further apart


@dataclass(frozen=True, slots=True)
class Gone:
    """There is nothing left to work on: the turn is forgotten, unless something else has been wished meanwhile."""

    write: Callable[[Tx], object] | None = None


Outcome = Result | Gone
Work = Callable[[Context, Turn], Awaitable[Outcome]]
# Writes why a turn failed where an operator can see it: (tx, id, why).
Complain = Callable[[Tx, int, str], None]


class SessionLost(Exception):
    """Our heart-beat came too late: another server may have our turns, so nobody here may go on with them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How turns of one kind are done."""

    work: Work
    complain: Complain


def backoff(tries: int, jitter: random.Random) -> float:
    """Seconds until the next try: doubling, bounded, never in step with others."""
    return BACKOFF_S[min(tries, len(BACKOFF_S)) - 1] * jitter.uniform(0.75, 1.25)


class Engine:
    """The workers of this server process."""

    def __init__(self, context: Context, kinds: dict[str, Kind], *, seed: int | None = None) -> None:
        self._context = context
        self._kinds = kinds
        self._jitter = random.Random(seed)
        self._wake = asyncio.Event()
        self._held: dict[tuple[str, int], Turn] = {}  # what our workers have
        self._counted = context.clock.now()
        self._in_doubt = False  # a claim may have given us turns that we never heard of
        self._read_only = ""  # why nothing may be done now

    async def run(self) -> None:
        """Works until cancelled, or until the session is lost (SessionLost)."""
        deafen = self._context.store.on_commit(self._heard)
        try:
            async with Tasks() as tasks:
                tasks.start(self._beat(), "heart-beat")
                while True:
                    await self._round(tasks)
        finally:
            deafen()

    def _heard(self, _wakes: Sequence[Wake]) -> None:
        self._wake.set()

    async def _round(self, tasks: Tasks) -> None:
        room = CONCURRENT - len(self._held)
        self._wake.clear()
        try:
            claimed = await self.claim(min(room, turns.CLAIM_BATCH)) if room > 0 else ()
            for turn in claimed:
                self._held[turn.kind, turn.id] = turn
                tasks.start(self._work(turn), f"{turn.kind} {turn.id}")
            if not claimed:
                await self._rest(room)
        except DatabaseAway:
            self._in_doubt = True
            await self._context.clock.sleep(AWAY_S)

    async def claim(self, batch: int) -> Sequence[Turn]:
        """Due turns that are ours now."""
        session = self._context.session
        await self._give_back()
        claimed, self._read_only = await self._context.store.run(
            lambda tx: (turns.claim(tx, session, batch), strays.read_only(tx))
        )
        return claimed

    async def _give_back(self) -> None:
        """Turns that are ours by the database and have no worker here are nobody's."""
        now = self._context.clock.now()
        if not self._in_doubt and now - self._counted < COUNT_EVERY_S:
            return
        session = self._context.session
        held = frozenset((turn.kind, turn.id, turn.fence) for turn in self._held.values())
        lost = await self._context.store.run(lambda tx: sessions.give_back(tx, session, held))
        self._counted, self._in_doubt = now, False
        if lost:
            log.warning("turns_given_back", count=lost)

    async def _rest(self, room: int) -> None:
        clock = self._context.clock
        session = self._context.session
        due = await self._context.store.read(lambda tx: turns.next_due(tx, session)) if room > 0 else None
        pause = LONGEST_POLL_S if due is None else min(max(due - clock.now(), 0.05), LONGEST_POLL_S)
        waker = asyncio.ensure_future(self._wake.wait())
        sleeper = asyncio.ensure_future(clock.sleep(pause))
        try:
            await asyncio.wait((waker, sleeper), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
            sleeper.cancel()
            # Whoever awaits a cancelled task himself cannot tell its end from his own, and would live on when he is told to stop.
            await asyncio.gather(waker, sleeper, return_exceptions=True)

    async def _work(self, turn: Turn) -> None:
        try:
            await self.work(turn)
        finally:
            if self._held.get((turn.kind, turn.id)) is turn:
                del self._held[turn.kind, turn.id]
            self._wake.set()

    async def work(self, turn: Turn) -> None:
        """One turn, from claim to release."""
        kind = self._kinds[turn.kind]
        await edge(f"{turn.kind} claimed")
        outcome = await self._guarded(kind, turn, self._do(kind, turn))
        await edge(f"{turn.kind} before release")
        failure = await self._guarded(kind, turn, self._release(turn, outcome))
        if failure is not None:  # what it wanted to write could not be written
            await self._release(turn, failure)
        await edge(f"{turn.kind} released")

    async def _do(self, kind: Kind, turn: Turn) -> Outcome:
        if self._read_only:
            raise NotYet(READ_ONLY_S, self._read_only)
        return await kind.work(self._context, turn)

    async def _guarded(self, kind: Kind, turn: Turn, doing: Awaitable[T]) -> T | Result:
        """What comes of it: its value, or what a failure makes of the turn."""
        try:
            return await doing
        except NotYet as why:
            return self._note(kind, turn, why.after, why.why, failed=False)
        except DatabaseAway:
            return Result(AWAY_S)  # nothing is wrong with the thing
        except Elsewhere as why:
            return self._send(kind, turn, why)
        except (Unreachable, Broken, Refused, Stale) as why:
            return self._note(kind, turn, backoff(turn.tries, self._jitter), str(why), failed=True)
        except Exception as bug:
            log.exception("turn_failed", kind=turn.kind, id=turn.id)
            why_text = f"internal error, see the log: {type(bug).__name__}: {bug}"
            return self._note(kind, turn, backoff(turn.tries, self._jitter), why_text, failed=True)

    def _send(self, kind: Kind, turn: Turn, why: Elsewhere) -> Result:
        """To the server that holds the link, if there is one."""
        session = self._context.session

        def write(tx: Tx) -> None:
            if not sessions.send(tx, session, turn, why.host):
                kind.complain(tx, turn.id, str(why))

        return Result(backoff(turn.tries, self._jitter), write, failed=True)

    def _note(self, kind: Kind, turn: Turn, after: float, why: str, *, failed: bool) -> Result:
        return Result(after, lambda tx: kind.complain(tx, turn.id, why), failed)

    async def _release(self, turn: Turn, outcome: Outcome) -> None:
        session = self._context.session

        def release(tx: Tx) -> bool:
            match outcome:
                case Gone(write):
                    ours = turns.leave(tx, session, turn) or turns.release(tx, session, turn, after=0.0)
                case Result(after, write, failed):
                    ours = turns.release(tx, session, turn, after=after, tries=turn.tries if failed else 0)
            if ours and write is not None:
                write(tx)
            return ours

        in_doubt = False
        while True:
            try:
                if not await self._context.together.run(release) and not in_doubt:
                    log.warning("turn_was_taken", kind=turn.kind, id=turn.id, fence=turn.fence)
                return
            except DatabaseAway as away:
                in_doubt |= away.unknown
                await self._context.clock.sleep(AWAY_S)

    async def _beat(self) -> None:
        context = self._context
        reached = context.clock.now()
        while True:
            await context.clock.sleep(turns.SESSION_BEAT_S)
            await edge(HEART_BEAT)
            asked = context.clock.now()
            left = turns.SESSION_TTL_S - (asked - reached)
            try:
                async with asyncio.timeout(max(left, turns.SESSION_BEAT_S)):
                    if not await context.store.run(lambda tx: turns.beat(tx, context.session)):
                        raise SessionLost(context.session)
                    reached = asked
                    if await context.store.read(sessions.are_some_over):
                        await context.store.run(sessions.bury)
            except (DatabaseAway, TimeoutError):
                if context.clock.now() - reached > turns.SESSION_TTL_S:
                    raise SessionLost(context.session) from None
