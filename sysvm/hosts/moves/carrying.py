"""Carrying what lives in one machine's kernel over to its next incarnation, which has a kernel of its own: a router in a VM.

Both run, and only one of them is heard: the ports of the other are shut in the guard (`Gates`). Its connections are copied in
passes: all of them, then what has changed meanwhile, while the one that goes still serves; then, while neither is heard, those
few that are new or have moved on since. A copy after the last packet misses none: with one pass, those born meanwhile were
lost. Nobody is heard for as long as the last pass takes; the kernel itself opens the old ports again if this agent dies in
it, because they are shut for seconds only (FREEZE_S).

What cannot be copied (an agent of an earlier release, one that is silent, a table that changes faster than it is read) is
lost and told in the log; the handover goes on, for a router that serves without its connections is more than none.
Not carried: connections that end in the machine itself (its load balancer's), which are reset.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.basics.log import get_logger
from sysvm.wire.channel import AgentCallBody
from sysvm.wire.handover import Connections, TakeConnections, Taken, TellConnections, Which

COPY_S = 30.0  # a pass for which nobody waits
FREEZE_S = 4.0  # begun anew between the steps of a last pass that takes longer
LAST_COPY_S = 8.0  # the last one
FAILURES = (NotYet, Refused, Stale, Broken, Unreachable, TimeoutError)
log = get_logger()


class Gates(Protocol):
    """The ports of incarnations that have kernels, and so ports, of their own."""

    def has(self, machine: str, incarnation: int) -> bool:
        """Whether this incarnation is one of them."""
        ...

    async def is_open(self, machine: str, incarnation: int) -> bool:
        """Whether it is heard now."""
        ...

    async def freeze(self, machine: str, incarnation: int, seconds: float) -> None:
        """It is not heard any more, for `seconds`."""
        ...

    async def serve(self, machine: str, incarnation: int) -> None:
        """It is heard, and no other incarnation of the machine is: in one transaction, until something else is said."""
        ...

    async def shut(self, machine: str, incarnation: int) -> None:
        """It is not heard any more, until something else is said."""
        ...


class Agents(Protocol):
    """The agents inside, as far as they are needed here."""

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """Its answer. Raises NotYet while it is not connected."""
        ...


async def carry(gates: Gates, agents: Agents, machine: str, holder: int, comes: int) -> None:
    """What the holder's kernel knows of connections, the other one's knows, too; the holder is not heard any more."""
    if await gates.is_open(machine, comes):
        return  # an earlier life of this agent has come that far
    await copy_and_freeze(gates, agents, machine, holder, comes)


async def copy_and_freeze(gates: Gates, agents: Agents, machine: str, holder: int, comes: int) -> None:
    """The same, wherever the one that comes is."""
    await _copy(agents, machine, holder, comes, Which.ALL, COPY_S)
    await _copy(agents, machine, holder, comes, Which.CHANGED, COPY_S)
    await edge("handover.copied")

    ice = _Ice(gates, machine, holder)
    await ice.freeze()
    await edge("handover.frozen")
    await _copy(agents, machine, holder, comes, Which.CHANGED, LAST_COPY_S, ice.last)


class _Ice:
    """The ports of the one that goes are shut for as long as the last pass takes, a few seconds at a time."""

    def __init__(self, gates: Gates, machine: str, holder: int) -> None:
        self._gates = gates
        self._machine = machine
        self._holder = holder
        self._loop = asyncio.get_running_loop()
        self._until = 0.0

    async def freeze(self) -> None:
        """For FREEZE_S from now on."""
        self._until = self._loop.time() + FREEZE_S
        await self._gates.freeze(self._machine, self._holder, FREEZE_S)

    async def last(self) -> None:
        """Begins anew when half of the time is over: while nobody is heard, no program is started that need not be."""
        if self._until - self._loop.time() < FREEZE_S / 2:
            await self.freeze()


async def _copy(
    agents: Agents, machine: str, holder: int, comes: int, which: Which, seconds: float,
    between: Callable[[], Awaitable[None]] | None = None,
) -> None:  # fmt: skip
    copied = refused = 0
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                told = await agents.call(machine, holder, TellConnections(which))
                assert isinstance(told, Connections)
                if between is not None:
                    await between()
                if told.entries or told.ended:
                    taken = await agents.call(machine, comes, TakeConnections(told))
                    assert isinstance(taken, Taken)
                    copied, refused = copied + taken.taken, refused + taken.refused
                which, more = Which.MORE, told.more
    except FAILURES as error:
        log.warning("connections_not_copied", machine=machine, old=holder, new=comes, copied=copied, why=str(error))
        return
    log.info("connections_copied", machine=machine, old=holder, new=comes, copied=copied, refused=refused)
