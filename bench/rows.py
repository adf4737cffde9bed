"""A row of bench/results.json, and how rows are written and read. What a row means is said in README.md's table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

RESULTS = Path(__file__).with_name("results.json")


class Against(msgspec.Struct, frozen=True):
    """The same work done by somebody else, in the same run."""

    what: str
    value: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark. `value` is null when it failed; the note then says why."""

    name: str
    value: float | None
    unit: str
    better: Literal["lower", "higher"]
    against: Against | None = None
    ratio: float | None = None
    note: str = ""


def row(
    name: str,
    value: float,
    unit: str,
    *,
    better: Literal["lower", "higher"] = "lower",
    against: tuple[str, float] | None = None,
    note: str = "",
) -> Row:
    """A row with its ratio (ours by the other's)."""
    other = Against(against[0], _rounded(against[1])) if against is not None else None
    ratio = round(value / against[1], 2) if against is not None and against[1] else None
    return Row(name=name, value=_rounded(value), unit=unit, better=better, against=other, ratio=ratio, note=note)


def failed(name: str, why: str) -> Row:
    """A benchmark that could not be done."""
    return Row(name=name, value=None, unit="", better="lower", note=f"failed: {why}")


def _rounded(value: float) -> float:
    """Four digits that mean something; more would be noise."""
    return float(f"{value:.4g}")


def write(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """One row a line, so that a diff shows what has changed."""
    lines = ",\n ".join(msgspec.json.encode(one).decode() for one in rows)
    path.write_text(f"[{lines}]\n")


def read(path: Path = RESULTS) -> list[Row]:
    """The rows of a results file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Row])
