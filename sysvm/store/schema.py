"""The database's shape: brought to this release's by Alembic, before anybody works with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config

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
    """The same, in the caller's thread."""
    made = config()
    with alone(store), store.engine.connect() as connection:
        if store.dialect == "postgresql":
            # A transaction that pauses for seconds is given up elsewhere; all migrations are one, on a machine that may be busy.
            connection.exec_driver_sql("set local idle_in_transaction_session_timeout = 0")
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
        if store.dialect == "postgresql":
            connection.commit()


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
