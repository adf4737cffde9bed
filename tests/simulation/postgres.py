"""The store of the simulation on a real PostgreSQL: every transaction is run where it is asked for, in virtual time.

No threads and no NOTIFY: who waits in a virtual second must not wait for a real one. The statements, their isolation and
what the database does with them are those of the product; that several transactions are under way at once is what the
contract suite and the cluster tests look at.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from sysvm.store.store import Listener, PostgresStore, Tx

T = TypeVar("T")


class InlinePostgres(PostgresStore):
    """See above."""

    async def run(self, op: Callable[[Tx], T]) -> T:
        """See Store."""
        wakes = []

        def once() -> T:
            def seen(tx: Tx) -> T:
                result = op(tx)
                wakes[:] = tx.wakes
                return result

            return self._once(seen)

        result = self._persist(once)
        if wakes:
            self._tell(wakes)
        return result

    async def read(self, op: Callable[[Tx], T]) -> T:
        """See Store."""

        def look() -> T:
            with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                return op(self._begin(connection))

        return self._persist(look)

    def _begin(self, connection: sa.Connection) -> Tx:
        return Tx(connection, self._clock.now(), postgres=True)

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """See Store."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)
