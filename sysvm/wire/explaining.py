"""What a router's agent is asked about its live rules, and what it answers: the way of one packet, and the rules themselves.

`rule` is the id of the API's rule, and `kind` what the API calls it; both are empty where no rule of the API stands behind a
rule of the kernel.
"""

from enum import StrEnum

import msgspec


class Fate(StrEnum):
    """What becomes of a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    UNKNOWN = "unknown"  # a live rule says something that cannot be judged


class ExplainPacket(msgspec.Struct, frozen=True, kw_only=True, tag="explain-packet"):
    """What would become of the first packet of a new connection? Nothing is sent; result: Explained."""

    source: str
    destination: str
    protocol: int  # as in an IP header
    port: int = 0  # of the destination
    source_port: int = 0
    icmp_type: int = 8
    icmp_code: int = 0


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """Something that decided or changed something on the way."""

    place: str  # arrival | prerouting | routing | input | forward | output | postrouting | departure
    words: str
    effect: str = ""  # accept, drop, jump <chain>, dnat to ..., snat to ...
    table: str = ""
    chain: str = ""
    text: str = ""  # of the live rule, as nft writes it
    rule: str = ""
    kind: str = ""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The whole way. `rule` is the one that decided; source, destination and ports are those it leaves with."""

    fate: Fate
    words: str
    rule: str = ""
    kind: str = ""
    source: str
    destination: str
    port: int
    source_port: int
    arrives: str = ""  # the interface
    leaves: str = ""
    steps: tuple[PathStep, ...] = ()


class ShowRules(msgspec.Struct, frozen=True, tag="show-rules"):
    """The live rules, read from the kernel; result: RulesShown."""


class RuleShown(msgspec.Struct, frozen=True, kw_only=True):
    """A live rule or an element of a set, and what stands behind it."""

    table: str
    place: str  # the chain, set or map
    text: str
    rule: str = ""
    kind: str = ""


class RulesShown(msgspec.Struct, frozen=True, kw_only=True):
    """Every live rule in the kernel's order. `cut`: how many more there are."""

    rules: tuple[RuleShown, ...]
    cut: int = 0
