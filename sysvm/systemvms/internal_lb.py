"""Internal load balancers: when a tier of a VPC has which, and what each is told. Pure.

A machine for each address at which the tier has rules. It is made when the first guest stands behind one of them, stays while
there is a rule, also one without members, and goes with the last rule. It is a router that does nothing but balance: no
DHCP, no NAT, nothing is forwarded. What comes to its ports from its own tier is on one wire with it; who is in another tier
comes by the VPC's router, and is judged by the ACLs there.
"""

from dataclasses import dataclass

from sysvm.systemvms import load_balancer
from sysvm.systemvms.load_balancer import BalancerFacts
from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.health import Health
from sysvm.wire.vpc import Vpc

LOOK_S = 600.0
WAIT_S = 60.0  # the end of what is waited for is told


@dataclass(frozen=True, slots=True)
class BalancerSeen:
    """A machine that balances in the tier."""

    id: int
    address: str
    wanted: str
    serving: bool


@dataclass(frozen=True, slots=True)
class BalancersSeen:
    """A tier's internal load balancing as the planner sees it."""

    doomed: bool
    ruled: frozenset[str]  # addresses with a rule
    needed: frozenset[str]  # those of them with a rule that has a member
    machines: tuple[BalancerSeen, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """A machine with this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Remove:
    """There is no rule for it any more."""

    id: int


@dataclass(frozen=True, slots=True)
class Serving:
    """Everything is as it shall be."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Look again later."""

    why: str


BalancersStep = Add | Remove | Serving | Idle


def plan(tier: BalancersSeen) -> BalancersStep:
    """The next step."""
    alive = [each for each in tier.machines if each.wanted != "gone"]
    if tier.doomed:
        return Idle("its network is being removed")  # the tier's turn removes them
    for each in alive:
        if each.address not in tier.ruled:
            return Remove(each.id)
    for address in sorted(tier.needed - {each.address for each in alive}):
        if any(each.address == address for each in tier.machines):
            return Idle(f"the internal load balancer before is being removed and still has the address {address}")
        return Add(address)
    late = [each.address for each in alive if each.wanted == "running" and not each.serving]
    return Idle(f"the internal load balancer at {late[0]} starts") if late else Serving()


# ---------------------------------------------------------------- what one is told
@dataclass(frozen=True, slots=True)
class InternalFacts:
    """Everything that the document of one is made of."""

    machine: str
    name: str
    cidr: str  # of its tier
    interfaces: tuple[Interface, ...]
    balancer: BalancerFacts | None = None
    health: Health | None = None


def document(facts: InternalFacts) -> RouterDocument:
    """The complete configuration."""
    return RouterDocument(
        machine=facts.machine,
        name=facts.name,
        interfaces=facts.interfaces,
        balancing=load_balancer.balancing(facts.balancer),
        health=facts.health,
        # Without a tier of its own: no firewall before its address, and nothing is forwarded.
        vpc=Vpc(cidr=facts.cidr),
    )
