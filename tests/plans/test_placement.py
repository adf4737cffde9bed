"""What one host is asked to do next: the table of evidence, and that every plan ends on an ideal host."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import machine as plans
from sysvm.systemvms.machine import PlacementWanted, plan_placement
from sysvm.wire.machines import AgentSeen, Kind, MachineSeen, OperationSeen, OperationState, Power, Runtime

MACHINE = "m"
SPEC, OTHER_SPEC = "spec", "other spec"
DOCUMENT, OTHER_DOCUMENT = "document", "other document"


def want(wanted: str = "running", **more: Any) -> PlacementWanted:
    """A router's placement that is ready to be made."""
    facts: dict[str, Any] = {"kind": Kind.ROUTER, "incarnation": 3, "spec": SPEC, "document": DOCUMENT, **more}
    return PlacementWanted(wanted=wanted, **facts)


def seen(
    power: Power,
    *,
    agent: str | None = None,
    spec: str = SPEC,
    busy: str = "",
    ready: str | None = None,
    returned: str = "",
) -> MachineSeen:
    """What a host says of it; `agent` is the digest that its agent has live, `ready` what one that stands by has."""
    if ready is not None:
        aside = AgentSeen(boot="b", version="1", live="", standby=True, ready=ready)
        return MachineSeen(machine=MACHINE, incarnation=3, power=power, spec=spec, agent=aside, returned=returned)
    return MachineSeen(
        machine=MACHINE,
        incarnation=3,
        power=power,
        spec=spec,
        agent=None if agent is None else AgentSeen(boot="b", version="1", live=agent),
        operations=(OperationSeen(name=busy, state=OperationState.RUNNING),) if busy else (),
        why="the driver is away" if power is Power.UNKNOWN else "",
    )


def carrying() -> MachineSeen:
    """It stands by, and still has connections."""
    agent = AgentSeen(boot="b", version="1", live="", standby=True, carries=True)
    return MachineSeen(machine=MACHINE, incarnation=3, power=Power.RUNNING, spec=SPEC, agent=agent)


LINGERS = "it still carries connections of its load balancer; their end is told"
UNHEARD = "its agent, who knows whether it still carries connections, is not connected"
PATIENCE = plans.AGENT_PATIENCE_S[Runtime.CONTAINER]
CASES = [
    # wanted running
    (want(), None, plans.Start()),
    (want(prepared=False), None, plans.Prepare()),
    (want(), seen(Power.ABSENT), plans.Start()),
    (want(), seen(Power.STOPPED), plans.Start()),
    (want(prepared=False), seen(Power.STOPPED), plans.Prepare()),
    (want(), seen(Power.STARTING), plans.Wait(0.5, "it is starting")),
    (want(), seen(Power.STOPPING), plans.Wait(0.5, "it is stopping")),
    (want(), seen(Power.RUNNING), plans.Wait(1, "its agent has not connected yet")),
    (want(), seen(Power.RUNNING, agent=""), plans.Configure()),
    (want(), seen(Power.RUNNING, agent=OTHER_DOCUMENT), plans.Configure()),
    (want(), seen(Power.RUNNING, agent=DOCUMENT), plans.Settled()),
    (want(), seen(Power.RUNNING, agent=DOCUMENT, spec=OTHER_SPEC), plans.Renic()),
    # it was off, so nobody has asked for its document; whatever its agent has is not known to be right
    (want(document=plans.UNTOLD), None, plans.Start()),
    (want(document=plans.UNTOLD), seen(Power.RUNNING), plans.Wait(1, "its agent has not connected yet")),
    (want(document=plans.UNTOLD), seen(Power.RUNNING, agent=""), plans.Configure()),
    (want(document=plans.UNTOLD), seen(Power.RUNNING, agent=DOCUMENT), plans.Configure()),
    (want(document=plans.UNTOLD), seen(Power.RUNNING, ready=""), plans.Configure()),
    (want(kind=Kind.GUEST, document=None), seen(Power.RUNNING), plans.Settled()),
    (want(kind=Kind.GUEST, document=None), seen(Power.RUNNING, spec=OTHER_SPEC), plans.Renic()),
    # one that stands by, beside another incarnation that serves
    (want(), seen(Power.RUNNING, ready=""), plans.Configure()),
    (want(), seen(Power.RUNNING, ready=OTHER_DOCUMENT), plans.Configure()),
    (want(), seen(Power.RUNNING, ready=DOCUMENT, spec=OTHER_SPEC), plans.Renic()),
    (want(), seen(Power.RUNNING, ready=DOCUMENT), plans.HandOver()),
    (want(), seen(Power.RUNNING, ready=DOCUMENT, returned="no"), plans.Wait(60, "the service was handed back: no")),
    # the one that serves while another is wanted: told what is new, else left alone
    (want(current=False), seen(Power.RUNNING, agent=DOCUMENT, spec=OTHER_SPEC), plans.Settled()),
    (want(current=False), seen(Power.RUNNING, agent=OTHER_DOCUMENT), plans.Configure()),
    (want(current=False), seen(Power.RUNNING, ready=""), plans.Settled()),
    (want(current=False), seen(Power.RUNNING), plans.Settled()),
    (want(current=False), seen(Power.STOPPED), plans.Settled()),
    (want(current=False), None, plans.Settled()),
    (want("gone", current=False), seen(Power.RUNNING), plans.Stop(10.0)),
    (want("gone", current=False), carrying(), plans.Wait(30, LINGERS)),
    (want("gone", current=False, grace_s=0.0), carrying(), plans.Stop(0.0)),
    (want("gone", current=False, keep_network=True), seen(Power.RUNNING), plans.Wait(1, UNHEARD)),
    (want("gone", current=False, keep_network=True), seen(Power.RUNNING, agent=""), plans.Stop(10.0)),
    (want("gone", current=False, keep_network=True, grace_s=0.0), seen(Power.RUNNING), plans.Stop(0.0)),
    # wanted stopped
    (want("stopped"), None, plans.Settled()),
    (want("stopped"), seen(Power.STOPPED), plans.Settled()),
    (want("stopped"), seen(Power.RUNNING, agent=DOCUMENT), plans.Stop(10.0)),
    (want("stopped", grace_s=0.0), seen(Power.RUNNING), plans.Stop(0.0)),
    # wanted gone
    (want("gone"), None, plans.Settled()),
    (want("gone"), seen(Power.ABSENT), plans.Settled()),
    (want("gone"), seen(Power.STOPPED), plans.Remove(False)),
    (want("gone", keep_network=True), seen(Power.STOPPED), plans.Remove(True)),
    (want("gone"), seen(Power.RUNNING), plans.Stop(10.0)),
]


@pytest.mark.parametrize(("wanted", "sight", "act"), CASES)
def test_the_next_act_of_a_placement(wanted: PlacementWanted, sight: MachineSeen | None, act: plans.PlacementAct):
    """One line of the table."""
    assert act == plan_placement(wanted, sight, 0.0)


@pytest.mark.parametrize("wanted", ["running", "stopped", "gone"])
def test_unknown_is_never_absent(wanted: str):
    """A host that cannot look is waited for, whatever is wanted; nothing is made, stopped or called settled."""
    assert plans.Wait(5, "the host cannot look: the driver is away") == plan_placement(want(wanted), seen(Power.UNKNOWN), 1e6)


@pytest.mark.parametrize("wanted", ["running", "stopped", "gone"])
@pytest.mark.parametrize("power", [power for power in Power if power is not Power.UNKNOWN])
def test_an_operation_in_flight_is_waited_for(wanted: str, power: Power):
    """A second act beside one that is under way would race it."""
    assert plans.Wait(1, "ensure-running is under way") == plan_placement(want(wanted), seen(power, busy="ensure-running"), 0.0)


def test_a_machine_whose_agent_never_comes_is_started_again():
    """Patience first: an emulated machine is slow."""
    alone = seen(Power.RUNNING)
    assert isinstance(plan_placement(want(), alone, PATIENCE), plans.Wait)
    assert plans.Stop(0) == plan_placement(want(), alone, PATIENCE + 1)


# ---------------------------------------------------------------- every plan ends
class IdealHost:
    """Does at once what it is asked, and never fails."""

    def __init__(self, first: MachineSeen | None, prepared: bool) -> None:
        self.seen = first
        self.prepared = prepared
        self.acts: list[plans.PlacementAct] = []

    def obey(self, act: plans.PlacementAct) -> None:
        """One act, or one wait in which what was under way ends."""
        self.acts.append(act)
        match act:
            case plans.Prepare():
                self.prepared = True
            case plans.Start():
                self.seen = seen(Power.RUNNING)
            case plans.Renic():
                self._now(spec=SPEC)
            case plans.Stop():
                self._now(power=Power.STOPPED, agent=None)
            case plans.Remove():
                self.seen = None
            case plans.HandOver():
                self._now(agent=AgentSeen(boot="b", version="1", live=DOCUMENT, ready=DOCUMENT))
            case plans.Configure() if self.seen is not None and self.seen.agent is not None and self.seen.agent.standby:
                self._now(agent=msgspec.structs.replace(self.seen.agent, ready=DOCUMENT))
            case plans.Configure():
                self._now(agent=AgentSeen(boot="b", version="1", live=DOCUMENT))
            case plans.Wait():
                self._pass_time()

    def _pass_time(self) -> None:
        if self.seen is None:
            return
        ends = {Power.STARTING: Power.RUNNING, Power.STOPPING: Power.STOPPED, Power.UNKNOWN: Power.RUNNING}
        power = ends.get(self.seen.power, self.seen.power)
        agent = self.seen.agent or AgentSeen(boot="b", version="1", live="")
        self._now(power=power, operations=(), why="", agent=agent if power is Power.RUNNING else None)

    def _now(self, **changes: Any) -> None:
        assert self.seen is not None, f"nothing is there to be changed by {self.acts[-1]}"
        self.seen = msgspec.structs.replace(self.seen, **changes)


sights = st.none() | st.builds(
    seen,
    st.sampled_from(list(Power)),
    agent=st.sampled_from([None, "", DOCUMENT, OTHER_DOCUMENT]),
    spec=st.sampled_from([SPEC, OTHER_SPEC]),
    busy=st.sampled_from(["", "ensure-stopped"]),
)
wishes = st.builds(
    want,
    st.sampled_from(["running", "stopped", "gone"]),
    document=st.sampled_from([None, DOCUMENT]),
    prepared=st.booleans(),
    keep_network=st.booleans(),
)


@given(wishes, sights, st.sampled_from([0.0, 1000.0]))
def test_every_plan_ends_within_eight_steps(wanted: PlacementWanted, first: MachineSeen | None, up_s: float):
    """From whatever the host may say, an ideal host comes to rest, and at rest it has what is wanted."""
    host = IdealHost(first, wanted.prepared)
    for _ in range(8):
        act = plan_placement(replace(wanted, prepared=host.prepared), host.seen, up_s)
        up_s = 0.0
        if isinstance(act, plans.Settled):
            break
        host.obey(act)
    else:
        raise AssertionError(f"no rest after {host.acts}")
    power = Power.ABSENT if host.seen is None else host.seen.power
    rest = {"running": {Power.RUNNING}, "stopped": {Power.STOPPED, Power.ABSENT}, "gone": {Power.ABSENT}}
    assert power in rest[wanted.wanted]
    if wanted.wanted == "running" and wanted.document is not None:
        assert host.seen is not None and host.seen.agent is not None
        assert (DOCUMENT, SPEC) == (host.seen.agent.live, host.seen.spec)


@given(wishes, sights, st.floats(0, 1e6))
def test_nothing_is_removed_or_made_twice_on_doubt(wanted: PlacementWanted, first: MachineSeen | None, up_s: float):
    """Remove only what is stopped, make only what is proved absent."""
    act = plan_placement(wanted, first, up_s)
    if isinstance(act, plans.Remove):
        assert first is not None and first.power is Power.STOPPED
    if isinstance(act, plans.Start):
        assert first is None or first.power in (Power.ABSENT, Power.STOPPED)
