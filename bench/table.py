"""`python -m bench.table`: bench/results.json as the table in README.md, between its two markers."""

from pathlib import Path

from bench import rows
from bench.goals import GOALS, met
from bench.rows import Row

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
HEAD = "| benchmark | measured | goal | against | ratio | note |\n|---|---|---|---|---|---|"
MARKS = {True: "", False: " (missed)", None: ""}


def amount(value: float) -> str:
    """Short and exact enough."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def line_of(row: Row) -> str:
    """For a terminal."""
    if row.value is None:
        return f"{row.name}: {row.note}"
    against = f", {row.against.what}: {amount(row.against.value)} ({row.ratio}x)" if row.against else ""
    return f"{row.name}: {amount(row.value)} {row.unit}{against}"


def cells(row: Row) -> str:
    """For README.md."""
    if row.value is None:
        return f"| `{row.name}` | - | {GOALS.get(row.name, '')} | | | {row.note} |"
    against = f"{row.against.what}: {amount(row.against.value)}" if row.against else ""
    goal = f"{GOALS.get(row.name, '')}{MARKS[met(row)]}"
    return f"| `{row.name}` | {amount(row.value)} {row.unit} | {goal} | {against} | {row.ratio or ''} | {row.note} |"


def table(found: list[Row]) -> str:
    """The whole table."""
    return "\n".join([HEAD, *map(cells, found)])


def placed(text: str, made: str) -> str:
    """The text with the table between its markers; at its end when it has none."""
    section = f"{BEGIN}\n{made}\n{END}"
    if BEGIN not in text or END not in text:
        return f"{text.rstrip()}\n\n{section}\n".lstrip()
    return text[: text.index(BEGIN)] + section + text[text.index(END) + len(END) :]


def write_readme() -> None:
    """README.md shows what results.json says."""
    old = README.read_text() if README.exists() else ""
    README.write_text(placed(old, table(rows.read())))


if __name__ == "__main__":
    write_readme()
