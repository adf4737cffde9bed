"""A database that is away: who waits, who is told, and what a server that stands still leaves behind."""

import asyncio
import itertools
import signal
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import DatabaseAway
from sysvm.store import schema, tables
from sysvm.store.away import connection_options
from sysvm.store.store import MISSED, PostgresStore, SqliteStore, Tx, Wake
from tests.store.postgres import Postgres

numbers = itertools.count()


def add(tx: Tx) -> int:
    """Any write."""
    return tx.insert(tables.cloud, uuid=str(next(numbers)), epoch=0, version="", secrets_check="", created=0.0)


def count(tx: Tx) -> int:
    """How many there are."""
    return int(tx.value(sa.select(sa.func.count()).select_from(tables.cloud)))


async def test_a_postgresql_that_restarts_is_waited_for_and_one_that_stays_away_is_told_of(postgres: Postgres):
    """The op is run again; then DatabaseAway, with nothing done; then all is well, and lost wakes are told of."""
    heard: list[Wake] = []
    with postgres.database() as url:
        store = PostgresStore(url, SystemClock())
        store.on_commit(heard.extend)
        await store.run(add)
        postgres.stop(signal.SIGINT)
        try:
            waiting = asyncio.ensure_future(store.run(add))
            await asyncio.to_thread(postgres.start)
            assert await waiting
            postgres.stop(signal.SIGINT)
            for ask in (store.run(add), store.run(add), store.read(count)):
                with pytest.raises(DatabaseAway, match="the database cannot be used") as told:
                    await ask
                assert not told.value.unknown
        finally:
            if not postgres.is_running:
                postgres.start()
        heard.clear()
        while MISSED not in heard:  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0.05)
        assert 2 == await store.read(count)
        await store.close()


async def test_many_who_ask_a_database_that_is_away_do_not_wait_for_each_other(postgres: Postgres):
    """One finds out, the others are told: more of them than there are threads."""
    with postgres.database() as url:
        store = PostgresStore(url, SystemClock(), connections=2)
        await store.run(add)
        postgres.stop(signal.SIGINT)
        try:
            with pytest.raises(DatabaseAway):
                await store.run(add)
            told = await asyncio.gather(*(store.read(count) for _ in range(50)), return_exceptions=True)
            assert {DatabaseAway} == {type(answer) for answer in told}
        finally:
            postgres.start()
        while True:
            try:
                assert 1 == await store.read(count)
                break
            except DatabaseAway:
                await asyncio.sleep(0.05)
        await store.close()


async def test_a_server_that_stands_still_in_a_transaction_holds_nobody_up(postgres: Postgres):
    """Its locks are taken from it; when it goes on, its op is run again."""
    with postgres.database() as url:
        quick = url + "?options=-c%20idle_in_transaction_session_timeout%3D300"
        paused, other = PostgresStore(quick, SystemClock()), PostgresStore(url, SystemClock())
        first = await other.run(add)
        stands_still, goes_on, tries = threading.Event(), threading.Event(), []

        def slow(tx: Tx) -> None:
            tries.append(1)
            tx.sql("update cloud set epoch = epoch + 1")
            stands_still.set()
            goes_on.wait()
            tx.sql("update cloud set epoch = epoch + 1")

        waiting = asyncio.ensure_future(paused.run(slow))
        await asyncio.to_thread(stands_still.wait)
        await other.run(lambda tx: tx.update(tables.cloud, first, epoch=10))
        goes_on.set()
        await waiting
        cloud = await other.read(lambda tx: tx.get(tables.cloud, first))
        assert cloud is not None and 12 == cloud.epoch
        assert 2 == len(tries)
        await paused.close()
        await other.close()


def test_the_url_of_a_database_has_the_last_word():
    """What it does not say is ours."""
    ours = connection_options("postgresql://h/d")
    assert 5 == ours["connect_timeout"] and "idle_in_transaction" in ours["options"]
    assert "connect_timeout" not in connection_options("postgresql://h/d?connect_timeout=30")


async def test_a_sqlite_file_that_is_full_or_locked_is_away_and_comes_back(tmp_path: Path):
    """The op is undone, its caller told, and the store goes on."""
    store = SqliteStore(tmp_path / "db", SystemClock())
    await schema.ensure(store)
    await store.run(lambda tx: tx.sql("pragma busy_timeout=1"))
    holder = sqlite3.connect(tmp_path / "db", isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(DatabaseAway, match="locked"):
        await store.run(add)
    holder.execute("rollback")
    holder.close()
    ((pages,),) = await store.read(lambda tx: tx.sql("select page_count from pragma_page_count"))
    await store.run(lambda tx: tx.sql(f"pragma max_page_count={pages}"))
    with pytest.raises(DatabaseAway, match="full"):
        await store.run(lambda tx: [tx.insert(tables.zone, uuid=str(n), name="z" * 500, created=0.0) for n in range(500)])
    await store.run(lambda tx: tx.sql("pragma max_page_count=1000000"))
    assert 0 == await store.read(lambda tx: len(tx.all(sa.select(tables.zone.c.id))))
    await store.run(add)
    assert 1 == await store.read(count)
    await store.close()
