"""The results file and the README's table: what is shown is what was measured."""

from pathlib import Path

from bench import rows, table
from bench.goals import LIMITS, met
from bench.groups import GROUPS, load
from bench.rows import failed, row


def test_a_ratio_is_ours_by_the_others():
    """2 against 4 is a half."""
    assert 0.5 == row("x", 2.0, "s", against=("peer", 4.0)).ratio


def test_a_failed_benchmark_has_no_value_and_says_why(tmp_path: Path):
    """Nothing is invented for it."""
    file = tmp_path / "results.json"
    rows.write([failed("server.start_s", "no room"), row("x", 1.0, "s")], file)
    first, second = rows.read(file)
    assert (None, "failed: no room") == (first.value, first.note)
    assert 1.0 == second.value
    assert None is met(first)


def test_a_missed_goal_is_shown_as_missed():
    """Below the limit when lower is better, above it otherwise."""
    assert met(row("server.start_s", 1.9, "s"))
    assert not met(row("server.start_s", 2.1, "s"))
    assert "(missed)" in table.cells(row("server.start_s", 2.1, "s"))
    assert met(row("sim.routers_per_s", 501, "routers/s", better="higher"))
    assert not met(row("api.cpu_us_per_list", 900, "us", against=("bare", 300.0)))


def test_every_goal_is_the_goal_of_a_benchmark():
    """A renamed benchmark would lose its goal silently."""
    names = {name for group in GROUPS for name in load(group).NAMES}
    assert set() == set(LIMITS) - names


def test_the_table_goes_between_its_markers_and_nothing_else_changes():
    """Twice is the same as once."""
    text = f"# t\n\nbefore\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n"
    once = table.placed(text, "new")
    assert f"# t\n\nbefore\n\n{table.BEGIN}\nnew\n{table.END}\n\nafter\n" == once
    assert once == table.placed(once, "new")
