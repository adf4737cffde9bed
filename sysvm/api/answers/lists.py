"""Answers of rows that need nothing but themselves."""

from collections.abc import Callable, Sequence
from typing import Any

from sysvm.store.store import Row, Tx


def each(answer: Callable[[Row], dict[str, Any]]) -> Callable[[Tx, Sequence[Row]], list[dict[str, Any]]]:
    """The answer of a page whose rows are answered one by one."""
    return lambda _tx, rows: [answer(row) for row in rows]
