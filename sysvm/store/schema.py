"""The database's shape: brought to this release's by Alembic, before anybody works with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from sysvm.store import tables
from sysvm.store.store import PostgresStore, SqliteStore, Store

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK = 0x53595356  # the number of our advisory lock in PostgreSQL


def config() -> Config:
    """Alembic's configuration; the connection comes in through its attributes."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    return made


async def ensure(store: Store) -> None:
    """All migrations of this release are done."""
    assert isinstance(store, SqliteStore | PostgresStore)
    await asyncio.get_running_loop().run_in_executor(None, upgrade, store)


def upgrade(store: SqliteStore | PostgresStore) -> None:
    """The same, in the caller's thread: all of it or nothing."""
    made = config()
    with alone(store), store.engine.connect() as connection:
        made.attributes["connection"] = connection
        with whole_on_postgres(connection) if store.dialect == "postgresql" else whole_on_sqlite(connection):
            if sa.inspect(connection).get_table_names():
                command.upgrade(made, "head")
            else:
                tables.metadata.create_all(connection)  # a test compares it with what migrations make
                command.stamp(made, "head")


@contextmanager
def whole_on_postgres(connection: sa.Connection) -> Iterator[None]:
    """One transaction. One that pauses for seconds is given up elsewhere; this one is long, on a machine that may be busy."""
    connection.exec_driver_sql("set local idle_in_transaction_session_timeout = 0")
    yield
    connection.commit()


@contextmanager
def whole_on_sqlite(connection: sa.Connection) -> Iterator[None]:
    """One transaction. A table that changes is made anew under its name, which rows that refer to it must survive: they are
    checked in the end."""
    connection.exec_driver_sql("pragma foreign_keys = off")
    connection.exec_driver_sql("begin immediate")
    try:
        yield
        if broken := connection.exec_driver_sql("pragma foreign_key_check").fetchall():
            raise sa.exc.IntegrityError("pragma foreign_key_check", None, ValueError(str(broken[:3])))
        connection.exec_driver_sql("commit")
    except BaseException:
        connection.exec_driver_sql("rollback")
        raise
    finally:
        connection.exec_driver_sql("pragma foreign_keys = on")


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Servers that start together wait for each other: nobody else migrates or sows. On SQLite the lock of the state folder
    sees to that."""
    assert isinstance(store, SqliteStore | PostgresStore)
    if store.dialect != "postgresql":
        yield
        return
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"select pg_advisory_lock({LOCK})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"select pg_advisory_unlock({LOCK})")
