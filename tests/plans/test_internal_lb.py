"""When a tier has which internal load balancers, and what each is told."""

from typing import Any

import pytest

from sysvm.systemvms import network as steps
from sysvm.systemvms.internal_lb import (
    Add,
    BalancerSeen,
    BalancersSeen,
    Idle,
    InternalFacts,
    Remove,
    Serving,
    document,
    plan,
)
from sysvm.systemvms.load_balancer import BalancerFacts
from sysvm.systemvms.network import RouterSeen
from sysvm.systemvms.vpc import plan_without_balancers
from sysvm.wire.balancing import Algorithm, LoadBalancer
from sysvm.wire.documents import Interface
from sysvm.wire.vpc import Vpc

A, B = "10.8.1.100", "10.8.1.101"


def tier(*machines: BalancerSeen, ruled: str = A, needed: str = A, **more: Any) -> BalancersSeen:
    """Addresses in one string, with blanks."""
    given = {"ruled": frozenset(ruled.split()), "needed": frozenset(needed.split()), "machines": machines}
    return BalancersSeen(**{"doomed": False, **given, **more})


def at(address: str, wanted: str = "running", *, serving: bool = True, id_: int = 1) -> BalancerSeen:
    return BalancerSeen(id_, address, wanted, serving)


TIERS = [
    (tier(ruled="", needed=""), Serving()),
    (tier(needed=""), Serving()),  # nobody stands behind it yet
    (tier(), Add(A)),
    (tier(ruled=f"{B} {A}", needed=f"{B} {A}"), Add(A)),
    (tier(at(A), ruled=f"{A} {B}", needed=f"{A} {B}"), Add(B)),
    (tier(at(A)), Serving()),
    (tier(at(A), needed=""), Serving()),  # the last member has left; the rule is there
    (tier(at(A, serving=False)), Idle(f"the internal load balancer at {A} starts")),
    (tier(at(A, "stopped", serving=False)), Serving()),  # by an operator
    (tier(at(A), ruled="", needed=""), Remove(1)),
    (tier(at(A, "stopped"), ruled="", needed=""), Remove(1)),
    (tier(at(A, "gone"), ruled="", needed=""), Serving()),
    (tier(at(A, "gone")), Idle(f"the internal load balancer before is being removed and still has the address {A}")),
    (tier(at(A, "gone"), at(A, id_=2)), Serving()),
    (tier(at(B), at(A, serving=False, id_=2)), Remove(1)),
    (tier(doomed=True), Idle("its network is being removed")),
    (tier(at(A), ruled="", doomed=True), Idle("its network is being removed")),
]


@pytest.mark.parametrize(("seen", "step"), TIERS)
def test_one_machine_for_each_address_that_somebody_stands_behind(seen: BalancersSeen, step: object):
    assert step == plan(seen)


WAITS = steps.Idle(60.0, "its internal load balancers are being removed")


@pytest.mark.parametrize(
    ("balancers", "step"),
    [
        ((), None),
        ((RouterSeen(1, "gone", False), RouterSeen(2, "stopped", False)), steps.RemoveRouter(2)),
        ((RouterSeen(1, "running", True),), steps.RemoveRouter(1)),
        ((RouterSeen(1, "gone", False),), WAITS),
    ],
)
def test_a_tier_goes_after_its_balancers(balancers: tuple[RouterSeen, ...], step: object):
    assert step == plan_without_balancers(balancers)


def test_it_is_told_to_balance_and_nothing_else():
    inside = Interface(device="eth0", mac="06:00:00:00:00:01", role="guest", addresses=(f"{A}/24",), gateway="10.8.1.1")
    rule = LoadBalancer(
        rule="r", public=A, port=80, private_port=8080, algorithm=Algorithm.SOURCE, members=("10.8.1.3", "10.8.1.2")
    )
    facts = InternalFacts("uuid", "b-9-VM", "10.8.1.0/24", (inside,), BalancerFacts(rules=(rule,)))
    told = document(facts)
    assert told.balancing is not None and ("10.8.1.2", "10.8.1.3") == told.balancing.rules[0].members
    assert (Vpc(cidr="10.8.1.0/24"), (inside,), (), None, (), None) == (
        told.vpc, told.interfaces, told.dhcp, told.dns, told.egress, told.metadata,
    )  # fmt: skip


def test_without_rules_nothing_runs():
    assert document(InternalFacts("uuid", "b-9-VM", "10.8.1.0/24", ())).balancing is None
