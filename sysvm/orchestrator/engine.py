"""The loop: claim due turns, run them side by side, release them with what they found.

A turn ends in one of three ways. `Result`: write this, look again after so many seconds. A known failure (NotYet,
Unreachable, Refused, Broken, Stale): nothing is written but the reason and the back-off, if the turn is still ours at all.
Anything else is a bug: it is logged with its traceback and backs off like a failure, so that one broken thing
does not stop the others.

Races thought of: the worker may be paused between any two steps and another server may have taken the turn; `release`
compares fence and session in the transaction that writes the result, and hosts compare the fence before they act.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.orchestrator.context import Context
from sysvm.store.queries import turns
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx, Wake

CONCURRENT = 128
LONGEST_POLL_S = 5.0
HEART_BEAT = "heart-beat"
BACKOFF_S = (0.5, 1, 2, 4, 8, 15, 30, 60)

log = get_logger()


@dataclass(frozen=True, slots=True)
class Result:
    """What a turn found: `write` is run in the transaction that releases it; due again `after` seconds."""

    after: float
    write: Callable[[Tx], None] | None = None
    failed: bool = False  # counts as a try: the next ones are further apart


@dataclass(frozen=True, slots=True)
class Gone:
    """There is nothing left to work on: the turn is forgotten."""

    write: Callable[[Tx], None] | None = None


Outcome = Result | Gone
Work = Callable[[Context, Turn], Awaitable[Outcome]]
# Writes why a turn failed where an operator can see it: (tx, id, why).
Complain = Callable[[Tx, int, str], None]


class SessionLost(Exception):
    """Our heart-beat came too late: another server may have our turns, so this process must end."""


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
        self._running = 0

    async def run(self) -> None:
        """Works until cancelled, or until the session is lost (SessionLost)."""
        self._context.store.on_commit(self._heard)
        async with Tasks() as tasks:
            tasks.start(self._beat(), "heart-beat")
            while True:
                await self._round(tasks)

    def _heard(self, _wakes: Sequence[Wake]) -> None:
        self._wake.set()

    async def _round(self, tasks: Tasks) -> None:
        room = CONCURRENT - self._running
        self._wake.clear()
        claimed = await self.claim(min(room, turns.CLAIM_BATCH)) if room > 0 else ()
        for turn in claimed:
            self._running += 1
            tasks.start(self._work(turn), f"{turn.kind} {turn.id}")
        if not claimed:
            await self._rest(room)

    async def claim(self, batch: int) -> Sequence[Turn]:
        """Due turns that are ours now."""
        session = self._context.session
        return await self._context.store.run(lambda tx: turns.claim(tx, session, batch))

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
            for task in (waker, sleeper):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _work(self, turn: Turn) -> None:
        try:
            await self.work(turn)
        finally:
            self._running -= 1
            self._wake.set()

    async def work(self, turn: Turn) -> None:
        """One turn, from claim to release."""
        kind = self._kinds[turn.kind]
        await edge(f"{turn.kind} claimed")
        try:
            outcome = await kind.work(self._context, turn)
        except NotYet as why:
            outcome = self._note(kind, turn, why.after, why.why, failed=False)
        except (Unreachable, Broken, Refused, Stale) as why:
            outcome = self._note(kind, turn, backoff(turn.tries, self._jitter), str(why), failed=True)
        except Exception as bug:
            log.exception("turn_failed", kind=turn.kind, id=turn.id)
            why_text = f"internal error, see the log: {type(bug).__name__}: {bug}"
            outcome = self._note(kind, turn, backoff(turn.tries, self._jitter), why_text, failed=True)
        await edge(f"{turn.kind} before release")
        await self._release(turn, outcome)
        await edge(f"{turn.kind} released")

    def _note(self, kind: Kind, turn: Turn, after: float, why: str, *, failed: bool) -> Result:
        return Result(after, lambda tx: kind.complain(tx, turn.id, why), failed)

    async def _release(self, turn: Turn, outcome: Outcome) -> None:
        session = self._context.session

        def release(tx: Tx) -> bool:
            if not turns.holds(tx, session, turn):
                return False
            if outcome.write is not None:
                outcome.write(tx)
            match outcome:
                case Gone():
                    turns.forget(tx, turn.kind, turn.id)
                case Result():
                    tries = turn.tries if outcome.failed else 0
                    turns.release(tx, session, turn, after=outcome.after, tries=tries)
            return True

        if not await self._context.store.run(release):
            log.warning("turn_was_taken", kind=turn.kind, id=turn.id, fence=turn.fence)

    async def _beat(self) -> None:
        context = self._context
        while True:
            await context.clock.sleep(turns.SESSION_BEAT_S)
            await edge(HEART_BEAT)
            if not await context.store.run(lambda tx: turns.beat(tx, context.session)):
                raise SessionLost(context.session)
