"""The plainest statements of a table (read one row by id, add, change), as text for the driver.

SQLAlchemy builds, caches and wraps a statement in about 250 us of CPU; these take 10. They are made once for each table and
set of columns, with the types' own conversions, so that a row looks the same whichever way it came.

Not here: conditions, joins, SQL expressions as values. Those are SQLAlchemy's, or hand-written text where they are hot.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.schema import ScalarElementColumnDefault

Row = sa.Row[Any]
Convert = Callable[[Any], Any]
_Statement = tuple[str, list[tuple[str, Convert]]]  # text, and what becomes of which values


def row_maker(names: Sequence[str]) -> Callable[[Sequence[Any]], Row]:
    """Makes rows of these columns. As quick to read as a field can be; a row of SQLAlchemy looks each name up."""
    return partial(tuple.__new__, cast(Any, namedtuple("Row", names, rename=True)))


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
        defaults = {
            column.name: column.default.arg for column in table.columns if isinstance(column.default, ScalarElementColumnDefault)
        }
        self._defaults = defaults | {name: convert(defaults[name]) for name, convert in self._converters(defaults)}
        self._row = row_maker(list(self._names))
        self.has_id = "id" in self._names
        self._at = {name: at for at, name in enumerate(self._names)}
        self._simple = {column.name: kind for column in table.columns if (kind := _simple_type(column)) is not None}
        self._adding: dict[tuple[str, ...], _Statement] = {}
        self._changing: dict[tuple[str, ...], _Statement] = {}
        self.where = lru_cache(maxsize=256)(self._where)
        self.columns = ", ".join(self._names.values())
        self.by_id = f"select {self.columns} from {self._table} where id = :id"

    def _where(self, condition: str) -> str:
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

    def adding(self, given: dict[str, Any], returning: str = "") -> tuple[str, dict[str, Any]]:
        """INSERT of these values and of the columns' defaults: text and parameters. `returning`: columns that are answered."""
        key = (returning, *given)
        known = self._adding.get(key)
        if known is None:
            known = self._adding[key] = self._insert(given, returning)
        text, converters = known
        values = {**self._defaults, **given}
        for name, convert in converters:
            values[name] = convert(values[name])
        return text, values

    def _insert(self, given: Iterable[str], returning: str) -> _Statement:
        columns = dict.fromkeys((*self._defaults, *given))
        names, slots = ", ".join(self._names[name] for name in columns), ", ".join(f":{name}" for name in columns)
        tail = f" returning {returning}" if returning else ""
        return f"insert into {self._table} ({names}) values ({slots}){tail}", self._converters(given)

    def changing(self, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """UPDATE of these columns of the row `:id`: text and parameters, those of `:id` not among them."""
        key = tuple(given)
        known = self._changing.get(key)
        if known is None:
            sets = ", ".join(f"{self._names[name]} = :{name}" for name in given)
            text = f"update {self._table} set {sets} where id = :id"
            known = self._changing[key] = (text, self._converters(given))
        text, converters = known
        values = given.copy()
        for name, convert in converters:
            values[name] = convert(values[name])
        return text, values

    def _converters(self, names: Iterable[str]) -> list[tuple[str, Convert]]:
        """How the driver takes the values of these columns, where not as they are."""
        return [(name, self._inward[name]) for name in names if name in self._inward]


def _outward(type_: sa.types.TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """From the driver's value to ours. JSON text is read by msgspec: lists of rows are mostly such columns."""
    if isinstance(type_, sa.JSON) and dialect.name == "sqlite":
        return _json
    return type_.result_processor(dialect, _wire_type(type_))


def _simple_type(column: sa.Column[Any]) -> type | None:
    """The Python type whose values a database gives back as they were given; None for types that are converted."""
    kinds = {sa.String: str, sa.Text: str, sa.Integer: int, sa.BigInteger: int, sa.Boolean: bool, sa.Double: float}
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


@lru_cache(maxsize=256)
def _is_expression(type_: type) -> bool:
    return issubclass(type_, sa.ClauseElement)


def are_values(given: dict[str, Any]) -> bool:
    """Whether they are all values: SQL expressions are SQLAlchemy's."""
    return not any(map(_is_expression, map(type, given.values())))
