"""One transaction: what an op reads and writes by.

SQLAlchemy Core builds what is rare or varies; plain rows and hot statements go straight to the driver, which costs a tenth.

What was read is kept until the transaction writes there, so that the many queries that look at one machine read its row
once. Nothing outlives the transaction. Not kept: turns, which are read to be written.
"""

import re
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa

from sysvm.store.plain import are_values, plain

T = TypeVar("T")
Row = sa.Row[Any]
Wake = tuple[str, int]
MOST_PLACES = 1024
ANY_TABLE = ""
TURN = "turn"  # what is read of it is never kept: it is read to be written

_named = re.compile(r"(?<![:\w]):(\w+)")


@lru_cache(maxsize=1024)
def _for_postgres(text: str) -> str:
    """`:name` parameters as psycopg wants them."""
    return _named.sub(r"%(\1)s", text.replace("%", "%%"))


_writes = re.compile(r"\s*(?:update|insert into|delete from) (\w+)")


@lru_cache(maxsize=1024)
def _written_by(text: str) -> str | None:
    """The table that a statement changes; empty when nobody knows which, None for a SELECT."""
    if text.lstrip().startswith("select"):
        return None
    found = _writes.match(text)
    return found[1] if found is not None else ""


@lru_cache(maxsize=64)
def _places(count: int) -> tuple[str, tuple[str, ...]]:
    """So many places in a text, and their names."""
    names = tuple(f"id{at}" for at in range(count))
    return ", ".join(f":{name}" for name in names), names


def among(ids: Collection[int]) -> tuple[str, dict[str, int]]:
    """What stands between the brackets of `id in (...)`, and its values; there must be some.

    Their number is rounded up with the first one again: few texts arise, and the database finds them compiled, which
    costs as much as running them. Very many are written out: a statement has room for so many values only.
    """
    if len(ids) > MOST_PLACES:
        return ", ".join(str(int(id_)) for id_ in ids), {}
    places, names = _places(1 << (len(ids) - 1).bit_length())
    values = dict.fromkeys(names, next(iter(ids)))
    values.update(zip(names, ids, strict=False))
    return places, values


