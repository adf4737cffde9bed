"""The brake on healing: when it is on, and what it holds up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import machine as plans
from sysvm.systemvms.machine import PlacementSeen
from sysvm.systemvms.safety import FEWEST, Brake, Health, brake, is_rebuilding, is_revival, why
from sysvm.wire.machines import Power


def health(machines: int = 100, *, died: int = 0, away: int = 0, on: int = 0) -> Health:
    """A zone; `on`: how many hosts the machines that are away are on."""
    return Health(machines=machines, died=died, away=away, away_hosts=on)


CASES = [
    # how the zone looks, share, brake
    (health(), 0.3, Brake.OFF),
    (health(died=30), 0.3, Brake.OFF),  # just the share is not more than it
    (health(died=31), 0.3, Brake.EVERYWHERE),
    (health(died=100), 0.3, Brake.EVERYWHERE),
    (health(died=100), 0.0, Brake.OFF),  # an operator has said so
    (health(died=100), 1.0, Brake.OFF),
    (health(10, died=9), 0.3, Brake.OFF),  # a single host with a few machines heals
    (health(10, died=10), 0.3, Brake.EVERYWHERE),
    (health(away=40, on=4), 0.3, Brake.ELSEWHERE),
    (health(away=40, on=4), 0.5, Brake.OFF),
    (health(away=40, on=4), 0.0, Brake.OFF),
    (health(3 * FEWEST, away=2 * FEWEST, on=1), 0.3, Brake.OFF),  # one host is one thing, however much it holds
    (health(died=20, away=20, on=2), 0.3, Brake.ELSEWHERE),
    (health(died=20, away=20, on=1), 0.3, Brake.OFF),
    (health(died=31, away=60, on=6), 0.3, Brake.EVERYWHERE),
    (health(0, died=FEWEST), 0.3, Brake.EVERYWHERE),
]


@pytest.mark.parametrize(("zone", "share", "expected"), CASES)
def test_the_brake(zone: Health, share: float, expected: Brake):
    """One line of the table."""
    assert expected is brake(zone, share)


healths = st.builds(health, st.integers(0, 500), died=st.integers(0, 500), away=st.integers(0, 500), on=st.integers(0, 5))
ORDER = [Brake.OFF, Brake.ELSEWHERE, Brake.EVERYWHERE]


@given(healths, st.floats(0.01, 1.0), st.integers(0, 50), st.integers(0, 50))
def test_what_looks_worse_is_not_braked_less(zone: Health, share: float, more_died: int, more_away: int):
    """More deaths or more hosts away never let healing go on."""
    worse = Health(zone.machines, zone.died + more_died, zone.away + more_away, zone.away_hosts + 1)
    assert ORDER.index(brake(zone, share)) <= ORDER.index(brake(worse, share))


@given(healths, st.floats(0.0, 1.0))
def test_hosts_that_are_away_hold_up_nothing_on_those_that_are_not(zone: Health, share: float):
    """In-place healing stops for deaths only."""
    alone = Health(zone.machines, zone.died, 0, 0)
    assert (brake(zone, share) is Brake.EVERYWHERE) == (brake(alone, share) is Brake.EVERYWHERE)


def test_the_reason_has_the_numbers():
    """For the operator."""
    assert (
        "of 100 machines 20 died within 5 minutes, or are still dead, or their agents are silent and 40 are on 4 hosts that "
        "cannot be reached, which is more than a share of 0.3"
    ) == why(health(died=20, away=40, on=4), 0.3)
    assert "of 100 machines 31 died" in why(health(died=31, away=40, on=1), 0.3)
    assert "cannot be reached" not in why(health(died=31, away=40, on=1), 0.3)


# ---------------------------------------------------------------- what is healing
ACTS = [
    (plans.Prepare(), True),
    (plans.Start(), True),
    (plans.Stop(0.0), True),  # nobody at home: it would be killed
    (plans.Renic(), False),
    (plans.Configure(), False),
    (plans.Wait(1, ""), False),
    (plans.Settled(), False),
]


@pytest.mark.parametrize(("act", "heals"), ACTS)
def test_what_gives_another_life(act: plans.PlacementAct, heals: bool):
    """Only to one that has lived: what is made for the first time is no healing."""
    assert heals is is_revival(act, lived=True)
    assert not is_revival(act, lived=False)


def at(**more: Any) -> PlacementSeen:
    """A placement of the wanted incarnation on a lost host, as it was served."""
    facts: dict[str, Any] = {
        "id": 1, "incarnation": 3, "host": 1, "host_lost": True, "wanted": "running", "power": Power.RUNNING, "told": 7,
        "settled": 7, **more,
    }  # fmt: skip
    return PlacementSeen(**facts)


REBUILDS = [
    (plans.Drop(1), "running", at(), True),
    (plans.Drop(1), "stopped", at(), False),
    (plans.Drop(1), "gone", at(), False),
    (plans.Drop(1), "running", at(host_lost=False), False),  # it moves
    (plans.Drop(1), "running", at(incarnation=2), False),  # somebody asked for the next one
    (plans.Drop(1), "running", at(settled=0), False),  # it has never been
    (plans.Drop(1), "running", at(wanted="away"), True),  # it was leaving, and has not left
    (plans.Drop(1), "running", at(wanted="incoming"), False),  # it lives on another host
    (plans.Drop(1), "running", at(wanted="gone"), False),  # it has left
    (plans.Place(), "running", at(), False),
    (plans.Tell(1, "gone"), "running", at(), False),
]


@pytest.mark.parametrize(("step", "wanted", "placement", "rebuilds"), REBUILDS)
def test_what_is_made_anew_elsewhere(step: plans.MachineStep, wanted: str, placement: PlacementSeen, rebuilds: bool):
    """Only what ran on a host that is lost, and what nobody has asked for since."""
    assert rebuilds is is_rebuilding(step, wanted, 3, (placement,))
