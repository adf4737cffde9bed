"""Every benchmark can be done: with tiny sizes each gives its rows. How fast it was says nothing here."""

import os

import pytest

from bench import groups
from bench.rows import Row

PLAIN = ("server", "api", "links", "engine", "simulated")


@pytest.mark.parametrize("name", PLAIN)
def test_a_group_gives_all_its_rows(name: str):
    """In the child process, as `make bench` does it."""
    _well_formed(name, groups.run(name, tiny=True))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", ["rules", "balancer"])
def test_what_a_router_does_is_measured_in_namespaces_of_their_own(name: str):
    """Peers included."""
    _well_formed(name, groups.run(name, tiny=True))


def test_a_group_that_dies_loses_only_what_it_had_not_measured(monkeypatch: pytest.MonkeyPatch):
    """Its missing rows are failed ones, with the reason."""
    monkeypatch.setattr(groups, "DEADLINE_S", 0.0)
    found = groups.run("links", tiny=True)
    assert ["link.cpu_ms_per_host", "link.memory_kb_per_host"] == [row.name for row in found]
    assert all(row.value is None and "not done after" in row.note for row in found)


def _well_formed(name: str, found: list[Row]) -> None:
    assert list(groups.load(name).NAMES) == [row.name for row in found]
    for row in found:
        assert row.value is not None, row.note
        assert row.value > 0 or row.unit in ("KB", "requests")
        assert row.unit
        assert (row.against is None) == (row.ratio is None)
