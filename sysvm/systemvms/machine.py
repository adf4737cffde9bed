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

A replacement is the next incarnation. A router's is made beside the one that serves, where a host can do that: it starts,
takes its document and checks it, then the host hands the service over in one act, and only then the old one is retired. If
it has not come that far within its time, or did not serve when it was tried, it goes, and the old one is the wanted one
again. Where it has to go to another host, the two hosts do the same between them (relocation.py). Whatever else is replaced
stops before the next one is placed.
"""

from dataclasses import dataclass
from typing import Literal

from sysvm.systemvms.affinity import FREE, Near
from sysvm.wire.machines import Kind, MachineSeen, Moving, OperationState, Power, Runtime

Wanted = Literal["running", "stopped", "gone", "incoming", "away"]  # the last two of placements only: see migration.py

# How long a machine may run without its agent, before its first words or after it has gone silent. Alone, an emulated VM
# needs 10 s to them; beside a dozen others on two cores minutes, and starting it again would only begin that anew.
AGENT_PATIENCE_S = {Runtime.CONTAINER: 90.0, Runtime.VM: 300.0, Runtime.SIMULATED: 90.0}
DEATHS_BEFORE_ALERT = 3
STABLE_S = 300.0  # one that has run so long dies for the first time
# How long the next incarnation of a router may take until it serves in the place of the one that does.
REPLACE_PATIENCE_S = {Runtime.CONTAINER: 90.0, Runtime.VM: 420.0, Runtime.SIMULATED: 90.0}
# How long a retired router whose agent is silent (its host's agent was restarted) may still carry connections.
RETIRED_PATIENCE_S = 30.0
RESTART_PAUSES_S = (0.0, 0.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # by how often in a row it has died


# ---------------------------------------------------------------- the placement
UNTOLD = "untold"  # instead of a digest: it was off, and nobody has asked what its agent is to be told


@dataclass(frozen=True, slots=True)
class PlacementWanted:
    """What one host shall have of a machine."""

    kind: Kind
    incarnation: int
    wanted: Wanted
    spec: str  # digest of the MachineSpec
    document: str | None  # digest of the document; None: no agent inside; UNTOLD
    prepared: bool = True  # images and volumes are on the host
    grace_s: float = 10.0
    keep_network: bool = False
    runtime: Runtime = Runtime.CONTAINER
    deaths: int = 0  # in a row
    down_s: float = 0.0  # since it was last seen running
    current: bool = True  # False: another incarnation is wanted, and this one serves until that one does


@dataclass(frozen=True, slots=True)
class Prepare:
    """Bring images and volumes to the host."""


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
class HandOver:
    """EnsureHandover: it serves instead of the incarnation that does."""


@dataclass(frozen=True, slots=True)
class TakeIn:
    """EnsureLanding: everything is there to take it in."""


@dataclass(frozen=True, slots=True)
class Send:
    """EnsureSent: it leaves for the host that takes it in."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done for `seconds`, because of `why`."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The placement is as it is wanted."""


PlacementAct = Prepare | Start | Renic | Stop | Remove | Configure | HandOver | TakeIn | Send | Wait | Settled


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
            return _towards_gone(want, seen, up_s)
        case "stopped":
            return _towards_stopped(want, seen)
        case "incoming" if want.kind is Kind.ROUTER:
            return _towards_standing_by(want, seen, up_s)
        case "incoming":
            return _towards_taken_in(want, seen)
        case "away":
            return _towards_sent(want, seen, up_s)
        case "running" if seen is not None and _is_called_back(want, seen):
            return _back_from_moving(want, seen)
        case "running" if not want.current:
            return _as_long_as_it_serves(want, seen)
        case "running":
            return _towards_running(want, seen, up_s)


def _towards_gone(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    if seen is None or seen.power is Power.ABSENT:
        return Settled()
    if seen.power is Power.STOPPED:
        return Remove(want.keep_network)
    if seen.agent is None and want.keep_network and want.grace_s > 0 and up_s < RETIRED_PATIENCE_S:
        return Wait(1, "its agent, who knows whether it still carries connections, is not connected")
    if seen.agent is not None and seen.agent.carries and want.grace_s > 0:
        return Wait(30, "it still carries connections of its load balancer; their end is told")
    return Stop(want.grace_s)


def _towards_taken_in(want: PlacementWanted, seen: MachineSeen | None) -> PlacementAct:
    if seen is not None and seen.moving is Moving.IN and seen.landing is not None:
        return Settled()
    if seen is not None and seen.power not in (Power.ABSENT, Power.STOPPED):
        return Settled()  # it is there; a door that was shut meanwhile opens to nobody any more
    return TakeIn() if want.prepared else Prepare()


def _towards_standing_by(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    """A router's next incarnation, on another host than the one that serves: ready, and heard by nobody."""
    if seen is None or seen.power in (Power.ABSENT, Power.STOPPED):
        return TakeIn() if want.prepared else Prepare()
    act = _towards_configured(want, seen, up_s) if seen.power is Power.RUNNING else Wait(0.5, f"it is {seen.power}")
    if not isinstance(act, HandOver):
        return act  # settled: the service is here already
    return Settled() if seen.landing is not None else TakeIn()


