"""Pairs of routers: what the document of each says about the other one, and which of them serves.

Both have the same rules and daemons. The addresses in `shared` are on the one that serves, and only there: keepalived's VRRP says
who that is. What the other interfaces of the document say, these addresses included, is what the one that serves has.
"""

from enum import StrEnum

import msgspec


class RedundantState(StrEnum):
    """CloudStack's words."""

    UNKNOWN = "UNKNOWN"  # nobody could look
    PRIMARY = "PRIMARY"  # it has the shared addresses
    BACKUP = "BACKUP"  # it would take them
    FAULT = "FAULT"  # it could not


class Redundancy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The other router of the pair, and what one of both has."""

    device: str  # by which they hear each other
    own: str  # address of this one there
    peer: str = ""  # address of the other one; empty while there is none
    priority: int = 100
    interval_s: int = 1  # between two advertisements; after three without one the other one serves
    shared: tuple[str, ...] = ()  # addresses (with prefix) of the document's interfaces; ways out go with them


class RedundancyReport(msgspec.Struct, frozen=True, tag="redundancy"):
    """Another one of the pair serves now, or this one can no more."""

    state: RedundantState
