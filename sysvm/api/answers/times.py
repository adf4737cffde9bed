"""Instants as answers show them: 2026-01-02T03:04:05+0000."""

from datetime import UTC, datetime
from functools import lru_cache


def stamp(instant: float | None) -> str | None:
    """The text of an instant; None stays None and is left out of answers."""
    return None if instant is None else _text(int(instant))


@lru_cache(maxsize=65_536)
def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
