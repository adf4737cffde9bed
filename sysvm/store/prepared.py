"""SELECTs whose conditions vary, compiled once for each combination and then run by the driver.

    LIVING = Prepared(sa.select(machine).where(machine.c.removed.is_(None)), order=(machine.c.id,))
    of_zone = Condition("zone", lambda of: machine.c.zone_id == of["zone"], {"zone": 7})
    LIVING.rows(tx, [of_zone], limit=500)

SQLAlchemy's way from an expression to rows (build, find in the cache, bind, wrap) costs ten times what the database does for
a page. Here an expression is written only when its combination is new; afterwards a page is a look into a dict, the driver's
call, and one object a row. Values are converted by the types' own converters, so rows look as SQLAlchemy's do.

A Condition without a key is written anew each time: for what is rare, or where the text depends on the values (a list).

Races: none; a text is a pure function of its combination, and two threads that compile the same one do no harm.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from sysvm.store.plain import row_maker
from sysvm.store.store import Row, Tx

MOST_COMBINATIONS = 512
LIMIT, OFFSET = "page_limit", "page_offset"
FLOAT8 = 701  # PostgreSQL's number of double precision

Convert = Callable[[Any], Any]


class Condition(NamedTuple):
    """`key` names the text that `write` makes: equal keys, equal text. What varies is in `values`, by names that no other
    condition of the same list has; `write` is given those values, or places for them."""

    key: str
    write: Callable[[Mapping[str, Any]], sa.ColumnElement[bool]]
    values: Mapping[str, Any] = MappingProxyType({})

    @property
    def literal(self) -> sa.ColumnElement[bool]:
        """With its values in it, for a statement that is not prepared."""
        return self.write(self.values)

    @property
    def prepared(self) -> sa.ColumnElement[bool]:
        """With places, whose values come with each run."""
        return self.write({name: sa.bindparam(name, None, required=False) for name in self.values})


def rare(expression: sa.ColumnElement[bool]) -> Condition:
    """A condition that is not worth keeping, or whose text depends on its values."""
    return Condition("", lambda _: expression)


def constant(key: str, write: Callable[[], sa.ColumnElement[bool]]) -> Condition:
    """A condition without values."""
    return Condition(key, lambda _: write())


def equals(name: str, column: sa.ColumnElement[Any], value: Any) -> Condition:
    """column = value."""
    return Condition(name, lambda of: column == of[name], {name: value})


class _Text:
    """One combination in one dialect: the text, the values that are part of it, and the way to and from the driver."""

    def __init__(self, statement: sa.Select[Any], dialect: Dialect) -> None:
        # The driver's own parameter style differs by database; Tx.sql wants `:name` of both.
        named = cast(Any, type(dialect))(paramstyle="named")
        compiled = statement.compile(dialect=named, compile_kwargs={"render_postcompile": True})
        self.text = "select" + str(compiled)[len("select") :]
        binds = cast(Any, compiled).binds
        converters = {name: bound.type.dialect_impl(dialect).bind_processor(dialect) for name, bound in binds.items()}
        self._inward = {name: convert for name, convert in converters.items() if convert is not None}
        self._fixed = self._bound(dict(compiled.params))
        columns = list(statement.selected_columns)
        self._outward = _outward(columns, dialect)
        names = [str(getattr(column, "key", None) or f"column_{at}") for at, column in enumerate(columns)]
        self._row = row_maker(names)

    def _bound(self, values: dict[str, Any]) -> dict[str, Any]:
        for name in self._inward.keys() & values.keys():
            values[name] = self._inward[name](values[name])
        return values

    def run(self, tx: Tx, values: dict[str, Any]) -> list[Row]:
        """The rows for these values."""
        found = tx.sql(self.text, **{**self._fixed, **self._bound(values)})
        if self._outward:
            found = [self._converted(row) for row in found]
        return list(map(self._row, found))

    def _converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        changed = list(row)
        for at, convert in self._outward:
            if changed[at] is not None:
                changed[at] = convert(changed[at])
        return tuple(changed)


def _outward(columns: Sequence[sa.ColumnElement[Any]], dialect: Dialect) -> list[tuple[int, Convert]]:
    """Positions and converters of those columns that the driver does not give as they are."""
    types = [column.type.dialect_impl(dialect) for column in columns]
    # Only psycopg's converter of floats asks for the type on the wire.
    converters = [type_.result_processor(dialect, FLOAT8 if isinstance(type_, sa.Float) else None) for type_ in types]
    return [(at, convert) for at, convert in enumerate(converters) if convert is not None]


class Prepared:
    """A SELECT with an order, to which conditions are added. Made once for each list: it keeps what is compiled."""

    def __init__(self, statement: sa.Select[Any], *, order: Sequence[sa.ColumnElement[Any]] = ()) -> None:
        self._statement = statement
        self._order = order
        self._texts: dict[tuple[str, ...], _Text] = {}

    def rows(self, tx: Tx, conditions: Sequence[Condition], *, limit: int | None = None, offset: int = 0) -> list[Row]:
        """A page of those for which all conditions hold."""
        values = _values(conditions)
        if limit is None:
            return self._text(tx, "all", conditions).run(tx, values)
        return self._text(tx, "page", conditions).run(tx, {**values, LIMIT: limit, OFFSET: offset})

    def count(self, tx: Tx, conditions: Sequence[Condition]) -> int:
        """How many there are."""
        return int(self._text(tx, "count", conditions).run(tx, _values(conditions))[0][0])

    def _text(self, tx: Tx, what: str, conditions: Sequence[Condition]) -> _Text:
        dialect = tx.connection.dialect
        keys = (what, dialect.name, *(condition.key for condition in conditions))
        text = self._texts.get(keys)
        if text is None:
            text = _Text(self._written(what, conditions), dialect)
            if all(keys):
                if len(self._texts) >= MOST_COMBINATIONS:
                    self._texts.clear()  # callers choose the combinations: there is an end to what is kept
                self._texts[keys] = text
        return text

    def _written(self, what: str, conditions: Sequence[Condition]) -> sa.Select[Any]:
        names = [name for condition in conditions for name in condition.values]
        assert len(names) == len(set(names)), f"two conditions have a value of one name: {names}"
        statement = self._statement.where(*(condition.prepared for condition in conditions))
        if what == "count":
            return statement.with_only_columns(sa.func.count().label("found"), maintain_column_froms=True)
        statement = statement.order_by(*self._order)
        if what == "all":
            return statement
        return statement.limit(_number(LIMIT)).offset(_number(OFFSET))


def _number(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, None, sa.BigInteger, required=False)


def _values(conditions: Sequence[Condition]) -> dict[str, Any]:
    return {name: value for condition in conditions for name, value in condition.values.items()}
