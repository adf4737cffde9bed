"""How many console proxies and secondary storage VMs a zone needs, and who of them serves."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import consoleproxy, fleet
from sysvm.systemvms.consoleproxy import Emptying
from sysvm.systemvms.fleet import Enough, Grow, Member, Restart, Retire


def member(id_: int, *, load: int = 0, **more: Any) -> Member:
    """One that serves."""
    facts: dict[str, Any] = {"wanted": "running", "running": True, **more}
    return Member(id=id_, load=load, **facts)


RULES = fleet.Rules(load_max=50, spare=11, most=3, retire_after_s=3600)
FULL = tuple(member(n, load=50) for n in (1, 2, 3))
IDLE = {"idle_s": 3600.0}
STEPS = [
    ((), RULES, Grow()),
    ((member(1),), RULES, Enough("there is room")),
    ((member(1, load=39),), RULES, Enough("there is room")),
    ((member(1, load=40),), RULES, Grow()),
    ((member(1, load=40),), replace(RULES, spare=10), Enough("there is room")),
    ((member(1, load=50),), replace(RULES, spare=0), Enough("there is room")),
    ((member(1, load=50), member(2, running=False)), RULES, Enough("one is on its way")),
    ((member(1, draining=True),), RULES, Grow()),
    ((member(1, wanted="stopped", running=False),), RULES, Restart(1)),
    ((member(1, wanted="stopped", running=False),), replace(RULES, restart=False), Grow()),
    (FULL, RULES, Enough("3 is the most that may be launched")),
    ((member(1, load=80), member(2, load=0)), RULES, Enough("there is room")),
    ((member(1),), replace(RULES, least=2), Grow()),
    ((member(1, **IDLE), member(2, **IDLE)), RULES, Retire(2)),
    ((member(1, **IDLE), member(2, load=1)), RULES, Retire(1)),
    ((member(1, load=40), member(2, **IDLE)), RULES, Enough("there is room")),
    ((member(1), member(2, idle_s=3599)), RULES, Enough("there is room")),
    ((member(1), member(2, **IDLE)), replace(RULES, retire_after_s=0), Enough("there is room")),
    ((member(1), member(2, **IDLE)), replace(RULES, least=2), Enough("there is room")),
    ((member(1, **IDLE),), replace(RULES, least=0, spare=0), Enough("there is room")),
]


@pytest.mark.parametrize(("members", "rules", "step"), STEPS)
def test_the_next_step_towards_enough(members, rules, step):
    """One line of the table."""
    assert step == fleet.plan(members, rules)


@given(st.integers(0, 400), st.integers(1, 6))
def test_a_fleet_stops_growing(sessions: int, most: int):
    """With every new one serving at once, growth ends within the limit, with room unless the limit forbids it."""
    rules = fleet.Rules(load_max=50, spare=11, most=most)
    members: list[Member] = []
    for number in range(most + 2):
        if not isinstance(fleet.plan(tuple(members), rules), Grow):
            break
        members = [member(n, load=sessions // (number + 1)) for n in range(number + 1)]
    assert 1 <= len(members) <= most
    assert fleet.room(members, rules) >= rules.spare or len(members) == most


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 9000)), max_size=6))
def test_a_fleet_that_has_shrunk_does_not_grow_again(loads: list[tuple[int, float]]):
    """Whoever is retired is not missed."""
    members = tuple(member(n, load=load, idle_s=idle if not load else 0) for n, (load, idle) in enumerate(loads))
    step = fleet.plan(members, RULES)
    if isinstance(step, Retire):
        assert not isinstance(fleet.plan(tuple(one for one in members if one.id != step.id), RULES), Grow)


QUEUES = [
    ((member(1, load=2),), 4, Grow()),
    ((member(1, load=2), member(2, load=2)), 2, Grow()),
    ((member(1, load=2), member(2, load=2), member(3, load=2)), 0, Enough("there is room")),
    ((member(1), member(2, idle_s=9)), 1, Retire(2)),
    ((member(1), member(2, idle_s=9)), 3, Enough("there is room")),
    ((member(1, load=1), member(2, idle_s=9, commands=1)), 0, Enough("there is room")),
]


@pytest.mark.parametrize(("members", "queued", "step"), QUEUES)
def test_what_waits_for_room_is_counted_too(members, queued, step):
    """Without a stand-by; and whoever has an old command still is not idle."""
    assert step == fleet.plan(members, fleet.Rules(load_max=2, spare=0, most=9, retire_after_s=9), queued)


def test_a_full_one_is_given_nothing_more():
    """The least loaded one of those with room, if there is one."""
    members = (member(1, load=2), member(2, load=1, draining=True), member(3, load=1))
    chosen = fleet.with_room(members, 2)
    assert chosen is not None and chosen.id == 3
    assert fleet.with_room(members[:2], 2) is None


ASSIGNED = [
    (None, (), None, None),
    (None, (member(1, load=3), member(2, load=1)), 2, 1),
    (None, (member(1), member(2)), 1, 1),
    (1, (member(1, load=50), member(2)), 1, 1),
    (1, (member(1, running=False), member(2)), 2, 2),
    (1, (member(1, draining=True), member(2)), 2, 2),
    (None, (member(1, load=50),), None, None),
    (None, (member(1, load=50), member(2, load=49)), 2, 2),
]


@pytest.mark.parametrize(("previous", "members", "least", "first"), ASSIGNED)
def test_who_serves_a_guests_console(previous, members, least, first):
    """The previous one whatever its load, else the least loaded one with room, or the first."""
    assert least == consoleproxy.assign(previous, members, 50)
    assert first == consoleproxy.assign(previous, members, 50, first=True)


DRAINS = [
    (Emptying(sessions=3, others_serve=True, forced=False, until=None), "begin"),
    (Emptying(sessions=3, others_serve=True, forced=False, until=101.0), "wait"),
    (Emptying(sessions=3, others_serve=True, forced=False, until=100.0), "go"),
    (Emptying(sessions=0, others_serve=True, forced=False, until=101.0), "go"),
    (Emptying(sessions=3, others_serve=False, forced=False, until=None), "go"),
    (Emptying(sessions=3, others_serve=True, forced=True, until=None), "go"),
]


@pytest.mark.parametrize(("proxy", "expected"), DRAINS)
def test_when_a_proxy_may_go(proxy, expected):
    """Once it is empty; at once by force, or when nobody could take its sessions."""
    assert expected == consoleproxy.drain(proxy, now=100.0)


def test_work_goes_to_the_least_loaded_that_serves():
    """Not to one that drains or does not run."""
    members = (member(1, load=5), member(2, load=1, draining=True), member(3, running=False), member(4, load=2))
    chosen = fleet.least_loaded(members)
    assert chosen is not None and chosen.id == 4
