"""The two stores behind one fixture, each with a second one on the same database where there can be one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from sysvm.basics.clock import Clock, SystemClock, VirtualClock
from sysvm.store import schema
from sysvm.store.queries import jobs
from sysvm.store.store import PostgresStore, SqliteStore, Store
from tests.store.postgres import Postgres


@pytest.fixture(autouse=True)
def nobody_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the API, earlier in this process, have left its renderers behind; jobs here are about nothing real."""
    monkeypatch.setattr(jobs, "_renderer", [])


@dataclass
class Stage:
    """A store; `other` is another process's on the same database (the same one on SQLite, which has one process)."""

    store: Store
    other: Store
    clock: VirtualClock | None = None

    async def pass_time(self, seconds: float) -> None:
        """Sessions, due times and deadlines come `seconds` nearer."""
        if self.clock is not None:
            self.clock.advance(seconds)
            return
        # Time is the database's: what is compared with it is moved instead.
        for statement in (
            "update session set until = until - :s",
            "update turn set due = due - :s where due > 0",
            "update job set deadline = deadline - :s",
        ):
            await self.store.run(lambda tx, statement=statement: tx.sql(statement, s=seconds))


async def _sqlite(folder: Path) -> AsyncIterator[Stage]:
    clock = VirtualClock()
    store = SqliteStore(folder / "sysvm.db", clock)
    await schema.ensure(store)
    yield Stage(store, store, clock)
    await store.close()


async def _postgres(postgres: Postgres) -> AsyncIterator[Stage]:
    clock: Clock = SystemClock()
    with postgres.database() as url:
        store, other = PostgresStore(url, clock), PostgresStore(url, clock)
        yield Stage(store, other)
        await store.close()
        await other.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty database with all tables."""
    made = _sqlite(tmp_path) if request.param == "sqlite" else _postgres(request.getfixturevalue("postgres"))
    async for stage in made:
        yield stage


@pytest.fixture
def plain(stage: Stage) -> sa.Table:
    """A table of one text, for tests of transactions alone."""
    table = sa.Table("plain", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    table.metadata.create_all(stage.store.engine)  # type: ignore[attr-defined]
    return table
