"""What a store promises, whichever database is behind it: all or nothing, again after a conflict, and wakes that are heard."""

import asyncio
import sqlite3
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import DatabaseAway
from sysvm.store import tables
from sysvm.store.store import MISSED, SqliteStore, Tx
from tests.store.conftest import Stage

PATIENCE_S = 30.0


async def test_what_an_op_writes_is_there_afterwards(stage: Stage, plain: sa.Table):
    """And what it returns is returned."""
    id_ = await stage.store.run(lambda tx: tx.insert(plain, name="one"))
    await stage.store.run(lambda tx: tx.update(plain, id_, name="uno"))
    row = await stage.other.read(lambda tx: tx.get(plain, id_))
    assert row is not None and "uno" == row.name


async def test_a_row_that_is_made_is_known_as_it_is_read(stage: Stage, plain: sa.Table):
    """Also after it was changed in the same transaction, without a look at it."""

    def make(tx: Tx) -> tuple[sa.Row[Any], sa.Row[Any] | None]:
        made = tx.made(plain, name="one")
        tx.update(plain, made.id, name="uno")
        return made, tx.get(plain, made.id)

    made, changed = await stage.store.run(make)
    assert changed == await stage.other.read(lambda tx: tx.one(sa.select(plain)))
    assert ("one", "uno") == (made.name, changed.name if changed is not None else "")


async def test_what_was_found_once_is_found_anew_when_its_table_changes(stage: Stage, plain: sa.Table):
    """By a statement of any kind, and not when another table does."""

    def names(tx: Tx) -> list[str]:
        return tx.once("names", lambda: [row.name for row in tx.rows(plain, "id > 0 order by id")], plain)

    def look(tx: Tx) -> list[list[str]]:
        seen = [names(tx)]
        tx.wake("zone", 1)
        tx.sql("update turn set due = 0 where kind = 'none'")
        seen.append(names(tx))
        assert seen[0] is seen[1]
        id_ = tx.insert(plain, name="one")
        seen.append(names(tx))
        tx.update(plain, id_, name="uno")
        seen.append(names(tx))
        tx.change(sa.delete(plain))
        return [*seen, names(tx)]

    assert [[], [], ["one"], ["uno"], []] == await stage.store.run(look)


async def test_an_op_that_raises_has_written_nothing(stage: Stage, plain: sa.Table):
    """Nor has it woken anybody."""
    heard: list[object] = []
    stage.store.on_commit(heard.extend)

    def broken(tx: Tx) -> None:
        tx.insert(plain, name="half")
        tx.wake("zone", 1)
        raise LookupError("broken")

    with pytest.raises(LookupError):
        await stage.store.run(broken)
    assert [] == await stage.store.read(lambda tx: list(tx.all(sa.select(plain))))
    await stage.store.run(lambda tx: tx.insert(plain, name="whole"))
    assert [] == [wake for wake in heard if wake != MISSED]


async def test_a_read_is_of_one_instant(stage: Stage, plain: sa.Table):
    """What is committed while it goes on is not in it."""
    await stage.store.run(lambda tx: tx.insert(plain, name="one"))

    def twice(tx: Tx) -> tuple[int, int]:
        first = len(tx.all(sa.select(plain)))
        with stage.other.engine.connect() as connection:  # type: ignore[attr-defined]
            if stage.other.dialect == "postgresql":
                connection.execute(sa.insert(plain).values(name="between"))
                connection.commit()
        return first, len(tx.all(sa.select(plain)))

    assert (1, 1) == await stage.store.read(twice)


async def test_a_read_cannot_write(stage: Stage, plain: sa.Table):
    """What is declared as reading and writes is a fault that shows at once, also in memory."""
    memory = SqliteStore(None, SystemClock(), inline=True)
    await memory.run(lambda tx: plain.create(tx.connection))
    for store in (stage.store, memory):
        with pytest.raises((DatabaseAway, sqlite3.Error), match=r"(?i)read-?only"):
            await store.read(lambda tx: tx.insert(plain, name="one"))
        await store.run(lambda tx: tx.insert(plain, name="two"))
        assert ["two"] == [row.name for row in await store.read(lambda tx: list(tx.all(sa.select(plain))))]
    await memory.close()


