"""Affinity groups: which hosts they leave a guest, and which of those it likes best."""

import pytest

from sysvm.systemvms.affinity import FREE, KINDS, Fellows, near
from sysvm.systemvms.machine import Demand, HostSeen, choose_host
from sysvm.wire.machines import Runtime

TOGETHER, APART = "host affinity", "host anti-affinity"
RATHER_TOGETHER, RATHER_APART = "non-strict host affinity", "non-strict host anti-affinity"


def group(type_: str, on: str = "", kept_on: str = "") -> Fellows:
    """Fellows on these hosts."""
    return Fellows(KINDS[type_], frozenset(map(int, on)), frozenset(map(int, kept_on)))


def host(id_: int) -> HostSeen:
    """A host as good as any other, the less loaded the lower its id."""
    return HostSeen(id_, True, True, "KVM", frozenset({Runtime.VM}), 4096, machines=id_)


FORBIDDEN = "its affinity groups forbid each host that could run it"
CHOICES: list[tuple[tuple[Fellows, ...], int | str]] = [
    ((), 1),
    ((group(APART),), 1),
    ((group(APART, on="1"),), 2),
    ((group(APART, on="12"),), 3),
    ((group(APART, on="123"),), FORBIDDEN),
    ((group(APART, kept_on="1"),), 2),  # one that is stopped there would have to wait
    ((group(APART, on="23", kept_on="1"),), 1),  # but it forbids nothing
    ((group(TOGETHER),), 1),
    ((group(TOGETHER, on="3"),), 3),
    ((group(TOGETHER, on="23"),), 2),
    ((group(TOGETHER, kept_on="3"),), 3),
    ((group(TOGETHER, on="2", kept_on="3"),), 2),
    ((group(TOGETHER, on="2"), group(TOGETHER, on="3")), FORBIDDEN),
    ((group(TOGETHER, on="2"), group(APART, on="2")), FORBIDDEN),
    ((group(TOGETHER, on="23"), group(APART, on="2")), 3),
    ((group(RATHER_APART, on="1"),), 2),
    ((group(RATHER_APART, on="123"),), 1),
    ((group(RATHER_TOGETHER, on="3"),), 3),
    ((group(RATHER_TOGETHER, on="3"), group(APART, on="3")), 1),
]


@pytest.mark.parametrize(("groups", "choice"), CHOICES)
def test_the_host_of_a_guest_in_groups(groups: tuple[Fellows, ...], choice: int | str):
    """Of three hosts, of which the first would be taken if there were no groups."""
    demand = Demand("KVM", Runtime.VM, 128, bound_to_volume=False, near=near(groups))
    chosen = choose_host(demand, (host(3), host(1), host(2)))
    assert choice == (chosen if isinstance(chosen, str) else chosen.id)


def test_a_guest_without_groups_is_free():
    assert FREE == near(())
