"""`store.run(op)`: op is a plain function of a transaction, and may be run again.

    def rename(tx: Tx) -> None:
        tx.update(tables.zone, 7, name="north")

    await store.run(rename)

SQLite: one connection and one thread write (BEGIN IMMEDIATE: a deferred transaction that reads and then writes fails at
once when another one wrote in between); another connection reads snapshots. PostgreSQL: SERIALIZABLE, run again after a
serialization failure, or when the database went away before the commit. An op must therefore do nothing but speak with
its transaction. A database that stays away raises DatabaseAway (store/away.py); one that goes away in the very commit
does so with `unknown`: nobody knows whether it was done.

`tx.wake(kind, id)` marks a thing to be worked on; after the commit the listeners of `on_commit` hear of it (on
PostgreSQL those of the other servers too, by NOTIFY). When wakes may have been lost, because the connection that hears
them is new, they hear MISSED: whoever keeps something in memory forgets it, and workers poll.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import LRUCache

from sysvm.basics.clock import Clock
from sysvm.basics.errors import DatabaseAway
from sysvm.store.away import LONGEST_S, PAUSE_S, Absence, connection_options, is_away, sqlite_fault
from sysvm.store.transaction import Row, Tx, Wake, among

__all__ = ["MISSED", "PostgresStore", "Row", "SqliteStore", "Store", "Tx", "Wake", "among", "lock_state_folder"]

T = TypeVar("T")
MISSED: Wake = ("missed", 0)  # wakes may have been lost
RETRIES = 60
SERIALIZATION_FAILURES = frozenset({"40001", "40P01"})
DUPLICATE, DUPLICATES = "23505", 3  # who looked first finds the other's row when it looks again

Listener = Callable[[Sequence[Wake]], None]


class Store(Protocol):
    """What the layers above see."""

    dialect: str

    async def run(self, op: Callable[[Tx], T]) -> T:
        """The result of `op` after its transaction is committed. `op` may be run again."""
        ...

    async def read(self, op: Callable[[Tx], T]) -> T:
        """The result of `op` on a snapshot; it must not write."""
        ...

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """`listener` is called in the event loop with the wakes of each commit, until what is returned is called."""
        ...

    async def close(self) -> None:
        """Nothing runs any more afterwards."""
        ...


# Compiled statements, of all SQLite engines of this process: compiling costs more than running.
_compiled: MutableMapping[Any, Any] = LRUCache(2048)


def _sqlite_engine(path: str, *, read_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}",
        isolation_level="AUTOCOMMIT",  # we say BEGIN ourselves
        poolclass=sa.pool.StaticPool,
        connect_args={"check_same_thread": False, "cached_statements": 1024},
        execution_options={"compiled_cache": _compiled},
        json_deserializer=msgspec.json.decode,  # rows with JSON are read all the time
    )

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=wal", "synchronous=normal", "busy_timeout=10000", "foreign_keys=on"):
            connection.execute(f"pragma {pragma}")
        connection.execute(f"pragma query_only={'on' if read_only else 'off'}")

    return engine


def _say(connection: sa.Connection, text: str) -> None:
    """BEGIN, COMMIT, ROLLBACK: to the driver, as SQLAlchemy is told to leave them to us."""
    driver: Any = connection.connection.driver_connection
    driver.execute(text)


def _roll_back(connection: sa.Connection) -> None:
    """A full disk may have rolled back by itself."""
    driver: Any = connection.connection.driver_connection
    if driver.in_transaction:
        driver.execute("ROLLBACK")


@contextlib.contextmanager
def _file_faults() -> Iterator[None]:
    """What is wrong with the file becomes DatabaseAway: it may be well again at the next try."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        fault = sqlite_fault(error)
        if fault is None:
            raise
        raise fault from error


