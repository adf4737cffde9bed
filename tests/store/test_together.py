"""Ops of many callers in one transaction: nothing is lost, and nobody pays for another's mistake."""

import asyncio
import gc
from collections.abc import Callable

import sqlalchemy as sa

from sysvm.basics.errors import DatabaseAway, Refused
from sysvm.store.store import Store, Tx
from sysvm.store.together import AT_ONCE, LARGEST, Together
from tests.store.conftest import Stage


class Counted:
    """A store that knows how many transactions were begun, and may be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.transactions = 0
        self.away: DatabaseAway | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, op):  # type: ignore[no-untyped-def]
        """As a store."""
        self.transactions += 1
        if self.away is not None:
            raise self.away
        await self.gate.wait()
        return await self._store.run(op)


def adding(table: sa.Table, name: str) -> Callable[[Tx], str]:
    """An op that writes a name and answers it."""

    def add(tx: Tx) -> str:
        tx.insert(table, name=name)
        return name

    return add


def refusing(tx: Tx) -> str:
    """An op that is somebody's fault."""
    raise Refused("no")


async def names(stage: Stage, table: sa.Table) -> list[str]:
    """What was written, in order."""
    return [row.name for row in await stage.store.read(lambda tx: tx.all(sa.select(table).order_by(table.c.name)))]


async def laps(count: int) -> None:
    """So many rounds of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_ops_that_come_in_one_lap_of_the_loop_go_together(stage: Stage, plain: sa.Table):
    counted = Counted(stage.store)
    together = Together(counted)  # type: ignore[arg-type]
    wanted = [f"{number:02}" for number in range(LARGEST)]
    assert wanted == await asyncio.gather(*(together.run(adding(plain, name)) for name in wanted))
    assert wanted == await names(stage, plain)
    assert 1 == counted.transactions


async def test_ops_that_come_while_the_database_is_busy_go_together(stage: Stage, plain: sa.Table):
    counted = Counted(stage.store)
    together, lanes = Together(counted), AT_ONCE[stage.store.dialect]  # type: ignore[arg-type]
    wanted = [f"{number:02}" for number in range(20)]
    counted.gate.clear()
    callers = []
    for name in wanted:
        callers.append(asyncio.ensure_future(together.run(adding(plain, name))))
        await laps(2)
    counted.gate.set()
    assert wanted == await asyncio.gather(*callers)
    assert wanted == await names(stage, plain)
    assert lanes + 1 == counted.transactions


async def test_one_alone_goes_at_once(stage: Stage, plain: sa.Table):
    counted = Counted(stage.store)
    together = Together(counted)  # type: ignore[arg-type]
    for name in ("a", "b"):
        assert name == await together.run(adding(plain, name))
    assert 2 == counted.transactions


async def test_only_the_guilty_one_fails(stage: Stage, plain: sa.Table):
    together = Together(stage.store)
    ops = [adding(plain, "a"), adding(plain, "b"), adding(plain, "c"), refusing, adding(plain, "d"), refusing]
    answers = await asyncio.gather(*(together.run(op) for op in ops), return_exceptions=True)
    assert ["a", "b", "c", "Refused", "d", "Refused"] == [
        type(answer).__name__ if isinstance(answer, Refused) else answer for answer in answers
    ]
    assert ["a", "b", "c", "d"] == await names(stage, plain)


async def test_all_hear_that_the_database_is_away(stage: Stage, plain: sa.Table):
    counted = Counted(stage.store)
    together = Together(counted)  # type: ignore[arg-type]
    counted.away = DatabaseAway("away", unknown=True)
    ops = [adding(plain, str(number)) for number in range(5)]
    answers = await asyncio.gather(*(together.run(op) for op in ops), return_exceptions=True)
    assert [True] * 5 == [isinstance(answer, DatabaseAway) and answer.unknown for answer in answers]
    counted.away = None
    assert "after" == await together.run(adding(plain, "after"))
    assert ["after"] == await names(stage, plain)


async def test_a_caller_that_goes_away_keeps_nobody_waiting(stage: Stage, plain: sa.Table):
    together = Together(stage.store)
    callers = [asyncio.ensure_future(together.run(adding(plain, f"{number:02}"))) for number in range(10)]
    await laps(1)  # they have begun
    callers[5].cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[5], asyncio.CancelledError)
    assert [f"{number:02}" for number in range(10) if number != 5] == [a for a in answers if isinstance(a, str)]


async def test_a_leader_that_goes_away_is_heard_of(stage: Stage, plain: sa.Table):
    """The one whose transaction the others share is cancelled: what became of it is unknown to them, and can be asked.

    Nobody complains of the answer that it did not wait for: that would look like a bug in the log of every orderly stop.
    """
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: complaints.append(told))
    counted = Counted(stage.store)
    together, lanes = Together(counted), AT_ONCE[stage.store.dialect]  # type: ignore[arg-type]
    counted.gate.clear()
    first = []
    for number in range(lanes):
        first.append(asyncio.ensure_future(together.run(adding(plain, f"first {number}"))))
        await laps(2)
    others = [asyncio.ensure_future(together.run(adding(plain, f"other {number}"))) for number in range(3)]
    await laps(2)
    first[0].cancel()
    await laps(10)
    assert lanes + 1 == counted.transactions
    others[0].cancel()
    answers = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [True, True] == [isinstance(answer, DatabaseAway) and answer.unknown for answer in answers[1:]]
    counted.gate.set()
    assert "again" == await together.run(adding(plain, "again"))
    del first, others, answers
    gc.collect()
    assert [] == complaints
