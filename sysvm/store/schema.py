"""The database's shape: brought to this release's by Alembic, before anybody works with it."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config

from sysvm.store.store import PostgresStore, SqliteStore, Store

MIGRATIONS = Path(__file__).with_name("migrations")


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
    with store.engine.connect() as connection:
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
        if store.dialect == "postgresql":
            connection.commit()
