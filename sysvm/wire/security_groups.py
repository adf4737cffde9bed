"""The security groups of one host: which of its ports are held to which rules. A document of its own, beside the host's,
because it changes with every member and every rule while segments and pools stay what they are.

A group is named by its UUID. Addresses of members are given where a rule speaks of that group, wherever they run.
"""

import msgspec


class GroupRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may pass: to a member (ingress) or from one (egress). One of `cidr` and `group` says who the other end is."""

    protocol: str  # tcp, udp, icmp, icmpv6, all, or the number of another protocol
    first: int | None = None  # tcp, udp: first port; icmp: the type; None: every one
    last: int | None = None  # tcp, udp: last port; icmp: the code
    cidr: str = ""
    group: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group that has a port on this host, or of which such a group speaks."""

    group: str
    ingress: tuple[GroupRule, ...] = ()
    egress: tuple[GroupRule, ...] = ()
    members: tuple[str, ...] = ()  # addresses of all its members; only when a rule names the group


class GroupedPort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guest's NIC on this host, with its groups."""

    machine: str
    incarnation: int
    device: int
    groups: tuple[str, ...]


class SecurityGroupsDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a host has to know of security groups."""

    host: str
    renderer: int = 0
    ports: tuple[GroupedPort, ...] = ()
    groups: tuple[Group, ...] = ()
