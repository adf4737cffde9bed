"""When a VPC has a router, and when its router has a NIC in a tier or a private gateway. Pure.

A VPC's router is made with the VPC (or with its first tier) and stays until the VPC goes. A tier is plugged into it when the
tier is made, whether or not there are guests, and unplugged when the tier is deleted. A private gateway is like a tier in this.
"""

from dataclasses import dataclass

from sysvm.systemvms.network import (
    AddRouter,
    Idle,
    Implemented,
    NetworkStep,
    RemoveRouter,
    RouterSeen,
    Shut,
)

LOOK_S = 600.0
WAIT_S = 60.0  # the end of what is waited for is told


@dataclass(frozen=True, slots=True)
class VpcSeen:
    """A VPC as the planner sees it."""

    doomed: bool
    wanted: bool  # a router, that is
    tiers: int  # with its private gateways
    routers: tuple[RouterSeen, ...]
    wanted_routers: int = 1


@dataclass(frozen=True, slots=True)
class Plug:
    """The router gets a NIC in the tier."""

    router: int


@dataclass(frozen=True, slots=True)
class Unplug:
    """The router's NIC in the tier goes."""

    router: int


@dataclass(frozen=True, slots=True)
class WantRouter:
    """The VPC shall have its router now."""


@dataclass(frozen=True, slots=True)
class TierRouterSeen:
    """A router of the VPC, from a tier's point of view."""

    id: int
    wanted: str
    plugged: bool
    settled: bool  # it runs, and all that was asked of it is done


@dataclass(frozen=True, slots=True)
class TierSeen:
    """A tier as the planner sees it."""

    doomed: bool
    live: bool  # it has been served before
    routers: tuple[TierRouterSeen, ...]


TierStep = Plug | Unplug | WantRouter | Implemented | Shut | Idle


def plan_vpc(vpc: VpcSeen) -> NetworkStep:
    """The next step of a VPC."""
    alive = [router for router in vpc.routers if router.wanted != "gone"]
    if vpc.doomed:
        if vpc.tiers:
            return Idle(WAIT_S, "its tiers and private gateways are being removed")
        if alive:
            return RemoveRouter(alive[0].id)
        return Idle(WAIT_S, "its router is being removed") if vpc.routers else Shut()
    if not vpc.wanted:
        return Implemented(LOOK_S)
    if len(alive) < vpc.wanted_routers:
        before = len(vpc.routers) >= vpc.wanted_routers
        return Idle(WAIT_S, "its router before is being removed and still has its addresses") if before else AddRouter()
    if all(router.serving for router in alive):
        return Implemented(LOOK_S)
    if any(router.wanted == "stopped" for router in alive):
        return Idle(WAIT_S, "its router was stopped by an operator; start it with startRouter")
    return Idle(WAIT_S, "its router starts")


def plan_tier(tier: TierSeen) -> TierStep:
    """The next step of a tier."""
    alive = [router for router in tier.routers if router.wanted != "gone"]
    if tier.doomed:
        return _unplugged(alive)
    for router in alive:
        if not router.plugged:
            return Plug(router.id)
    if not alive:
        return Idle(WAIT_S, "the router of its VPC is being made") if tier.routers else WantRouter()
    stopped = any(router.wanted == "stopped" for router in alive)
    if tier.live or all(router.settled for router in alive):
        return Implemented(LOOK_S)
    if stopped:
        return Idle(WAIT_S, "the router of its VPC was stopped by an operator; start it with startRouter")
    return Idle(WAIT_S, "the router of its VPC is being told")


def plan_without_balancers(balancers: tuple[RouterSeen, ...]) -> NetworkStep | None:
    """The next step of a tier that goes, as long as it has internal load balancers."""
    for balancer in balancers:
        if balancer.wanted != "gone":
            return RemoveRouter(balancer.id)
    return Idle(WAIT_S, "its internal load balancers are being removed") if balancers else None


def _unplugged(alive: list[TierRouterSeen]) -> TierStep:
    for router in alive:
        if router.plugged:
            return Unplug(router.id)
    if all(router.settled or router.wanted == "stopped" for router in alive):
        return Shut()
    return Idle(WAIT_S, "the router of its VPC is being told")
