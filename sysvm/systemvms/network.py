"""When a network needs routers, and when it no longer does. Pure.

A redundant network has two. One that was alone first becomes the first of a pair, and serves on meanwhile; the second one is made
when it has said so.
"""

from dataclasses import dataclass

from sysvm.wire.redundancy import RedundantState

LIVE = ("Implemented", "Setup")
SOON_S = 1.0


@dataclass(frozen=True, slots=True)
class RouterSeen:
    """A router of the network."""

    id: int
    wanted: str
    serving: bool
    running: bool = False
    paired: bool = False  # it has an address of its own, and the gateway's only while it serves
    state: str = ""  # of one of a pair


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """A network as the planner sees it."""

    state: str
    routed: bool  # its offering has services that a virtual router provides
    persistent: bool
    guests_wanted: int  # guests that are, or shall be, running on it
    unused_s: float  # how long no guest has been wanted
    collect_after_s: float
    routers: tuple[RouterSeen, ...]
    wanted_routers: int = 1


@dataclass(frozen=True, slots=True)
class AddRouter:
    """One more."""


@dataclass(frozen=True, slots=True)
class Join:
    """The router that is alone becomes the first of a pair."""

    id: int


@dataclass(frozen=True, slots=True)
class Contended:
    """Both routers say that they serve."""


@dataclass(frozen=True, slots=True)
class RemoveRouter:
    """No longer needed."""

    id: int


@dataclass(frozen=True, slots=True)
class Implemented:
    """All its routers serve; look again in `seconds`, when they may have to be collected."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Shut:
    """It has no routers any more, and needs none."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Look again after `seconds`."""

    seconds: float
    why: str


NetworkStep = AddRouter | RemoveRouter | Implemented | Shut | Idle
PairStep = Join | Contended


def plan_network(network: NetworkSeen) -> NetworkStep | PairStep:
    """The next step of a network."""
    doomed = network.state == "Destroy"
    idle = network.guests_wanted == 0 and not network.persistent
    if doomed or (idle and network.unused_s >= network.collect_after_s):
        return _shut(network)
    served = Implemented(max(1.0, network.collect_after_s - network.unused_s) if idle else 600.0)
    alive = [router for router in network.routers if router.wanted != "gone"]
    if idle and not alive and (network.routed or network.state not in LIVE):
        return Idle(600, "no guest is wanted on it")
    if not network.routed:
        return served
    if network.wanted_routers > 1 and (step := _towards_pair(network, alive)) is not None:
        return step
    if len(network.routers) < network.wanted_routers:
        return AddRouter()
    if len(alive) < network.wanted_routers:
        return Idle(60, "its router before is being removed and still has the network's addresses")  # its end is told
    if all(router.serving for router in alive):
        return served
    stopped = [router for router in alive if router.wanted == "stopped"]
    if stopped:
        return Idle(60, "its router was stopped by an operator; start it with startRouter")
    return Idle(60, "its router starts")


def _towards_pair(network: NetworkSeen, alive: list[RouterSeen]) -> NetworkStep | PairStep | None:
    """What comes before the plan of any network; None: nothing."""
    alone = next((router for router in alive if not router.paired), None)
    if alone is not None:
        return Join(alone.id)
    if any(not router.paired for router in network.routers):
        return Idle(60, "its router before is being removed and still has the network's addresses")
    serving = [router for router in alive if router.state == RedundantState.PRIMARY]
    if len(serving) > 1:
        return Contended()
    # A second one that heard nobody would take the addresses which the first one still has as its own.
    if any(router.running and router.state == RedundantState.UNKNOWN for router in alive) and len(alive) == 1:
        return Idle(60, "its router becomes the first of a pair")
    if network.state not in LIVE and any(router.serving for router in serving):
        return Implemented(SOON_S)  # guests need not wait for the second one
    if all(router.serving for router in alive) and len(alive) > 1 and not serving:
        return Idle(60, "its routers have not agreed yet which one serves")
    return None


def _shut(network: NetworkSeen) -> NetworkStep:
    for router in network.routers:
        if router.wanted != "gone":
            return RemoveRouter(router.id)
    if network.routers:
        return Idle(60, "its routers are being removed")
    return Shut()
