"""Where the incarnations of a machine are to be, and when a wish is served: tables, and that every plan ends."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import machine as plans
from sysvm.systemvms.machine import Demand, HostSeen, MachineWanted, PlacementSeen, choose_host, plan_machine
from sysvm.wire.machines import Kind, Power, Runtime

WISH = 7


def want(wanted: str = "running", **more: Any) -> MachineWanted:
    """A router in its third incarnation."""
    return MachineWanted(wanted=wanted, **{"kind": Kind.ROUTER, "incarnation": 3, "wish": WISH, **more})


def at(id_: int, *, incarnation: int = 3, **more: Any) -> PlacementSeen:
    """A placement that has served the wish and runs."""
    facts: dict[str, Any] = {"host": 1, "host_lost": False, "wanted": "running", "power": Power.RUNNING,
                             "told": WISH, "settled": WISH, **more}  # fmt: skip
    return PlacementSeen(id=id_, incarnation=incarnation, **facts)


BESIDE = "the next incarnation is made ready beside the one that serves"
CASES = [
    (want(), (), plans.Place()),
    (want("stopped"), (), plans.Served("stopped")),
    (want("gone"), (), plans.Served("gone")),
    (want(), (at(1, told=6, settled=6),), plans.Tell(1, "running")),
    (want(), (at(1, settled=6),), plans.Wait(60, "its host is at work on it")),
    (want(), (at(1),), plans.Served("running")),
    (want("stopped"), (at(1),), plans.Tell(1, "stopped")),
    (want("stopped"), (at(1, wanted="stopped"),), plans.Served("stopped")),
    (want("gone"), (at(1),), plans.Tell(1, "gone")),
    (want("gone"), (at(1, wanted="gone", settled=6),), plans.Wait(60, "its host is at work on it")),
    (want("gone"), (at(1, wanted="gone"),), plans.Drop(1)),
    # where nothing can run beside it, the previous incarnation goes before the next one is placed
    (want(), (at(1, incarnation=2),), plans.Tell(1, "gone")),
    (want(), (at(1, incarnation=2, wanted="gone", settled=6),),
     plans.Wait(60, "the previous incarnation is being stopped")),
    (want(), (at(1, incarnation=2, wanted="gone"),), plans.Drop(1)),
    # where something can, the next one comes to serve first
    (want(beside=1), (at(1, incarnation=2),), plans.Place(1)),
    (want(beside=2), (at(1, incarnation=2),), plans.Tell(1, "gone")),
    (want(beside=1), (at(1, incarnation=2, power=Power.STOPPED),), plans.Tell(1, "gone")),
    (want("stopped", beside=1), (at(1, incarnation=2),), plans.Tell(1, "gone")),
    (want("gone", beside=1), (at(1, incarnation=2),), plans.Tell(1, "gone")),
    (want(kind=Kind.GUEST, beside=1), (at(1, incarnation=2),), plans.Tell(1, "gone")),
    (want(), (at(1, incarnation=2), at(2, told=0, settled=0, wanted="stopped", power=Power.ABSENT)),
     plans.Tell(2, "running")),
    (want(), (at(1, incarnation=2), at(2, settled=0, age_s=80)), plans.Wait(10, BESIDE)),
    (want(), (at(1, incarnation=2), at(2, settled=0)), plans.Wait(60, BESIDE)),
    (want(), (at(1, incarnation=2), at(2)), plans.Tell(1, "gone")),
    (want(), (at(1, incarnation=2, wanted="gone", settled=6), at(2)),
     plans.Wait(60, "the previous incarnation is being stopped")),
    (want(), (at(1, incarnation=2, wanted="gone"), at(2)), plans.Drop(1)),
    # nobody waits for the last connections of one that serves no more
    (want(), (at(1, incarnation=2, wanted="gone", settled=6), at(2, serves=True)), plans.Served("running")),
    (want(), (at(1, incarnation=2, wanted="gone", settled=6, serves=True), at(2, serves=True)),
     plans.Wait(60, "the previous incarnation is being stopped")),
    # one that does not come to serve goes, and the old one is the wanted one again
    (want(), (at(1, incarnation=2), at(2, settled=0, age_s=90)),
     plans.FallBack(2, "it did not come to serve in time")),
    (want(), (at(1, incarnation=2), at(2, settled=0, failures=3, note="it broke")), plans.FallBack(2, "it broke")),
    (want(incarnation=2), (at(1, incarnation=2, settled=6, age_s=1e6), at(2)), plans.Wait(1, BESIDE)),
    # a VM, emulated beside others, may need minutes
    (want(), (at(1, incarnation=2, runtime=Runtime.VM), at(2, settled=0, age_s=90, runtime=Runtime.VM)),
     plans.Wait(60, BESIDE)),
    (want(), (at(1, incarnation=2, runtime=Runtime.VM), at(2, settled=0, age_s=420, runtime=Runtime.VM)),
     plans.FallBack(2, "it did not come to serve in time")),
    # the one that served died meanwhile: there is nothing to take over from
    (want(beside=1), (at(1, incarnation=2, power=Power.STOPPED), at(2, settled=0)), plans.Tell(1, "gone")),
    (want(incarnation=2), (at(1, incarnation=2), at(2)), plans.Tell(2, "gone")),
    # replaced again before it has come to serve: only the one that serves is kept
    (want(incarnation=4, beside=1), (at(1, incarnation=2, serves=True), at(2)), plans.Tell(2, "gone")),
    # a move: the placement elsewhere is old
    (want(moves_to=2), (at(1),), plans.Tell(1, "gone")),
    (want(moves_to=1), (at(1),), plans.Served("running")),
    # an operator gave the host up
    (want(), (at(1, host_lost=True),), plans.Drop(1)),
    (want(), (at(1, host_lost=True), at(2)), plans.Drop(1)),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "placements", "step"), CASES)
def test_the_next_step_of_a_machine(wanted: MachineWanted, placements: tuple[PlacementSeen, ...], step: plans.MachineStep):
    """One line of the table."""
    assert step == plan_machine(wanted, placements)


@pytest.mark.parametrize("power", [Power.UNKNOWN, Power.ABSENT, Power.STOPPED])
@pytest.mark.parametrize("wanted", ["running", "stopped", "gone"])
def test_what_a_host_has_not_settled_is_not_dropped(wanted: str, power: Power):
    """A placement goes only when its host says that nothing is left, or when the operator gives the host up."""
    unsettled = at(1, wanted=wanted, power=power, settled=WISH - 1)
    assert not isinstance(plan_machine(want(wanted), (unsettled,)), plans.Drop | plans.Served)


class IdealFleet:
    """Hosts that settle at once what they are told."""

    def __init__(self, placements: tuple[PlacementSeen, ...]) -> None:
        self.placements = {placement.id: placement for placement in placements}
        self.steps: list[plans.MachineStep] = []

    def obey(self, want_: MachineWanted, step: plans.MachineStep) -> None:
        """What the step writes, and what the hosts then do."""
        self.steps.append(step)
        match step:
            case plans.Place(beside):
                self._must_be_alone(beside)
                id_ = max(self.placements, default=0) + 1
                self.placements[id_] = at(id_, incarnation=want_.incarnation, host=beside or want_.moves_to or 1, told=0,
                                          wanted="stopped", settled=0, power=Power.ABSENT)  # fmt: skip
            case plans.Tell(id_, wanted):
                self.placements[id_] = replace(self.placements[id_], wanted=wanted, told=want_.wish)
            case plans.Drop(id_):
                del self.placements[id_]
            case plans.Wait():
                for id_, placement in self.placements.items():
                    self.placements[id_] = replace(placement, settled=placement.told)

    def _must_be_alone(self, beside: int | None) -> None:
        alive = [p.host for p in self.placements.values() if not p.host_lost]
        assert set(alive) <= {beside}, f"a second incarnation is placed beside {alive}"


placement_lists = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(1, 2), st.sampled_from(["running", "stopped", "gone"]), st.integers(0, WISH),
        st.integers(0, WISH), st.booleans(),
    ),
    max_size=4,
    unique_by=lambda facts: facts[:2],
)  # fmt: skip


def placed(facts: list[tuple[int, int, str, int, int, bool]]) -> tuple[PlacementSeen, ...]:
    """Placements out of what Hypothesis invents; none has settled more than it was told."""
    return tuple(
        at(number, incarnation=incarnation, host=host, wanted=wanted, told=told, settled=min(told, settled),
           host_lost=lost)
        for number, (incarnation, host, wanted, told, settled, lost) in enumerate(facts, 1)
    )  # fmt: skip


@given(
    st.sampled_from(["running", "stopped", "gone"]), st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]),
    placement_lists.map(placed),
)  # fmt: skip
def test_every_machine_comes_to_rest(
    wanted: str, moves_to: int | None, beside: int | None, placements: tuple[PlacementSeen, ...]
):
    """From any rows, with hosts that do as they are told, the wish is served, and never with places on two hosts."""
    want_ = want(wanted, moves_to=moves_to, beside=beside if moves_to in (None, beside) else None)
    current = [p for p in placements if p.incarnation == 3 and not p.host_lost]
    fleet = IdealFleet(tuple(p for p in placements if p not in current[1:]))  # rows never hold two current places
    for _ in range(32):
        step = plan_machine(want_, tuple(fleet.placements.values()))
        if isinstance(step, plans.Served):
            break
        fleet.obey(want_, step)
    else:
        raise AssertionError(f"no rest after {fleet.steps}")
    assert plans.Served(wanted) == step
    left = [p for p in fleet.placements.values() if not p.host_lost]
    if wanted == "gone":
        assert [] == left
    elif wanted == "running":
        assert [3] == [p.incarnation for p in left]


# ---------------------------------------------------------------- hosts
def host(id_: int, **more: Any) -> HostSeen:
    """A host with room."""
    facts: dict[str, Any] = {"up": True, "enabled": True, "hypervisor": "KVM", "runtimes": frozenset({"vm"}),
                             "free_memory_mb": 1024, "machines": 0, **more}  # fmt: skip
    return HostSeen(id=id_, **facts)


def demand(**more: Any) -> Demand:
    """What a small guest needs."""
    return Demand(**{"hypervisor": "KVM", "runtime": "vm", "memory_mb": 256, "bound_to_volume": False, **more})


CHOICES = [
    (demand(), (), "there is no host in this zone"),
    (demand(), (host(1, up=False), host(2, enabled=False)), "no host of this zone is up and enabled"),
    (demand(), (host(1, hypervisor="LXC"),), "no host can run KVM vm"),
    (demand(hypervisor="", runtime="container"), (host(1),), "no host can run a container"),
    (demand(memory_mb=2048), (host(1),), "no host has 2048 MB of memory free"),
    (demand(bound_to_volume=True), (host(1), host(2, has_volume=True, up=False)),
     "the host that holds its volumes is not up"),
    (demand(bound_to_volume=True), (host(1), host(2, has_volume=True, machines=9)), 2),
    (demand(needs_storage=True), (host(1, has_storage=False), host(2, machines=9)), 2),
    (demand(needs_storage=True), (host(1, has_storage=False),),
     "no host that could run it has primary storage that is up; add one with createStoragePool"),
    (demand(needs_storage=True, bound_to_volume=True), (host(1, has_volume=True, has_storage=False), host(2)), 1),
    (demand(tags=frozenset({"ssd"})), (host(1), host(2, tags=frozenset({"ssd", "new"}), machines=9)), 2),
    (demand(tags=frozenset({"ssd", "gpu"})), (host(1, tags=frozenset({"ssd"})),),
     "no host that could run it has the tags of its offering: gpu, ssd"),
    (demand(within="cluster c2"), (), "there is no host in cluster c2"),
    (demand(), (host(1, machines=3), host(2, machines=1)), 2),
    (demand(), (host(1, machines=3, has_network=True), host(2, machines=1)), 1),
    (demand(), (host(1, free_memory_mb=512), host(2)), 2),
    (demand(), (host(1), host(2)), 1),
]  # fmt: skip


@pytest.mark.parametrize(("need", "hosts", "choice"), CHOICES)
def test_the_host_of_a_machine(need: Demand, hosts: tuple[HostSeen, ...], choice: int | str):
    """The best host, or the reason why there is none."""
    chosen = choose_host(need, hosts)
    assert choice == (chosen if isinstance(chosen, str) else chosen.id)


hosts_ = st.lists(
    st.builds(
        host,
        st.integers(1, 5),
        up=st.booleans(),
        enabled=st.booleans(),
        free_memory_mb=st.integers(0, 1024),
        machines=st.integers(0, 3),
        has_volume=st.booleans(),
        has_network=st.booleans(),
    ),
    unique_by=lambda seen: seen.id,
)


@given(st.builds(demand, memory_mb=st.integers(0, 1024), bound_to_volume=st.booleans()), hosts_)
def test_a_chosen_host_can_take_it_and_the_order_of_rows_says_nothing(need: Demand, hosts: list[HostSeen]):
    """Up, enabled, with room, with the volumes; the same one however the rows are sorted."""
    chosen = choose_host(need, tuple(hosts))
    assert chosen == choose_host(need, tuple(reversed(hosts)))
    fit = [h for h in hosts if h.up and h.enabled and h.free_memory_mb >= need.memory_mb
           and (h.has_volume or not need.bound_to_volume)]  # fmt: skip
    assert isinstance(chosen, HostSeen) == bool(fit)
    assert not isinstance(chosen, HostSeen) or chosen in fit
