"""The part of a router's document that only routers of VPCs have: what may pass between tiers, private gateways, static routes.

With this section a router has no firewall on its public addresses and no egress policy: the tiers' rules say what comes in
and what goes out, for traffic from and to outside as for that between tiers. What a rule does not speak of is dropped,
except that a tier without a single egress rule lets everything out.
"""

import msgspec


class AclRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A numbered rule. `cidrs` are senders of what comes into the tier, receivers of what goes out of it."""

    rule: str
    number: int
    allow: bool
    protocol: str  # tcp | udp | icmp | all, or a protocol's number
    cidrs: tuple[str, ...]
    first: int | None = None  # port; None: all
    last: int | None = None
    icmp_type: int | None = None  # -1 and None: any
    icmp_code: int | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network of the VPC and its rules, lowest number first."""

    device: str
    cidr: str
    ingress: tuple[AclRule, ...] = ()
    egress: tuple[AclRule, ...] = ()


class Gateway(Tier, frozen=True, kw_only=True, omit_defaults=True):
    """A private gateway: a network of the operator, with rules as a tier has them. What begins in the VPC comes there from
    `leaves_as`, or as it is; nothing that begins there goes out by public addresses."""

    leaves_as: str = ""


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is for `destination` goes to `via`, a machine in a tier or behind a private gateway."""

    destination: str
    via: str


class Vpc(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A VPC as its router knows it."""

    cidr: str
    tiers: tuple[Tier, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
