"""When a network gets its router, and when it loses it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import network as plans
from sysvm.systemvms.network import NetworkSeen, RouterSeen, plan_network

SERVING, STARTING = RouterSeen(1, "running", True), RouterSeen(1, "running", False)
STOPPED, GOING = RouterSeen(1, "stopped", False), RouterSeen(1, "gone", False)
GOES = "its router before is being removed and still has the network's addresses"


def net(**more: Any) -> NetworkSeen:
    """A routed network with one guest."""
    facts: dict[str, Any] = {"state": "Allocated", "routed": True, "persistent": False, "guests_wanted": 1,
                             "unused_s": 0.0, "collect_after_s": 600.0, "routers": (), **more}  # fmt: skip
    return NetworkSeen(**facts)


DISAGREE = "its routers have not agreed yet which one serves"


def one(state: str, id_: int = 1, *, running: bool = True) -> RouterSeen:
    """One of a pair."""
    return RouterSeen(id_, "running", serving=state != "UNKNOWN", running=running, paired=True, state=state)


CASES = [
    (net(), plans.AddRouter()),
    (net(routers=(STARTING,)), plans.Idle(60, "its router starts")),
    (net(routers=(STOPPED,)), plans.Idle(60, "its router was stopped by an operator; start it with startRouter")),
    (net(routers=(SERVING,)), plans.Implemented(600.0)),
    (net(routers=(GOING,)), plans.Idle(60, GOES)),
    (net(wanted_routers=2, routers=(GOING,)), plans.Idle(60, GOES)),
    (net(wanted_routers=2, routers=(replace(GOING, paired=True),)), plans.AddRouter()),
    (net(wanted_routers=2), plans.AddRouter()),
    (net(wanted_routers=2, routers=(SERVING,)), plans.Join(SERVING.id)),
    (net(wanted_routers=2, routers=(one("UNKNOWN"),)), plans.Idle(60, "its router becomes the first of a pair")),
    (net(wanted_routers=2, routers=(one("UNKNOWN", running=False),)), plans.AddRouter()),
    (net(wanted_routers=2, routers=(one("BACKUP"),)), plans.AddRouter()),
    (net(wanted_routers=2, routers=(one("PRIMARY"),)), plans.Implemented(plans.SOON_S)),
    (net(wanted_routers=2, state="Implemented", routers=(one("PRIMARY"),)), plans.AddRouter()),
    (net(wanted_routers=2, routers=(one("PRIMARY"), one("BACKUP", 2))), plans.Implemented(plans.SOON_S)),
    (net(wanted_routers=2, state="Implemented", routers=(one("PRIMARY"), one("BACKUP", 2))), plans.Implemented(600.0)),
    (net(wanted_routers=2, routers=(one("BACKUP"), one("BACKUP", 2))), plans.Idle(60, DISAGREE)),
    (net(wanted_routers=2, routers=(one("PRIMARY"), one("PRIMARY", 2))), plans.Contended()),
    (net(wanted_routers=2, guests_wanted=0, unused_s=601.0, routers=(one("PRIMARY"), one("BACKUP", 2))), plans.RemoveRouter(1)),
    (net(routed=False), plans.Implemented(600.0)),
    (net(routed=False, guests_wanted=0), plans.Idle(600, "no guest is wanted on it")),
    (net(routed=False, guests_wanted=0, state="Implemented"), plans.Implemented(600.0)),
    (net(routed=False, guests_wanted=0, persistent=True), plans.Implemented(600.0)),
    (net(routed=False, guests_wanted=0, state="Implemented", unused_s=600.0), plans.Shut()),
    (net(guests_wanted=0), plans.Idle(600, "no guest is wanted on it")),
    (net(guests_wanted=0, persistent=True), plans.AddRouter()),
    (net(guests_wanted=0, routers=(SERVING,)), plans.Implemented(600.0)),
    (net(guests_wanted=0, routers=(SERVING,), unused_s=599.0), plans.Implemented(1.0)),
    (net(guests_wanted=0, routers=(SERVING,), unused_s=600.0), plans.RemoveRouter(1)),
    (net(guests_wanted=0, persistent=True, routers=(SERVING,), unused_s=1e6), plans.Implemented(600.0)),
    (net(guests_wanted=0, routers=(GOING,), unused_s=600.0), plans.Idle(60, "its routers are being removed")),
    (net(guests_wanted=0, unused_s=600.0), plans.Shut()),
    (net(state="Destroy", routers=(SERVING,)), plans.RemoveRouter(1)),
    (net(state="Destroy"), plans.Shut()),
]


@pytest.mark.parametrize(("seen", "step"), CASES)
def test_the_next_step_of_a_network(seen: NetworkSeen, step: plans.NetworkStep | plans.PairStep):
    """One line of the table."""
    assert step == plan_network(seen)


networks = st.builds(
    net,
    state=st.sampled_from(["Allocated", "Implemented", "Destroy"]),
    routed=st.booleans(),
    persistent=st.booleans(),
    guests_wanted=st.integers(0, 2),
    unused_s=st.sampled_from([0.0, 599.0, 600.0]),
    wanted_routers=st.integers(1, 2),
    routers=st.lists(
        st.builds(RouterSeen, st.integers(1, 3), st.sampled_from(["running", "gone"]), st.booleans()),
        unique_by=lambda router: router.id,
        max_size=3,
    ).map(tuple),
)


def agreed(seen: NetworkSeen) -> NetworkSeen:
    """Routers of a pair agree which of them serves."""
    first = min((r.id for r in seen.routers if r.paired), default=0)
    states = {r.id: ("PRIMARY" if r.id == first else "BACKUP") if r.paired else "" for r in seen.routers}
    return replace(seen, routers=tuple(replace(r, state=states[r.id]) for r in seen.routers))


@given(networks)
def test_every_network_comes_to_rest(seen: NetworkSeen):
    """With routers that start and go as they are told it ends implemented, shut or idle, with no router too few."""
    for _ in range(12):
        match plan_network(seen):
            case plans.AddRouter():
                new = RouterSeen(max((r.id for r in seen.routers), default=0) + 1, "running", True)
                seen = agreed(replace(seen, routers=(*seen.routers, replace(new, paired=seen.wanted_routers > 1))))
            case plans.Join(id_):
                joined = tuple(replace(r, paired=True) if r.id == id_ else r for r in seen.routers)
                seen = agreed(replace(seen, routers=joined))
            case plans.Implemented(plans.SOON_S) if seen.wanted_routers > 1 and seen.state == "Allocated":
                assert any(r.serving and r.state == "PRIMARY" for r in seen.routers)
                seen = replace(seen, state="Implemented")
            case plans.RemoveRouter(id_):
                assert seen.state == "Destroy" or seen.guests_wanted == 0, "a network in use loses its router"
                seen = replace(seen, routers=tuple(r for r in seen.routers if r.id != id_))
            case plans.Idle(_, "its router starts"):
                seen = replace(seen, routers=tuple(replace(r, serving=True) for r in seen.routers))
            case plans.Idle(_, "its routers are being removed"):
                seen = replace(seen, routers=())
            case plans.Idle(_, why) if why == GOES:
                seen = replace(seen, routers=tuple(r for r in seen.routers if r.wanted != "gone"))
            case plans.Implemented():
                assert not seen.routed or sum(r.wanted == "running" for r in seen.routers) >= seen.wanted_routers
                return
            case _:
                assert seen.state == "Destroy" or seen.guests_wanted == 0
                return
    raise AssertionError(f"no rest: {seen}")
