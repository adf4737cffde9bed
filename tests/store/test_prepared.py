"""Prepared SELECTs give what SQLAlchemy gives, with other values each time, in both databases."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from sysvm.store import prepared, tables
from sysvm.store.prepared import Condition, Prepared, constant, equals, rare
from sysvm.store.queries import guests, machine_rows, routers, system_vms
from sysvm.store.store import Tx
from tests.store.conftest import Stage

THINGS = sa.Table(
    "thing",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("good", sa.Boolean),
    sa.Column("weight", sa.Float),
    sa.Column("more", sa.JSON),
    sa.Column("raw", sa.LargeBinary),
)
ROWS = [
    {"id": 1, "name": "100%", "good": True, "weight": 1.5, "more": {"a": [1, None]}, "raw": b"\0\xff"},
    {"id": 2, "name": "a:b", "good": False, "weight": None, "more": None, "raw": None},
    {"id": 3, "name": "a:b", "good": True, "weight": 0.1, "more": [], "raw": b""},
    {"id": 4, "name": None, "good": None, "weight": 2.0, "more": "text", "raw": b"x"},
]


@pytest.fixture
async def things(stage: Stage) -> Stage:
    """Rows of all types that tables have."""
    THINGS.metadata.create_all(stage.store.engine)  # type: ignore[attr-defined]

    def fill(tx: Tx) -> None:
        for row in ROWS:
            tx.insert(THINGS, **row)

    await stage.store.run(fill)
    return stage


def named(name: str) -> Condition:
    """By name."""
    return equals("name", THINGS.c.name, name)


def good(*, wanted: bool) -> Condition:
    """By a boolean."""
    return equals("good", THINGS.c.good, wanted)


LISTS: list[list[Condition]] = [
    [],
    [named("a:b")],
    [named("100%")],  # the same text as before, another value
    [named("a:b"), good(wanted=True)],
    [named("a:b"), good(wanted=False)],
    [good(wanted=True), constant("light", lambda: THINGS.c.weight < 1)],
    [rare(THINGS.c.id.in_([1, 4]))],
    [rare(THINGS.c.id.in_([2, 3])), named("a:b")],
    [Condition("starts", lambda of: THINGS.c.name.like(of["start"]), {"start": "a:%"})],
    [Condition("starts", lambda of: THINGS.c.name.like(of["start"]), {"start": "1%"})],
    [rare(THINGS.c.name.icontains("0%", autoescape=True))],
]


async def test_rows_are_those_of_sqlalchemy(things: Stage):
    """All types, all kinds of conditions, each list twice: compiled, then kept."""
    kept = Prepared(sa.select(THINGS), order=(THINGS.c.id,))

    def compare(tx: Tx, conditions: Sequence[Condition]) -> None:
        plain = sa.select(THINGS).where(*(condition.literal for condition in conditions)).order_by(THINGS.c.id)
        expected = [tuple(row) for row in tx.all(plain)]
        assert expected == [tuple(row) for row in kept.rows(tx, conditions)]
        assert len(expected) == kept.count(tx, conditions)
        assert expected[1:2] == [tuple(row) for row in kept.rows(tx, conditions, limit=1, offset=1)]

    for conditions in LISTS * 2:
        await things.store.read(lambda tx, given=conditions: compare(tx, given))


async def test_fields_have_their_names(things: Stage):
    """Also those that Python's tuples use themselves, and labels."""
    kept = Prepared(sa.select(THINGS.c.id, THINGS.c.name.label("count"), THINGS.c.more.label("index")))
    (row,) = await things.store.read(lambda tx: kept.rows(tx, [equals("id", THINGS.c.id, 1)]))
    assert (1, "100%", {"a": [1, None]}) == (row.id, row.count, row.index)


async def test_what_is_kept_has_an_end(things: Stage, monkeypatch: pytest.MonkeyPatch):
    """Whoever asks for ever new combinations does not fill the memory, and still gets his rows."""
    monkeypatch.setattr(prepared, "MOST_COMBINATIONS", 3)
    kept = Prepared(sa.select(THINGS), order=(THINGS.c.id,))

    def ask(tx: Tx, at: int) -> int:
        return len(kept.rows(tx, [Condition(f"key {at}", lambda of: THINGS.c.id == of["id"], {"id": 1})]))

    assert [1] * 10 == [await things.store.read(lambda tx, at=at: ask(tx, at)) for at in range(10)]
    assert 3 >= len(kept._texts)


@pytest.mark.parametrize("living", [routers.living, guests.living, system_vms.living])
async def test_lists_of_machines_are_understood_by_the_database(stage: Stage, living):
    """By state, host and name, alone or with what is around them; nobody is there."""
    assert await stage.store.read(lambda tx: routers.one(tx, 1)) is None
    assert [] == await stage.store.read(lambda tx: guests._among(tx, tables.public_ip, "id", {1, 2}, "static_nat and "))
    machine = tables.machine.c
    conditions = [
        equals("state", machine_rows.state_column, "Running"),
        equals("small", sa.func.lower(machine_rows.state_column), "running"),
        equals("podid", tables.host.c.pod_id, 1),
        equals("name", machine.name, "r-4-VM"),
        equals("agent", machine.agent_up, True),
    ]
    for count in range(len(conditions) + 1):
        chosen = conditions[:count]
        assert ([], 0) == await stage.store.read(
            lambda tx, chosen=chosen: (living().rows(tx, chosen, limit=20), living().count(tx, chosen))
        )
