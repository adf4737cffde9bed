"""`run` as a store has it, for the small ops of many callers: several in one transaction while the database is busy.

A commit costs the database more than what such an op writes (PostgreSQL waits for the disk). So an op does not begin a
transaction of its own while others are under way: it waits for one of them to end, and then goes along with all that wait.
When nothing is under way it goes at once, alone.

Nothing is lost by that: an op is done when the commit that has it was acknowledged, as with the store. When one of several
raises, none of them is done; then each is run alone, and only the guilty one's caller hears of it. When the database goes
away, all hear of that, and whether it is known what became of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sysvm.basics.errors import DatabaseAway
from sysvm.store.store import Store, Tx

T = TypeVar("T")
AT_ONCE = {"sqlite": 1, "postgresql": 2}  # transactions
LARGEST = 32  # ops in one


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    op: Callable[[Tx], Any]
    answer: "asyncio.Future[Any]"


class Together:
    """A way to a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._room = asyncio.Semaphore(AT_ONCE[store.dialect])
        self._waiting: deque[_Waiting] = deque()

    async def run(self, op: Callable[[Tx], T]) -> T:
        """See Store.run."""
        mine = _Waiting(op, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._room:
            if mine in self._waiting:
                await self._commit([self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST))])
        return cast(T, await mine.answer)

    async def _commit(self, several: list[_Waiting]) -> None:
        try:
            answers = await self._store.run(lambda tx: [one.op(tx) for one in several])
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
                if not one.answer.done():  # its caller may have gone
                    one.answer.set_result(answer)


def _fail(several: list[_Waiting], error: Exception) -> None:
    for one in several:
        if not one.answer.done():
            one.answer.set_exception(error)
