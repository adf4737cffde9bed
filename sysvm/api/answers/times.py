"""Instants as answers show them: 2026-01-02T03:04:05+0000."""

from datetime import UTC, datetime


def stamp(instant: float | None) -> str | None:
    """The text of an instant; None stays None and is left out of answers."""
    if instant is None:
        return None
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
