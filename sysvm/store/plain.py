"""The plainest statements of a table (read one row by id, add, change), as text for the driver.

SQLAlchemy builds, caches and wraps a statement in about 250 us of CPU; these take 10. They are made once for each table and
set of columns, with the types' own conversions, so that a row looks the same whichever way it came.

Not here: conditions, joins, SQL expressions as values. Those are SQLAlchemy's, or hand-written text where they are hot.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect, result_tuple
from sqlalchemy.sql.schema import ScalarElementColumnDefault

Row = sa.Row[Any]
Convert = Callable[[Any], Any]


class PlainTable:
    """Texts and conversions of one table in one dialect."""

    def __init__(self, table: sa.Table, dialect: Dialect) -> None:
        quote = dialect.identifier_preparer.quote
        self._names = {column.name: quote(column.name) for column in table.columns}
        self._table = dialect.identifier_preparer.format_table(table)
        types = {column.name: column.type.dialect_impl(dialect) for column in table.columns}
        converters = [_outward(types[name], dialect) for name in self._names]
        self._outward = [(at, convert) for at, convert in enumerate(converters) if convert is not None]
        self._inward = {name: convert for name, type_ in types.items() if (convert := type_.bind_processor(dialect))}
        self._defaults = self.bound(
            {
                column.name: column.default.arg
                for column in table.columns
                if isinstance(column.default, ScalarElementColumnDefault)
            }
        )
        self._row = result_tuple(list(self._names))
        self.has_id = "id" in self._names
        self._at = {name: at for at, name in enumerate(self._names)}
        self._simple = {column.name: kind for column in table.columns if (kind := _simple_type(column)) is not None}
        self._adding: dict[tuple[str, ...], str] = {}
        self._changing: dict[tuple[str, ...], str] = {}
        self.columns = ", ".join(self._names.values())
        self.by_id = f"select {self.columns} from {self._table} where id = :id"

    def where(self, condition: str) -> str:
        """SELECT of whole rows by a hand-written condition."""
        return f"select {self.columns} from {self._table} where {condition}"

    def row(self, values: Sequence[Any]) -> Row:
        """A row as SQLAlchemy would give it, of the driver's values of `columns`."""
        if self._outward:
            values = list(values)
            for at, convert in self._outward:
                values[at] = convert(values[at])
        return self._row(values)

    def changed(self, row: Row, given: dict[str, Any]) -> Row | None:
        """The row with these values, as it would be read back; None where that takes a look (JSON, numbers of another type)."""
        values = list(row)
        for name, value in given.items():
            simple = self._simple.get(name)
            if simple is str and isinstance(value, str):
                value = str.__str__(value)  # members of enumerations come back as plain text
            elif value is not None and type(value) is not simple:
                return None
            values[self._at[name]] = value
        return self._row(values)

    def adding(self, given: dict[str, Any], *, returning: bool) -> tuple[str, dict[str, Any]]:
        """INSERT of these values and of the columns' defaults: text and parameters."""
        values = {**self._defaults, **self.bound(given)}
        key = (*values, "returning") if returning else tuple(values)
        text = self._adding.get(key)
        if text is None:
            names, slots = self._names_of(values), ", ".join(f":{name}" for name in values)
            tail = " returning id" if returning else ""
            text = self._adding[key] = f"insert into {self._table} ({names}) values ({slots}){tail}"
        return text, values

    def changing(self, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """UPDATE of these columns of the row `:id`: text and parameters, those of `:id` not among them."""
        values = self.bound(given)
        key = tuple(values)
        text = self._changing.get(key)
        if text is None:
            sets = ", ".join(f"{self._names[name]} = :{name}" for name in values)
            text = self._changing[key] = f"update {self._table} set {sets} where id = :id"
        return text, values

    def bound(self, given: dict[str, Any]) -> dict[str, Any]:
        """The values as the driver takes them."""
        inward = self._inward
        return {name: inward[name](value) if name in inward else value for name, value in given.items()}

    def _names_of(self, given: Iterable[str]) -> str:
        return ", ".join(self._names[name] for name in given)


def _outward(type_: sa.types.TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """From the driver's value to ours. JSON text is read by msgspec: lists of rows are mostly such columns."""
    if isinstance(type_, sa.JSON) and dialect.name == "sqlite":
        return _json
    return type_.result_processor(dialect, _wire_type(type_))


def _simple_type(column: sa.Column[Any]) -> type | None:
    """The Python type whose values a database gives back as they were given; None for types that are converted."""
    kinds = {sa.String: str, sa.Text: str, sa.Integer: int, sa.BigInteger: int, sa.Boolean: bool}
    return kinds.get(type(column.type))


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


FLOAT8 = 701  # PostgreSQL's number of double precision


def _wire_type(type_: sa.types.TypeEngine[Any]) -> int | None:
    """psycopg's converters of floats ask for it; no other does."""
    return FLOAT8 if isinstance(type_, sa.Float) else None


@lru_cache(maxsize=512)
def plain(table: sa.Table, dialect: Dialect) -> PlainTable:
    """The statements of a table; made once."""
    return PlainTable(table, dialect)


PLAIN = frozenset({str, int, float, bool, bytes, type(None), dict, list, tuple})


def are_values(given: dict[str, Any]) -> bool:
    """Whether they are all values: SQL expressions are SQLAlchemy's."""
    return PLAIN.issuperset(map(type, given.values())) or not any(
        isinstance(value, sa.ClauseElement) for value in given.values()
    )
