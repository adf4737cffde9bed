"""What goes from the cache of templates and agents, and what stays: a table of decisions, then real folders and a container."""

import os
from pathlib import Path

import msgspec
import pytest

from sysvm.hosts import collecting, facts
from sysvm.hosts.collecting import GRACE_S, Thing, collect, unneeded
from sysvm.hosts.layout import Layout
from sysvm.hosts.system.durable import write_durably
from sysvm.images import claims
from sysvm.images.claims import AGENTS, TEMPLATES
from tests.contract import stages
from tests.hosts import ground

NOW = 1_600_000_000.0  # long before the claims that the tests make
OLD = NOW - 2 * GRACE_S


def old(name: str, **more: object) -> Thing:
    return Thing(**{"kind": TEMPLATES, "name": name, "made": OLD, **more})


NEWEST = old("newest", made=OLD + 1)


@pytest.mark.parametrize(
    ("thing", "used", "goes"),
    [
        (old("a"), frozenset(), True),
        (old("a"), frozenset({(TEMPLATES, "a")}), False),
        (old("a"), frozenset({(AGENTS, "a")}), True),
        (old("a", kind=AGENTS), frozenset(), False),  # the newest of its kind
        (old("a", made=NOW - GRACE_S + 1), frozenset(), False),
        (old("a", claimed=NOW - GRACE_S + 1), frozenset(), False),
        (old("a", claimed=NOW - GRACE_S), frozenset(), True),
        (old("a", registered=True), frozenset(), False),
    ],
)
def test_what_nobody_refers_to_goes_when_its_grace_is_over(thing: Thing, used: frozenset[tuple[str, str]], goes: bool):
    assert goes is (thing in unneeded([NEWEST, thing], used, NOW))


def test_a_registered_template_is_not_the_newest_that_was_built():
    built = old("built")
    assert () == unneeded([built, old("registered", made=NOW, registered=True)], frozenset(), NOW)


# ---------------------------------------------------------------- folders
def a_thing(cache: Path, kind: str, name: str, made: float = OLD) -> Path:
    """A template or agent in the cache, as old as is said."""
    place = cache / kind / name
    file = place / "root" / "usr/lib/sysvm/python/sysvm/__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    os.utime(place, (made, made))
    return place


def a_host(folder: Path, cache: Path, name: str, *templates: str, agent: str = "") -> Layout:
    """A host's state as it is on disk, and its line in the cache."""
    layout = Layout(folder / name)
    layout.host.mkdir(parents=True)
    (layout.host / "agent").write_text(agent)
    for number, template in enumerate(templates):
        spec = msgspec.structs.replace(ground.spec(number), template=template)
        write_durably(layout.spec(spec.machine, spec.incarnation), msgspec.json.encode(spec))
    collecting.write_down(layout)
    return layout


def there(cache: Path) -> set[str]:
    return {path.parent.name for kind in (TEMPLATES, AGENTS) for path in (cache / kind).glob("[!.]*/root")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, in which much is old and the newest of each kind is new."""
    monkeypatch.setenv("SYSVM_CACHE", str(tmp_path / "cache"))
    found = tmp_path / "cache"
    for kind in (TEMPLATES, AGENTS):
        a_thing(found, kind, f"new-{kind}", NOW)
    return found


def test_what_any_of_two_hosts_refers_to_stays_until_its_state_is_gone(cache: Path, tmp_path: Path):
    for name in ("t1", "t2", "t3"):
        a_thing(cache, TEMPLATES, name)
    for name in ("a1", "a2", "a3"):
        a_thing(cache, AGENTS, name)
    a_host(tmp_path, cache, "one", "t1", agent="a1")
    two = a_host(tmp_path, cache, "two", "t2", agent="a2")
    assert {"t3", "a3"} == set(collect(cache, NOW))
    new = {"new-templates", "new-agents"}
    assert new | {"t1", "t2", "a1", "a2"} == there(cache)
    for path in sorted(two.state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    later = claims.last_claim(cache, TEMPLATES, "t2") + GRACE_S
    assert () == collect(cache, later - 1), "grace begins when the last use ends"
    assert {"t2", "a2"} == set(collect(cache, later + 1))
    assert new | {"t1", "a1"} == there(cache)


def test_what_is_claimed_stays_and_a_claim_says_whether_it_came_too_late(cache: Path):
    for name in ("kept", "lost"):
        a_thing(cache, AGENTS, name)
    assert claims.claim(cache, AGENTS, "kept")
    now = claims.last_claim(cache, AGENTS, "kept") + 1
    assert ("lost",) == collect(cache, now)
    assert not claims.claim(cache, AGENTS, "lost")
    assert claims.claim(cache, AGENTS, "kept")


def test_nothing_is_collected_while_somebody_claims(cache: Path):
    a_thing(cache, AGENTS, "old")
    with claims._lock(cache, 1):  # shared, as a claim holds it
        assert () == collect(cache, NOW)
    assert ("old",) == collect(cache, NOW)


def test_what_a_killed_collector_has_renamed_is_removed_by_the_next(cache: Path):
    left = a_thing(cache, AGENTS, "old")
    left.rename(left.with_name(".gone-old"))
    assert () == collect(cache, NOW)
    assert [] == list((cache / AGENTS).glob(".gone-*"))


def test_a_template_that_a_server_was_told_of_stays_when_a_newer_one_is_built(cache: Path, tmp_path: Path):
    told = a_thing(cache, TEMPLATES, "told", NOW + 1)
    layout = a_host(tmp_path, cache, "one")
    assert "told" == facts.templates(layout)[-1]
    os.utime(told, (OLD, OLD))
    assert () == collect(cache, claims.last_claim(cache, TEMPLATES, "told") + 2 * GRACE_S)


@pytest.mark.root
async def test_the_agent_below_a_running_container_stays_whoever_runs_it(tmp_path: Path):
    """Its host has chosen another one since, and has written nothing down: a release that did not know how."""
    if not ground.is_root():
        pytest.skip("needs root")
    async with stages.lxc(tmp_path) as stage:
        for name in ("below", "other"):
            a_thing(stage.layout.cache, AGENTS, name)
        (stage.layout.host / "agent").write_text("below")
        spec = ground.spec(10)
        await stage.driver.ensure_running(spec)
        (stage.layout.host / "agent").write_text("one-that-came-later")
        gone = collect(stage.layout.cache, NOW)
        assert ("other" in gone, "below" in gone) == (True, False)
        await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
        over = claims.last_claim(stage.layout.cache, AGENTS, "below") + GRACE_S
        assert "below" in collect(stage.layout.cache, over)
