"""All migrations together make the tables that the code declares, on both databases."""

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sysvm.basics.clock import SystemClock
from sysvm.store import schema, tables
from sysvm.store.store import PostgresStore, SqliteStore
from tests.store.postgres import Postgres


def shape(engine: sa.Engine) -> dict[str, object]:
    """Columns, constraints and indexes of every table, in no order."""
    look = sa.inspect(engine)
    return {
        name: (
            sorted((column["name"], str(column["type"]), column["nullable"]) for column in look.get_columns(name)),
            sorted(str(index["name"]) for index in look.get_indexes(name)),
            sorted(str(unique["name"]) for unique in look.get_unique_constraints(name)),
            sorted(str(key["name"]) for key in look.get_foreign_keys(name)),
        )
        for name in look.get_table_names()
        if name != "alembic_version"
    }


def declared(url: str) -> dict[str, object]:
    """The same of a database that was made from the declarations."""
    engine = sa.create_engine(url, poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    found = shape(engine)
    engine.dispose()
    return found


async def test_on_sqlite():
    """Nothing is missing, nothing is different; a second upgrade changes nothing."""
    store = SqliteStore(None, SystemClock(), inline=True)
    schema.upgrade(store)
    made = shape(store.engine)
    schema.upgrade(store)
    assert made == shape(store.engine) == declared("sqlite://")
    await store.close()


async def test_on_postgresql(postgres: Postgres):
    """The same there, where types and partial indexes are real."""
    with postgres.database() as migrated, postgres.database() as fresh:
        store = PostgresStore(migrated, SystemClock(), connections=1)
        _empty(store.engine)
        schema.upgrade(store)
        other = sa.create_engine(fresh.replace("postgresql://", "postgresql+psycopg://", 1))
        _empty(other)
        tables.metadata.create_all(other)
        assert shape(store.engine) == shape(other)
        with store.engine.connect() as connection:
            (head,) = ScriptDirectory.from_config(schema.config()).get_heads()
            assert head == MigrationContext.configure(connection).get_current_revision()
        other.dispose()
        await store.close()


async def test_a_busy_machine_may_pause_in_the_middle(postgres: Postgres, monkeypatch: pytest.MonkeyPatch):
    """PostgreSQL gives up transactions that pause, but not this one; those that come after it are given up again."""
    found = []

    def migrate(config: Config, _revision: str) -> None:
        found.append(_patience(config.attributes["connection"]))

    monkeypatch.setattr(command, "upgrade", migrate)
    with postgres.database() as url:
        store = PostgresStore(url, SystemClock(), connections=1)
        schema.upgrade(store)
        with store.engine.connect() as connection:
            found.append(_patience(connection))
        await store.close()
    assert found == ["0", "5s"]


def _patience(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("show idle_in_transaction_session_timeout").scalar())


def _empty(engine: sa.Engine) -> None:
    """The fixture's databases come with tables."""
    with engine.begin() as connection:
        connection.exec_driver_sql("drop schema public cascade")
        connection.exec_driver_sql("create schema public")


@pytest.mark.parametrize("born", [None, 1700000000.0])
async def test_a_cloud_older_than_network_acls_gets_the_default_lists(born: float | None):
    """An empty database gets them from its seeds, like everything that every cloud has."""
    store = SqliteStore(None, SystemClock(), inline=True)
    with store.engine.connect() as connection:
        made = schema.config()
        made.attributes["connection"] = connection
        command.upgrade(made, "0015")
        if born is not None:
            values = "(1, 'u', 1, 0, 'v', 's', :born)"
            names = "(id, uuid, epoch, read_only, version, secrets_check, created)"
            connection.execute(sa.text(f"insert into cloud {names} values {values}"), {"born": born})
            connection.commit()
            connection.exec_driver_sql("pragma foreign_keys = off")  # the owner's rows are not what this is about
    schema.upgrade(store)
    names = "select l.name, a.number, a.action, a.traffic_type, a.sources from network_acl a join network_acl_list l"
    found = await store.read(lambda tx: tx.sql(f"{names} on l.id = a.acl_list_id order by l.id, a.number"))
    lists = [
        (f"default_{action.lower()}", number, action, way, '["0.0.0.0/0"]')
        for action in ("Deny", "Allow")
        for number, way in ((1, "Ingress"), (2, "Egress"))
    ]
    assert (lists if born is not None else []) == [tuple(row) for row in found]
    await store.close()
