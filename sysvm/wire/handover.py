"""Handing a router's service from one incarnation to the next, on one host: what the host says to the two agents.

Of the incarnations of a machine on a host one is the holder: it writes rules and addresses and runs the daemons. The others
stand by: they have their document, have checked it, and change nothing. Containers of a router share one network namespace,
so there the kernel's part (rules, addresses, connections) stays where it is.

Who is the holder is decided by the host and kept there; an agent remembers what it was last told on its state disk.
"""

import msgspec


class StandBy(msgspec.Struct, frozen=True, tag="stand-by"):
    """End the daemons, mend nothing, leave the kernel as it is; answered by an AgentReport."""


class TakeOver(msgspec.Struct, frozen=True, tag="take-over"):
    """You are the holder: make the document that is ready live; answered by an AgentReport."""
