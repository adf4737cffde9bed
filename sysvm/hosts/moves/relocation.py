"""Giving a router's service to its next incarnation on another host: one act of the host that has it.

1. the journal says that it leaves. Its connections are copied to the other host's incarnation, which has its document live
   behind shut ports: all of them, then what has changed
2. the ports here are shut for seconds at a time (the kernel opens them again if this agent dies now), the last few copied
3. the ports are shut for good, and the journal says `silent`: from here on this host does not speak for the router again
   unless the other one has said that it does not and will not, or the server has seen that it is gone
4. the other host is told to take the service. Its answer, or none, is what the server finds at its next look: it serves; it
   does not, and the service has stayed here; or only the other host knows, and the server asks there

So there are never two: the other host opens its ports after step 3 only. And none for long: the router here goes on behind shut
ports until the server lets it go. An attempt is made once.

What it does not do: make the other one (EnsureLanding does, there), or decide what becomes of a service that nobody has.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused, Unreachable
from sysvm.basics.log import get_logger
from sysvm.hosts.moves.carrying import FAILURES, Gates, copy_and_freeze
from sysvm.hosts.moves.handover import REST_S, TAKE_S, Agents, Entry, Journal
from sysvm.wire.channel import AgentCallBody
from sysvm.wire.handover import ServiceTaken, StandBy, TakeConnections, Taken, TakeService
from sysvm.wire.link import EnsureLanding, EnsureSent
from sysvm.wire.machines import LandingPlace

NO_WAY = (*FAILURES, OSError)
log = get_logger()


class There(Protocol):
    """The other host, as far as one router is concerned."""

    async def take_connections(self, body: TakeConnections) -> Taken:
        """The incarnation there tracks these, too."""
        ...

    async def take_service(self, body: TakeService, seconds: float) -> ServiceTaken:
        """The incarnation there serves, or says why it never will. Raises one of NO_WAY: nobody here knows."""
        ...


class Way(Protocol):
    """How two hosts speak about a router that goes from the one to the other."""

    async def open(self, order: EnsureLanding) -> None:
        """The sender of this attempt is let in from now on."""
        ...

    def place(self, machine: str) -> LandingPlace | None:
        """Where, while that is so."""
        ...

    def to(self, order: EnsureSent) -> AbstractAsyncContextManager[There]:
        """The way there. Raises one of NO_WAY."""
        ...


class _BothHosts:
    """The agents of the one that goes, here, and of the one that comes, there. Satisfies carrying.Agents."""

    def __init__(self, here: Agents, there: There) -> None:
        self._here = here
        self._there = there
        self.lost: Exception | None = None  # why nobody there could be asked

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """See Agents."""
        if isinstance(body, TakeConnections):
            try:
                return await self._there.take_connections(body)
            except (NotYet, Unreachable, OSError) as error:
                self.lost = error
                raise
        return await self._here.call(machine, incarnation, body)


class Relocation:
    """What this host gives to others."""

    def __init__(self, *, agents: Agents, gates: Gates, journal: Journal, way: Way, stay: "Stay") -> None:
        self._agents = agents
        self._gates = gates
        self._journal = journal
        self._way = way
        self._stay = stay

    async def ensure_sent(self, order: EnsureSent) -> None:
        """The service of the incarnation here is the other host's, or the journal says why it stays. Once for each attempt."""
        machine, holder = order.spec.machine, order.spec.incarnation
        entry = self._journal.entry(machine) or Entry(holder=holder)
        if entry.leaving == order.attempt:
            return
        if entry.holder != holder or entry.comes is not None or entry.silent:
            raise Refused("another incarnation of it serves, or is about to")
        gone = msgspec.structs.replace(entry, leaving=order.attempt, silent=False, stays="")
        self._journal.write(machine, gone)
        await edge("handover.begun")
        try:
            async with self._way.to(order) as there:
                await self._pass(order, there, gone)
        except NO_WAY as error:
            why = str(error) or type(error).__name__
            if self._is_silent(machine):
                log.warning("service_unanswered", machine=machine, to=order.place.host, why=why)
            else:
                await self._stay(machine, why)

    async def _pass(self, order: EnsureSent, there: There, gone: Entry) -> None:
        machine, holder = order.spec.machine, order.spec.incarnation
        both = _BothHosts(self._agents, there)
        await copy_and_freeze(self._gates, both, machine, holder, order.there.incarnation)
        if both.lost is not None:
            raise Unreachable(f"its connections could not be copied: {both.lost}")
        await self._gates.shut(machine, holder)
        await edge("handover.shut")
        self._journal.write(machine, msgspec.structs.replace(gone, silent=True))
        await edge("handover.silent")
        taken = await there.take_service(TakeService(), 2 * TAKE_S)
        await edge("handover.answered")
        if taken.why:
            await self._stay(machine, taken.why)
            return
        log.info("service_passed", machine=machine, old=holder, new=order.there.incarnation, to=order.place.host)
        await self._rest(machine, holder)

    async def _rest(self, machine: str, holder: int) -> None:
        """It goes on behind shut ports, and tells nobody that it sees nobody."""
        try:
            async with asyncio.timeout(REST_S):
                await self._agents.call(machine, holder, StandBy(apart=True))
        except FAILURES as error:
            log.info("silent_one_did_not_answer", machine=machine, incarnation=holder, why=str(error))

    def _is_silent(self, machine: str) -> bool:
        entry = self._journal.entry(machine)
        return entry is not None and entry.silent


class Stay(Protocol):
    """See Handovers.stay."""

    async def __call__(self, machine: str, why: str) -> None:
        """No other host's incarnation serves, and none will."""
        ...
