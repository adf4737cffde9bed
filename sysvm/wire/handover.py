"""Handing a router's service from one incarnation to the next: what a host says to the two agents, and, where the next one is
on another host, to that host.

Of the incarnations of a machine on a host one is the holder: it writes rules and addresses and runs the daemons. The others
stand by: they have their document, have checked it, and change nothing. Containers of a router share one network namespace,
so there the kernel's part (rules, addresses, connections) stays where it is. A VM has a kernel of its own: standing by it does
everything behind shut ports, and the host carries the connections from the one kernel to the other.

Who is the holder is decided by the host and kept there; an agent remembers what it was last told on its state disk.
"""

from enum import StrEnum

import msgspec


class StandBy(msgspec.Struct, frozen=True, tag="stand-by"):
    """End the daemons, mend nothing, leave the kernel as it is; answered by an AgentReport."""

    apart: bool = False  # behind shut ports, while another host's incarnation serves: everything may go on as it is


class TakeOver(msgspec.Struct, frozen=True, tag="take-over"):
    """You are the holder: make the document that is ready live; answered by an AgentReport."""


class Which(StrEnum):
    """Which connections are asked for."""

    ALL = "all"
    CHANGED = "changed"  # since the last question
    MORE = "more"  # what did not fit into the last answer


class TellConnections(msgspec.Struct, frozen=True, tag="tell-connections"):
    """Say which connections your kernel tracks; answered by Connections."""

    which: Which = Which.ALL


class Connections(msgspec.Struct, frozen=True, kw_only=True, tag="connections"):
    """Connections as another kernel can be told of them: the family, then attributes of ctnetlink."""

    entries: tuple[bytes, ...] = ()
    ended: tuple[bytes, ...] = ()  # told before; they are no more
    more: bool = False


class TakeConnections(msgspec.Struct, frozen=True, tag="take-connections"):
    """Let your kernel track these, too; answered by Taken."""

    told: Connections


class Taken(msgspec.Struct, frozen=True, kw_only=True, tag="taken"):
    """How many the kernel has taken, and how many it would not."""

    taken: int
    refused: int = 0


# ---------------------------------------------------------------- from host to host
class TakeService(msgspec.Struct, frozen=True, tag="take-service"):
    """Mine is silent, and stays so: yours serves from now on; answered by ServiceTaken."""


class ServiceTaken(msgspec.Struct, frozen=True, kw_only=True, tag="service-taken"):
    """It serves, or `why` it does not and never will."""

    why: str = ""


HostToHost = TakeConnections | TakeService