class SqliteStore:
    """The state in one file. `inline=True` runs everything in the caller's thread (simulation)."""

    dialect = "sqlite"

    def __init__(self, path: Path | None, clock: Clock, *, inline: bool = False) -> None:
        self._clock = clock
        self._listeners: list[Listener] = []
        where = ":memory:" if path is None else str(path)
        self.engine = _sqlite_engine(where)
        self._writing = self.engine.connect()
        # An in-memory database is seen by its own connection only.
        self._reading = self._writing if path is None else _sqlite_engine(where, read_only=True).connect()
        self._writer = None if inline else ThreadPoolExecutor(1, "store-writer")
        self._lock = threading.Lock()

    async def run(self, op: Callable[[Tx], T]) -> T:
        """See Store."""
        if self._writer is None:
            result, wakes = self._transact(op)
        else:
            result, wakes = await asyncio.get_running_loop().run_in_executor(self._writer, self._transact, op)
        if wakes:
            for listener in list(self._listeners):
                listener(wakes)
        return result

    def _transact(self, op: Callable[[Tx], T]) -> tuple[T, list[Wake]]:
        with self._lock, _file_faults():
            _say(self._writing, "BEGIN IMMEDIATE")
            tx = Tx(self._writing, self._clock.now(), postgres=False)
            try:
                result = op(tx)
                _say(self._writing, "COMMIT")
            except BaseException:
                _roll_back(self._writing)
                raise
            return result, list(tx.wakes)

    async def read(self, op: Callable[[Tx], T]) -> T:
        """See Store. Runs in the event loop: a thread hop costs more than a page of rows."""
        if self._reading is self._writing:
            return self._read_in_memory(op)
        with _file_faults():
            _say(self._reading, "BEGIN")
            try:
                return op(Tx(self._reading, self._clock.now(), postgres=False))
            finally:
                _roll_back(self._reading)

    def _read_in_memory(self, op: Callable[[Tx], T]) -> T:
        """One connection for everything: it cannot be read-only, so whoever writes in a read is caught afterwards.
        (`pragma query_only` would do, too, but it makes SQLite compile every statement anew.)"""
        driver: Any = self._reading.connection.driver_connection
        _say(self._reading, "BEGIN")
        try:
            changes = driver.total_changes
            result = op(Tx(self._reading, self._clock.now(), postgres=False))
            if driver.total_changes != changes:
                raise sqlite3.OperationalError("attempt to write in a read-only transaction")
            return result
        finally:
            _roll_back(self._reading)

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """See Store."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    async def close(self) -> None:
        """See Store."""
        if self._writer is not None:
            self._writer.shutdown()
        self._reading.close()
        self._writing.close()
        self.engine.dispose()


class PostgresStore:
    """The state in PostgreSQL, shared by several servers."""

    dialect = "postgresql"

    def __init__(self, url: str, clock: Clock, *, connections: int = 8) -> None:
        self._clock = clock
        self._listeners: list[Listener] = []
        self.engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=connections + 1,
            isolation_level="SERIALIZABLE",
            connect_args=connection_options(url),
        )
        self._absence = Absence()
        self._workers = ThreadPoolExecutor(connections, "store")
        self._stop = threading.Event()
        self._ear: threading.Thread | None = None

    async def run(self, op: Callable[[Tx], T]) -> T:
        """See Store."""
        return await self._in_thread(lambda: self._once(op))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(LONGEST_S):
                return await asyncio.get_running_loop().run_in_executor(self._workers, self._persist, work)
        except TimeoutError:
            text = f"the database has not answered for {LONGEST_S:g} s: whether it was done is unknown"
            raise DatabaseAway(text, unknown=True) from None

    def _once(self, op: Callable[[Tx], T]) -> T:
        with self.engine.connect() as connection, connection.begin() as transaction:
            tx = self._begin(connection)
            result = op(tx)
            for kind, id_ in tx.wakes:
                connection.exec_driver_sql("select pg_notify('sysvm_wake', %s)", (f"{kind} {id_}",))
            try:
                transaction.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    text = "the database went away in a commit: whether it was done is unknown"
                    raise DatabaseAway(text, unknown=True) from error
                raise
        return result

    def _persist(self, work: Callable[[], T]) -> T:
        """Again after a conflict (each time a little later, out of step with the others), and while the database is away
        for a moment.

        Two that find a row missing and make it are told of a duplicate, not of a failed serialization, if the other
        commits first (PostgreSQL manual 13.5); one that makes a duplicate by itself hears so after a few attempts.
        """
        conflicts = 0
        while True:
            try:
                with self._absence.ask():
                    result = work()
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if state in SERIALIZATION_FAILURES or (state == DUPLICATE and conflicts < DUPLICATES):
                    conflicts += 1
                    if conflicts > RETRIES:
                        raise DatabaseAway(f"the database could not be used: {error.orig}") from error
                    self._stop.wait(random.uniform(0, min(0.25, 0.001 * 2**conflicts)))
                    continue
                if not is_away(error):
                    raise
                self._absence.met(str(error.orig).strip())
                self._stop.wait(PAUSE_S)
            else:
                self._absence.ended()
                return result

    async def read(self, op: Callable[[Tx], T]) -> T:
        """See Store."""

        def look() -> T:
            options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            with self.engine.connect().execution_options(**options) as connection:
                return op(self._begin(connection))

        return await self._in_thread(look)

    def _begin(self, connection: sa.Connection) -> Tx:
        now = connection.exec_driver_sql("select extract(epoch from clock_timestamp())").scalar_one()
        return Tx(connection, float(now), postgres=True)

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """See Store. The first listener starts a thread that hears the NOTIFYs of all servers."""
        self._listeners.append(listener)
        if self._ear is None:
            loop = asyncio.get_running_loop()
            self._ear = threading.Thread(target=self._hear, args=(loop,), name="store-ear", daemon=True)
            self._ear.start()
        return partial(self._listeners.remove, listener)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        import psycopg  # 0.1 s that a server on SQLite does not spend

        while not self._stop.is_set():
            with contextlib.suppress(DBAPIError, psycopg.Error, OSError):
                self._hear_once(loop)
            self._stop.wait(1)

    def _hear_once(self, loop: asyncio.AbstractEventLoop) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver: Any = connection.connection.driver_connection
            try:
                driver.execute("listen sysvm_wake")
                loop.call_soon_threadsafe(self._tell, [MISSED])
                while not self._stop.is_set():
                    wakes = [_parse_wake(note.payload) for note in driver.notifies(timeout=1, stop_after=1)]
                    if wakes:
                        loop.call_soon_threadsafe(self._tell, wakes)
            finally:
                connection.invalidate()  # it listens, or is broken: of no use to anybody else

    def _tell(self, wakes: list[Wake]) -> None:
        for listener in list(self._listeners):
            listener(wakes)

    async def close(self) -> None:
        """See Store."""
        self._stop.set()
        if self._ear is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._ear.join)
        self._workers.shutdown()
        self.engine.dispose()


def _parse_wake(text: str) -> Wake:
    kind, id_ = text.rsplit(" ", 1)
    return kind, int(id_)


def lock_state_folder(folder: Path) -> int:
    """Holds the folder for this process; the file descriptor must stay open. Raises BlockingIOError when it is held.

    The kernel drops the lock when its holder dies, so that whoever gets it knows the predecessor to be dead.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor
