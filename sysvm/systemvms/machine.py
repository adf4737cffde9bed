"""What all machines share: the next step of a machine, and the next act of one placement of it.

Two plans, because they have different evidence. `plan_machine` knows what is wanted and what its placements last said; it
decides where incarnations are to be, and when a wish is served. `plan_placement` knows one host's sight of one
incarnation, and decides the single act that brings it nearer.

The evidence table. What a host says is believed; what nobody could look at is unknown.

| the host says            | is                | so                                                     |
|--------------------------|-------------------|--------------------------------------------------------|
| has it, running/stopped  | alive / dead      | act                                                    |
| does not have it         | gone              | make it again, here                                    |
| new boot id, no machine  | gone              | the same: its look says so                             |
| cannot look (driver)     | unknown           | wait, with the reason                                  |
| no link                  | unreachable       | wait and alert; never destroyed, never made elsewhere  |
| operator gave it up      | lost              | made elsewhere                                         |
"""

from dataclasses import dataclass
from typing import Literal

from sysvm.wire.machines import Kind, MachineSeen, OperationState, Power, Runtime

Wanted = Literal["running", "stopped", "gone"]

# How long a machine may run without its agent, before its first words or after it has gone silent. Alone, an emulated VM
# needs 10 s to them; beside a dozen others on two cores minutes, and starting it again would only begin that anew.
AGENT_PATIENCE_S = {Runtime.CONTAINER: 90.0, Runtime.VM: 300.0, Runtime.SIMULATED: 90.0}
DEATHS_BEFORE_ALERT = 3
STABLE_S = 300.0  # one that has run so long dies for the first time
RESTART_PAUSES_S = (0.0, 0.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # by how often in a row it has died


# ---------------------------------------------------------------- the placement
@dataclass(frozen=True, slots=True)
class PlacementWanted:
    """What one host shall have of a machine."""

    kind: Kind
    incarnation: int
    wanted: Wanted
    spec: str  # digest of the MachineSpec
    document: str | None  # digest of the document; None: no agent inside
    prepared: bool = True  # images and volumes are on the host
    grace_s: float = 10.0
    keep_network: bool = False
    runtime: Runtime = Runtime.CONTAINER
    deaths: int = 0  # in a row
    down_s: float = 0.0  # since it was last seen running


@dataclass(frozen=True, slots=True)
class Prepare:
    """Bring images and volumes to the host."""


@dataclass(frozen=True, slots=True)
class Create:
    """EnsureCreated."""


@dataclass(frozen=True, slots=True)
class Start:
    """EnsureRunning: made if it is not there, and started."""


@dataclass(frozen=True, slots=True)
class Renic:
    """EnsureNics: ports, disks and drive of a running machine."""


@dataclass(frozen=True, slots=True)
class Stop:
    """EnsureStopped."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Remove:
    """EnsureRemoved."""

    keep_network: bool


@dataclass(frozen=True, slots=True)
class Configure:
    """Apply the document."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done for `seconds`, because of `why`."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The placement is as it is wanted."""


PlacementAct = Prepare | Create | Start | Renic | Stop | Remove | Configure | Wait | Settled


def plan_placement(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    """The next act of one placement. `seen` is None when the host has nothing of this incarnation; `up_s` is how long
    it has been known to run without its agent."""
    if seen is not None and seen.power is Power.UNKNOWN:
        return Wait(5, f"the host cannot look: {seen.why}")
    busy = next((op for op in seen.operations if op.state is OperationState.RUNNING), None) if seen else None
    if busy is not None:
        return Wait(1, f"{busy.name} is under way")
    match want.wanted:
        case "gone":
            return _towards_gone(want, seen)
        case "stopped":
            return _towards_stopped(want, seen)
        case "running":
            return _towards_running(want, seen, up_s)


def _towards_gone(want: PlacementWanted, seen: MachineSeen | None) -> PlacementAct:
    if seen is None or seen.power is Power.ABSENT:
        return Settled()
    if seen.power is Power.STOPPED:
        return Remove(want.keep_network)
    return Stop(want.grace_s)


def _towards_stopped(want: PlacementWanted, seen: MachineSeen | None) -> PlacementAct:
    if seen is None or seen.power in (Power.STOPPED, Power.ABSENT):
        return Settled()
    return Stop(want.grace_s)


def _towards_running(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    if seen is None or seen.power in (Power.ABSENT, Power.STOPPED):
        return _start(want) if want.prepared else Prepare()
    if seen.power in (Power.STARTING, Power.STOPPING):
        return Wait(0.5, f"it is {seen.power}")
    if want.document is None:
        return _towards_spec(want, seen)
    return _towards_configured(want, seen, up_s)


def _start(want: PlacementWanted) -> PlacementAct:
    """One that dies again and again is not started as fast as it dies."""
    pause = RESTART_PAUSES_S[min(want.deaths, len(RESTART_PAUSES_S) - 1)] - want.down_s
    if pause <= 0:
        return Start()
    return Wait(pause, f"it has died {want.deaths} times in a row; it is started again after a pause")


def _towards_configured(want: PlacementWanted, seen: MachineSeen, up_s: float) -> PlacementAct:
    if seen.agent is None:
        if up_s > AGENT_PATIENCE_S[want.runtime]:
            return Stop(0)  # it runs, but nobody is at home: start it again
        return Wait(1, "its agent has not connected yet")  # its hello makes the turn due; this is for a lost one
    if seen.spec != want.spec:
        return Renic()
    if seen.agent.live != want.document:
        return Configure()
    return Settled()


# ---------------------------------------------------------------- the machine
@dataclass(frozen=True, slots=True)
def _towards_spec(want: PlacementWanted, seen: MachineSeen) -> PlacementAct:
    """A running guest gets what is on its host by then: disks, the image in its drive."""
    if not want.prepared:
        return Prepare()
    return Settled() if seen.spec == want.spec else Renic()


class PlacementSeen:
    """What the database says about a placement."""

    id: int
    incarnation: int
    host: int
    host_lost: bool  # the operator has given the host up
    wanted: Wanted
    power: Power
    told: int
    settled: int


@dataclass(frozen=True, slots=True)
class MachineWanted:
    """What is wanted of a machine."""

    kind: Kind
    wanted: Wanted
    incarnation: int
    wish: int
    moves_to: int | None = None  # host that it shall run on


@dataclass(frozen=True, slots=True)
class Place:
    """Choose a host for the wanted incarnation."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Let a placement serve the wish: what it shall be."""

    placement: int
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Drop:
    """The placement is no more: nothing of it is left on its host (or the host is lost)."""

    placement: int


@dataclass(frozen=True, slots=True)
class Served:
    """The wish is served with this outcome."""

    outcome: Wanted


MachineStep = Place | Tell | Drop | Served | Wait


def plan_machine(want: MachineWanted, placements: tuple[PlacementSeen, ...]) -> MachineStep:
    """The next step of a machine, from what its placements last said."""
    for placement in placements:
        if placement.host_lost:
            return Drop(placement.id)
    for placement in placements:
        if _is_old(want, placement):
            step = _retire(want, placement)
            if step is not None:
                return step
    current = next((placement for placement in placements if not _is_old(want, placement)), None)
    if current is None:
        return Place() if want.wanted == "running" else Served(want.wanted)
    if current.told < want.wish or current.wanted != want.wanted:
        return Tell(current.id, want.wanted)
    if current.settled < want.wish:
        return Wait(60, "its host is at work on it")
    if want.wanted == "gone":
        return Drop(current.id)
    return Served(want.wanted)


def _is_old(want: MachineWanted, placement: PlacementSeen) -> bool:
    if want.wanted == "gone":
        return False
    moved = want.moves_to is not None and placement.host != want.moves_to and want.wanted == "running"
    return placement.incarnation < want.incarnation or moved


def _retire(want: MachineWanted, placement: PlacementSeen) -> MachineStep | None:
    """Addresses and volumes of an incarnation are the next one's, so the old one goes first."""
    if placement.wanted != "gone" or placement.told < want.wish:
        return Tell(placement.id, "gone")
    if placement.settled < want.wish:
        return Wait(60, "the previous incarnation is being stopped")
    return Drop(placement.id)


# ---------------------------------------------------------------- choosing a host
@dataclass(frozen=True, slots=True)
class HostSeen:
    """A host as the planner sees it."""

    id: int
    up: bool
    enabled: bool
    hypervisor: str
    runtimes: frozenset[str]
    free_memory_mb: int
    machines: int
    has_volume: bool = False  # the machine's volumes are here, and only here
    has_network: bool = False  # a kept namespace of the previous incarnation is here


@dataclass(frozen=True, slots=True)
class Demand:
    """What a machine needs of a host."""

    hypervisor: str  # empty: any
    runtime: str
    memory_mb: int
    bound_to_volume: bool


def choose_host(demand: Demand, hosts: tuple[HostSeen, ...]) -> HostSeen | str:
    """The best host, or the reason why there is none."""
    if not hosts:
        return "there is no host in this zone"
    up = [host for host in hosts if host.up and host.enabled]
    if not up:
        return "no host of this zone is up and enabled"
    able = [host for host in up if demand.runtime in host.runtimes and demand.hypervisor in ("", host.hypervisor)]
    if not able:
        return f"no host can run {demand.hypervisor or 'a'} {demand.runtime}"
    if demand.bound_to_volume:
        bound = [host for host in able if host.has_volume]
        if not bound:
            return "the host that holds its volumes is not up"
        able = bound
    roomy = [host for host in able if host.free_memory_mb >= demand.memory_mb]
    if not roomy:
        return f"no host has {demand.memory_mb} MB of memory free"
    return max(roomy, key=lambda host: (host.has_network, -host.machines, host.free_memory_mb, -host.id))