def _towards_sent(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    """An attempt is made once. How it ended is a fact that somebody else decides by."""
    if seen is None or seen.power is Power.ABSENT or seen.moving in (Moving.SENT, Moving.FAILED):
        return Settled()
    if seen.power is Power.STOPPED:
        # What a container's processes leave in the kernel goes on speaking for a router.
        return Send() if want.kind is Kind.ROUTER else Settled()
    if seen.moving is Moving.OUT:
        return Wait(5, seen.why or "it is on its way to another host")
    if want.kind is Kind.ROUTER and seen.agent is None and up_s < RETIRED_PATIENCE_S:
        return Wait(1, "its agent, who knows its connections, is not connected")
    return Send() if seen.power is Power.RUNNING else Wait(0.5, f"it is {seen.power}")


def _is_called_back(want: PlacementWanted, seen: MachineSeen) -> bool:
    if want.kind is Kind.ROUTER:
        return want.current and seen.moving not in (Moving.NO, Moving.IN)
    return seen.moving is not Moving.NO


def _back_from_moving(want: PlacementWanted, seen: MachineSeen) -> PlacementAct:
    """What has come in may run now, what was to leave is called back. No guest is started where it has been sent from; a
    router goes on there behind shut ports, and is called back when there is no other one any more."""
    if want.kind is Kind.ROUTER:
        return Start()
    return Wait(5, "it has left for another host") if seen.moving is Moving.SENT else Start()


def _towards_stopped(want: PlacementWanted, seen: MachineSeen | None) -> PlacementAct:
    if seen is None or seen.power in (Power.STOPPED, Power.ABSENT):
        return Settled()
    return Stop(want.grace_s)


def _as_long_as_it_serves(want: PlacementWanted, seen: MachineSeen | None) -> PlacementAct:
    """It is told what is new, and otherwise left alone: once it is dead, it is not started again beside the next one."""
    if seen is None or seen.power is not Power.RUNNING or seen.agent is None or seen.agent.standby:
        return Settled()
    return Settled() if want.document in (None, seen.agent.live) else Configure()


def _towards_running(want: PlacementWanted, seen: MachineSeen | None, up_s: float) -> PlacementAct:
    if seen is None or seen.power in (Power.ABSENT, Power.STOPPED):
        return _start(want) if want.prepared else Prepare()
    if seen.power in (Power.STARTING, Power.STOPPING):
        return Wait(0.5, f"it is {seen.power}")
    if want.document is None:
        return _towards_spec(want, seen)
    return _towards_configured(want, seen, up_s)


def _towards_spec(want: PlacementWanted, seen: MachineSeen) -> PlacementAct:
    """A running guest gets what is on its host by then: disks, the image in its drive."""
    if not want.prepared:
        return Prepare()
    return Settled() if seen.spec == want.spec else Renic()


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
    if seen.returned:
        return Wait(60, f"the service was handed back: {seen.returned}")
    if want.document not in (seen.agent.live, seen.agent.ready):
        return Configure()
    return HandOver() if seen.agent.standby else Settled()


# ---------------------------------------------------------------- the machine
@dataclass(frozen=True, slots=True)
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
    runtime: Runtime = Runtime.CONTAINER
    serves: bool = False  # a document of it is live
    age_s: float = 0.0  # since it was placed
    failures: int = 0  # in a row
    note: str = ""
    moving: Moving = Moving.NO


@dataclass(frozen=True, slots=True)
class MachineWanted:
    """What is wanted of a machine."""

    kind: Kind
    wanted: Wanted
    incarnation: int
    wish: int
    moves_to: int | None = None  # host that it shall run on
    beside: int | None = None  # host on which the next incarnation can run beside the one that serves there
    apart: int | None = None  # host on which it can while that one serves on its own


@dataclass(frozen=True, slots=True)
class Place:
    """Choose a host for the wanted incarnation; `beside`: this one, where the previous one serves; `apart`: this one, while the
    previous one serves on another."""

    beside: int | None = None
    apart: int | None = None


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


@dataclass(frozen=True, slots=True)
class FallBack:
    """The next incarnation does not come to serve: the one that does is the wanted one again."""

    incarnation: int
    why: str


MachineStep = Place | Tell | Drop | Served | FallBack | Wait


def plan_machine(want: MachineWanted, placements: tuple[PlacementSeen, ...]) -> MachineStep:
    """The next step of a machine, from what its placements last said."""
    for placement in placements:
        if placement.host_lost:
            return Drop(placement.id)
    step = _replace_beside(want, placements)
    if step is not None:
        return step
    current = next((placement for placement in placements if not _is_old(want, placement)), None)
    for placement in placements:
        if _is_old(want, placement):
            step = _retire(want, placement)
            if not (isinstance(step, Wait) and _has_left(want, placement, current)):
                return step
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
    return placement.incarnation != want.incarnation or moved


def _replace_beside(want: MachineWanted, placements: tuple[PlacementSeen, ...]) -> MachineStep | None:
    """What comes before the incarnation that serves may be retired; None: nothing, or it cannot be done so."""
    if want.kind is not Kind.ROUTER or want.wanted != "running":
        return None
    old = [p for p in placements if _is_old(want, p) and p.wanted == "running" and p.power is Power.RUNNING]
    if not old:
        return None
    serving = next((p for p in reversed(old) if p.serves), old[-1])
    for placement in placements:
        if _is_old(want, placement) and placement.id != serving.id and not placement.serves:
            return _retire(want, placement)  # one that never came to serve
    current = next((p for p in placements if not _is_old(want, p)), None)
    if current is None:
        if want.beside == serving.host:
            return Place(want.beside)
        return Place(apart=want.apart) if want.apart is not None else None
    if current.host != serving.host:
        return None
    if current.told < want.wish or current.wanted != "running":
        return Tell(current.id, "running")
    if current.settled >= want.wish:
        return None
    return _until_it_serves(current, serving)


def _until_it_serves(current: PlacementSeen, serving: PlacementSeen) -> MachineStep:
    left = REPLACE_PATIENCE_S[current.runtime] - current.age_s
    if current.incarnation > serving.incarnation and (left <= 0 or current.failures >= DEATHS_BEFORE_ALERT):
        return FallBack(serving.incarnation, current.note or "it did not come to serve in time")
    return Wait(min(60.0, max(left, 1.0)), "the next incarnation is made ready beside the one that serves")


def _has_left(want: MachineWanted, placement: PlacementSeen, current: PlacementSeen | None) -> bool:
    """It serves no more, another one does: nobody has to wait until the last of it is gone."""
    return current is not None and current.settled >= want.wish and current.serves and not placement.serves


def _retire(want: MachineWanted, placement: PlacementSeen) -> MachineStep:
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
    has_storage: bool = True  # primary storage that is up
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Demand:
    """What a machine needs of a host."""

    hypervisor: str  # empty: any
    runtime: str
    memory_mb: int
    bound_to_volume: bool
    near: Near = FREE  # what its affinity groups say
    needs_storage: bool = False  # for volumes that are nowhere yet
    tags: frozenset[str] = frozenset()  # a host must have all of them
    within: str = "this zone"  # where the hosts are that may be chosen, as a reader knows it


def choose_host(demand: Demand, hosts: tuple[HostSeen, ...]) -> HostSeen | str:
    """The best host, or the reason why there is none."""
    if not hosts:
        return f"there is no host in {demand.within}"
    up = [host for host in hosts if host.up and host.enabled]
    if not up:
        return f"no host of {demand.within} is up and enabled"
    able = [host for host in up if demand.runtime in host.runtimes and demand.hypervisor in ("", host.hypervisor)]
    if not able:
        return f"no host can run {demand.hypervisor or 'a'} {demand.runtime}"
    tagged = [host for host in able if demand.tags <= host.tags]
    if not tagged:
        return f"no host that could run it has the tags of its offering: {', '.join(sorted(demand.tags))}"
    stored = [host for host in tagged if host.has_storage or not demand.needs_storage]
    if not stored:
        return "no host that could run it has primary storage that is up; add one with createStoragePool"
    if demand.bound_to_volume:
        bound = [host for host in tagged if host.has_volume]
        if not bound:
            return "the host that holds its volumes is not up"
        stored = bound
    apt = [host for host in stored if demand.near.allows(host.id)]
    if not apt:
        return "its affinity groups forbid each host that could run it"
    roomy = [host for host in apt if host.free_memory_mb >= demand.memory_mb]
    if not roomy:
        return f"no host has {demand.memory_mb} MB of memory free"
    return max(roomy, key=lambda host: _preference(demand, host))


def _preference(demand: Demand, host: HostSeen) -> tuple[object, ...]:
    return (*demand.near.taste(host.id), host.has_network, -host.machines, host.free_memory_mb, -host.id)