async def test_ops_that_meet_add_up(stage: Stage):
    """Sixty increments, read first and then written, by two stores at once: none is lost."""
    first = await stage.store.run(
        lambda tx: tx.insert(tables.cloud, uuid="u", epoch=0, version="", secrets_check="", created=0.0)
    )

    def increment(tx: Tx) -> None:
        row = tx.get(tables.cloud, first)
        assert row is not None
        tx.update(tables.cloud, first, epoch=row.epoch + 1)

    await asyncio.gather(*(store.run(increment) for _ in range(30) for store in (stage.store, stage.other)))
    row = await stage.store.read(lambda tx: tx.get(tables.cloud, first))
    assert row is not None and 60 == row.epoch


async def test_ops_that_make_the_same_row_make_it_once(stage: Stage):
    """Each looks whether it is there, and makes it: who comes second finds it."""
    before_either_makes_it = threading.Barrier(2)
    first_look = threading.local()

    def ensured(tx: Tx) -> int:
        kept = tx.one(sa.select(tables.cloud).where(tables.cloud.c.uuid == "one"))
        if stage.store.dialect == "postgresql" and not getattr(first_look, "done", False):
            first_look.done = True
            before_either_makes_it.wait(PATIENCE_S)
        if kept is not None:
            return int(kept.id)
        return tx.insert(tables.cloud, id=1, uuid="one", epoch=0, version="", secrets_check="", created=0.0)

    one, two = await asyncio.gather(stage.store.run(ensured), stage.other.run(ensured))
    assert one == two


async def test_a_duplicate_that_stays_one_is_told(stage: Stage):
    """It is a fault of the op, and not the database's."""
    words = {"epoch": 0, "version": "", "secrets_check": "", "created": 0.0}
    await stage.store.run(lambda tx: tx.insert(tables.cloud, id=1, uuid="one", **words))
    with pytest.raises((sa.exc.IntegrityError, sqlite3.IntegrityError)):
        await stage.store.run(lambda tx: tx.insert(tables.cloud, id=1, uuid="two", **words))


async def test_wakes_are_heard_by_every_process(stage: Stage):
    """After the commit, once each."""
    heard: list[object] = []
    stage.other.on_commit(heard.extend)
    clock = SystemClock()
    deadline = clock.now() + PATIENCE_S
    while ("zone", 7) not in heard and clock.now() < deadline:  # the ear of PostgreSQL opens in its own time
        await stage.store.run(lambda tx: tx.wake("zone", 7))
        await asyncio.sleep(0.02)
    assert ("zone", 7) in heard
    heard.clear()

    def twice(tx: Tx) -> None:
        tx.wake("machine", 8)
        tx.wake("machine", 8)

    await stage.store.run(twice)
    while ("machine", 8) not in heard and clock.now() < deadline:
        await stage.store.read(lambda tx: None)
        await asyncio.sleep(0.02)
    assert 1 == heard.count(("machine", 8))


async def test_values_come_back_as_they_went(stage: Stage):
    """JSON, booleans, bytes, big numbers, NULL and instants have the same types on both databases."""
    zone = await stage.store.run(
        lambda tx: tx.insert(
            tables.zone, uuid="z", name="z\u00e9 %(x)s :y 'q'", details={"a": [1, None, "b"]}, created=1.5,
            local_storage=True,
        )
    )  # fmt: skip
    row = await stage.store.read(lambda tx: tx.get(tables.zone, zone))
    assert row is not None
    assert ("z\u00e9 %(x)s :y 'q'", {"a": [1, None, "b"]}, 1.5, True, None) == (
        row.name, row.details, row.created, row.local_storage, row.removed,
    )  # fmt: skip
    await stage.store.run(lambda tx: tx.update(tables.zone, zone, details={"c": "%"}, removed=2.0))
    again = await stage.store.read(lambda tx: tx.one(sa.select(tables.zone).where(tables.zone.c.id == zone)))
    assert again is not None and ({"c": "%"}, 2.0) == (again.details, again.removed)
    assert [(2**40,)] == await stage.store.run(
        lambda tx: (
            tx.sql("update cloud set epoch = :big returning epoch", big=2**40) or tx.sql("select :big + 0 as big", big=2**40)
        )
    )
