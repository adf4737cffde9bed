"""`run` as a store has it, for the small ops of many callers: several in one transaction.

A commit costs the database more than what such an op writes (PostgreSQL waits for the disk), and what one of them has read
of zones, offerings and settings the next one need not read again. So an op does not begin a transaction of its own while
others are under way: it waits for one of them to end, and then goes along with all that wait. When nothing is under way it
goes at once, with those that come in the same lap of the event loop.

Nothing is lost by that: an op is done when the commit that has it was acknowledged, as with the store. An op that refuses,
or says that it is not yet time, and has written nothing by then keeps nobody. When one of several raises otherwise, none of
them is done; then each is run alone, and only the guilty one's caller hears of it. When the database goes away, all hear of
that, and whether it is known what became of them. An op whose caller goes before it has begun is not run.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sysvm.basics.errors import DatabaseAway, NotYet, Refused
from sysvm.basics.tasks import awaited_perhaps
from sysvm.store.store import Store, Tx

T = TypeVar("T")
AT_ONCE = {"sqlite": 1, "postgresql": 2}  # transactions
LARGEST = 32  # ops in one


@dataclass(slots=True, eq=False)
class _Waiting:
    op: Callable[[Tx], Any]
    answer: "asyncio.Future[Any]"
    taken: bool = False  # by whoever makes the transaction


class Together:
    """A way to a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._room = asyncio.Semaphore(AT_ONCE[store.dialect])
        self._waiting: deque[_Waiting] = deque()

    async def run(self, op: Callable[[Tx], T]) -> T:
        """See Store.run."""
        mine = _Waiting(op, awaited_perhaps())
        self._waiting.append(mine)
        try:
            await asyncio.sleep(0)  # whoever else is ready in this lap of the loop comes along
            if not mine.taken:
                async with self._room:
                    if not mine.taken:
                        await self._commit(self._take())
            return cast(T, await mine.answer)
        finally:
            if not mine.taken:
                self._waiting.remove(mine)

    def _take(self) -> list[_Waiting]:
        several = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST))]
        for one in several:
            one.taken = True
        return several

    async def look(self, op: Callable[[Tx], T]) -> T:
        """The same for what reads much. PostgreSQL reads for many at once, so there each has a transaction of its own."""
        return await (self.run(op) if self._store.dialect == "sqlite" else self._store.run(op))

    async def _commit(self, several: list[_Waiting]) -> None:
        try:
            answers = await self._store.run(lambda tx: [_answer(tx, one.op) for one in several])
        except DatabaseAway as away:
            _fail(several, away)
        except Exception as error:  # noqa: BLE001 - of an op; its caller hears of it
            if len(several) == 1:
                _fail(several, error)
                return
            for one in several:
                await self._commit([one])
        except asyncio.CancelledError:  # of one caller; the others are not
            _fail(several, DatabaseAway("nobody waited for the commit: whether it was done is unknown", unknown=True))
            raise
        else:
            for one, answer in zip(several, answers, strict=True):
                if one.answer.done():
                    continue  # its caller has gone
                if isinstance(answer, _Excuse):
                    one.answer.set_exception(answer.why)
                else:
                    one.answer.set_result(answer)


@dataclass(frozen=True, slots=True)
class _Excuse:
    """Why an op has done nothing."""

    why: Exception


def _answer(tx: Tx, op: Callable[[Tx], Any]) -> Any:
    """What comes of one of several; raises when it would leave something half done."""
    written = tx.written
    try:
        return op(tx)
    except (NotYet, Refused) as why:
        if tx.written != written:
            raise
        return _Excuse(why)


def _fail(several: list[_Waiting], error: Exception) -> None:
    for one in several:
        if not one.answer.done():
            one.answer.set_exception(error)
