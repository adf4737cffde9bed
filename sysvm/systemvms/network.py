"""When a network needs routers, and when it no longer does. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterSeen:
    """A router of the network."""

    id: int
    wanted: str
    serving: bool


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


def plan_network(network: NetworkSeen) -> NetworkStep:
    """The next step of a network."""
    doomed = network.state == "Destroy"
    idle = network.guests_wanted == 0 and not network.persistent
    if doomed or (idle and network.unused_s >= network.collect_after_s):
        return _shut(network)
    served = Implemented(max(1.0, network.collect_after_s - network.unused_s) if idle else 600.0)
    if not network.routed:
        return served
    alive = [router for router in network.routers if router.wanted != "gone"]
    if idle and not alive:
        return Idle(600, "no guest is wanted on it")
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


def _shut(network: NetworkSeen) -> NetworkStep:
    for router in network.routers:
        if router.wanted != "gone":
            return RemoveRouter(router.id)
    if network.routers:
        return Idle(60, "its routers are being removed")
    return Shut()