class Tx:
    """One transaction. Everything read in it is of one instant; everything written becomes visible at its end."""

    def __init__(self, connection: sa.Connection, now: float, *, postgres: bool) -> None:
        self.connection = connection
        self.now = now  # seconds since the epoch; of the database where there are several servers
        self.wakes: dict[Wake, None] = {}
        self.written = 0  # statements that change something, so far
        self._postgres = postgres
        # SQLite's own, for hot statements: each is read to its end before the next one begins, so one cursor does for all.
        driver: Any = connection.connection.driver_connection
        self._cursor: Any = None if postgres else driver.cursor()
        # Rows that `get` has read, by table and id; what `once` has found, and its keys by the tables they are about.
        self._read: dict[str, dict[int, Row | None]] = {}
        self._once: dict[Hashable, Any] = {}
        self._about: dict[str, list[Hashable]] = {}

    def all(self, statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[Row]:
        """Every row."""
        return self.connection.execute(statement).all()

    def one(self, statement: sa.Select[Any]) -> Row | None:
        """The first row, or None."""
        return self.connection.execute(statement).first()

    def value(self, statement: sa.Select[Any]) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement).scalar()

    def get(self, table: sa.Table, id_: int) -> Row | None:
        """The row with this id, removed or not."""
        read = self._read.get(table.name)
        if read is None:
            read = self._read[table.name] = {}
        if id_ not in read:
            known = plain(table, self.connection.dialect)
            rows = self._run(known.by_id, {"id": id_})
            read[id_] = known.row(rows[0]) if rows else None
        return read[id_]

    def once(self, key: Hashable, find: Callable[[], T], *tables: sa.Table) -> T:
        """What `find` reads in these tables, read but once until this transaction writes to one of them; without any, to
        whatever table (turns are nobody's to keep)."""
        if key not in self._once:
            self._once[key] = find()
            for name in [table.name for table in tables] or [ANY_TABLE]:
                self._about.setdefault(name, []).append(key)
        found: T = self._once[key]
        return found

    def rows(self, table: sa.Table, condition: str, **params: Any) -> list[Row]:
        """Whole rows by a condition written as text ("host_id = :host and removed is null order by id"): the hot way
        of `all`."""
        known = plain(table, self.connection.dialect)
        found = [known.row(row) for row in self._run(known.where(condition), params)]
        if found and known.has_id:
            self._read.setdefault(table.name, {}).update((row.id, row) for row in found)
        return found

    def insert(self, table: sa.Table, **values: Any) -> int:
        """Adds a row and returns its id. Other rows are what they were."""
        self._found_anew(table.name)
        if are_values(values):
            text, params = plain(table, self.connection.dialect).adding(values, "id")
            new = int(self._run(text, params)[0][0])
        else:
            new = self.connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one()
        self._read.get(table.name, {}).pop(new, None)
        return new

    def made(self, table: sa.Table, **values: Any) -> Row:
        """Adds a row of plain values and returns it, as it would be read back."""
        self._found_anew(table.name)
        known = plain(table, self.connection.dialect)
        text, params = known.adding(values, known.columns)
        row = known.row(self._run(text, params)[0])
        self._read.setdefault(table.name, {})[row.id] = row
        return row

    def add(self, table: sa.Table, **values: Any) -> None:
        """Adds a row to a table that has no single id."""
        self._written(table.name)
        text, params = plain(table, self.connection.dialect).adding(values)
        self._run(text, params)

    def update(self, table: sa.Table, id_: int, **values: Any) -> None:
        """Changes columns of one row."""
        self._found_anew(table.name)
        row = self._read.get(table.name, {}).pop(id_, None)
        if not are_values(values):
            self.connection.execute(sa.update(table).where(table.c.id == id_).values(**values))
            return
        known = plain(table, self.connection.dialect)
        text, params = known.changing(values)
        self._run(text, {"id": id_, **params})
        changed = known.changed(row, values) if row is not None else None
        if changed is not None:
            self._read[table.name][id_] = changed

    def change(self, statement: sa.Update | sa.Delete) -> int:
        """Runs an UPDATE or DELETE; the number of rows that it touched."""
        self._written(getattr(statement.table, "name", ""))
        return self.connection.execute(statement).rowcount

    def sql(self, text: str, **params: Any) -> list[tuple[Any, ...]]:
        """A hot statement, written once with `:name` parameters, straight to the driver."""
        table = _written_by(text)
        if table is not None:
            self._written(table)
        return self._run(text, params)

    def _written(self, table: str) -> None:
        """What was read of the table is not so any more; of any table, when nobody knows which."""
        self._found_anew(table)
        if table:
            self._read.pop(table, None)
        else:
            self._read.clear()

    def _found_anew(self, table: str) -> None:
        """What `once` has found there is looked for again. Every change comes by here."""
        self.written += 1
        if table == TURN or not self._once:
            return
        if not table:
            self._once.clear()
            self._about.clear()
            return
        for name in (table, ANY_TABLE):
            for key in self._about.pop(name, ()):
                self._once.pop(key, None)

    def _run(self, text: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        if not self._postgres:
            # Around SQLAlchemy: its bookkeeping costs ten times what such a statement does.
            rows: list[tuple[Any, ...]] = self._cursor.execute(text, params).fetchall()
            return rows
        result = self.connection.exec_driver_sql(_for_postgres(text), params)
        return [tuple(row) for row in result] if result.returns_rows else []

    def wake(self, kind: str, id_: int) -> None:
        """Somebody waits for work on (kind, id) after the commit; the turn's row is the queries' business."""
        self.wakes[kind, id_] = None
