"""All migrations together make the tables that the code declares, on both databases; all of them or none."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sysvm.basics.clock import SystemClock
from sysvm.basics.ids import SeededIds
from sysvm.store import schema, tables
from sysvm.store.secrets import Vault
from sysvm.store.seed import sow
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


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Every migration by itself, as an old database sees them."""
    with engine.connect() as connection:
        made = schema.config()
        made.attributes["connection"] = connection
        command.upgrade(made, revision)
        if engine.dialect.name == "postgresql":
            connection.commit()


def revision(engine: sa.Engine) -> str | None:
    """What Alembic knows of a database."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


HEAD = ScriptDirectory.from_config(schema.config()).get_current_head()


async def test_on_sqlite():
    """Nothing is missing, nothing is different; a second upgrade changes nothing; a new database has it at once."""
    old, new = (SqliteStore(None, SystemClock(), inline=True) for _ in range(2))
    migrate(old.engine)
    made = shape(old.engine)
    for store in (old, new, old, new):
        schema.upgrade(store)
    assert made == shape(old.engine) == shape(new.engine) == declared("sqlite://")
    assert HEAD == revision(old.engine) == revision(new.engine)
    for store in (old, new):
        await store.close()


async def test_a_cloud_with_rows_comes_through_all_changes_of_its_tables(tmp_path: Path):
    """SQLite makes a table anew to change it, which rows of others refer to."""
    clock = SystemClock()
    store = SqliteStore(tmp_path / "db", clock)
    schema.upgrade(store)
    await store.run(lambda tx: sow(tx, SeededIds(1), Vault(b"k" * 32), version="test", admin_password_hash="x"))
    whole = rows(store.engine)
    with store.engine.connect() as connection:
        made = schema.config()
        made.attributes["connection"] = connection
        connection.exec_driver_sql("pragma foreign_keys = off")
        command.downgrade(made, "0016")
    await store.close()
    again = SqliteStore(tmp_path / "db", clock)
    schema.upgrade(again)
    assert (whole, HEAD) == (rows(again.engine), revision(again.engine))
    assert [(1,)] == await again.read(lambda tx: tx.sql("pragma foreign_keys"))
    await again.close()


def rows(engine: sa.Engine) -> dict[str, int]:
    """How many each table has."""
    with engine.connect() as connection:
        count = 'select count(*) from "{}"'
        return {name: connection.exec_driver_sql(count.format(name)).scalar_one() for name in tables.metadata.tables}


@pytest.mark.parametrize("act", ["stamp", "upgrade"])
async def test_who_dies_in_the_middle_has_changed_nothing(act: str, monkeypatch: pytest.MonkeyPatch):
    """A new database is empty again, an old one as it was."""
    store = SqliteStore(None, SystemClock(), inline=True)
    if act == "upgrade":
        migrate(store.engine, "0020")
    before = shape(store.engine)
    done = getattr(command, act)

    def die(config: Config, revision: str) -> None:
        done(config, revision)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, act, die)
    with pytest.raises(KeyboardInterrupt):
        schema.upgrade(store)
    assert before == shape(store.engine)
    monkeypatch.undo()
    schema.upgrade(store)
    assert declared("sqlite://") == shape(store.engine)
    await store.close()


async def test_on_postgresql(postgres: Postgres):
    """The same there, where types and partial indexes are real."""
    with postgres.database() as migrated, postgres.database() as fresh:
        store = PostgresStore(migrated, SystemClock(), connections=1)
        _empty(store.engine)
        migrate(store.engine)
        other = sa.create_engine(fresh.replace("postgresql://", "postgresql+psycopg://", 1))
        _empty(other)
        tables.metadata.create_all(other)
        assert shape(store.engine) == shape(other)
        assert HEAD == revision(store.engine)
        _empty(store.engine)
        schema.upgrade(store)
        assert (HEAD, shape(other)) == (revision(store.engine), shape(store.engine))
        other.dispose()
        await store.close()


async def test_a_busy_machine_may_pause_in_the_middle(postgres: Postgres, monkeypatch: pytest.MonkeyPatch):
    """PostgreSQL gives up transactions that pause, but not this one; those that come after it are given up again."""
    found = []

    def ask(config: Config, _revision: str) -> None:
        found.append(_patience(config.attributes["connection"]))

    monkeypatch.setattr(command, "upgrade", ask)
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
    migrate(store.engine, "0015")
    with store.engine.connect() as connection:
        connection.exec_driver_sql("pragma foreign_keys = off")  # the owner's rows are not what this is about
        if born is not None:
            values = "(1, 'u', 1, 0, 'v', 's', :born)"
            names = "(id, uuid, epoch, read_only, version, secrets_check, created)"
            connection.execute(sa.text(f"insert into cloud {names} values {values}"), {"born": born})
            connection.commit()
    migrate(store.engine)
    names = "select l.name, a.number, a.action, a.traffic_type, a.sources from network_acl a join network_acl_list l"
    found = await store.read(lambda tx: tx.sql(f"{names} on l.id = a.acl_list_id order by l.id, a.number"))
    lists = [
        (f"default_{action.lower()}", number, action, way, '["0.0.0.0/0"]')
        for action in ("Deny", "Allow")
        for number, way in ((1, "Ingress"), (2, "Egress"))
    ]
    assert (lists if born is not None else []) == [tuple(row) for row in found]
    await store.close()
