"""Handing a router's service from one incarnation to another on this host: one act, which completes or returns by itself.

The journal names the holder of each machine, and what is under way. It is on disk before anything is done, so whoever is
killed, the next life of this agent finds what to finish:

1. the one that comes runs, stands by and has a document ready; the journal says that it comes
2. the holder stands by: its daemons end, the kernel's part (rules, addresses, connections) stays. One that does not
   answer is killed
3. the one that comes takes over, makes its document live and reads it back
4. it is live: the journal names it the holder. It is not: it stands by again, the old one takes over again, and the
   journal keeps the reason until that incarnation is removed

Containers of a router share a kernel. Those in VMs do not: in step 2 their connections are carried from the one to the other
(carrying.py), and in step 3 ports are opened and shut in one transaction. So the old one goes on as it is behind shut ports,
to be heard again at once if need be, and hears last that it stands by.

The one that serves may be on another host (relocation.py): then the journal says `elsewhere`, the one here stands by behind shut
ports, and steps 1, 3 and 4 are the same, without anybody here to hand back to.

Without an entry the oldest incarnation on the host is the holder. Agents that say hello are told what the journal says.
What it does not do: decide when, and stop or remove anybody who answers (the server does, when the new one is settled).
All of it is called for one machine at a time (the service's lock).
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused
from sysvm.basics.log import get_logger
from sysvm.hosts.moves.carrying import FAILURES, Gates, carry
from sysvm.hosts.system.durable import remove_durably, write_durably
from sysvm.wire.channel import AgentCallBody, AgentReport
from sysvm.wire.handover import StandBy, TakeOver
from sysvm.wire.machines import AgentSeen, Moving, Runtime

TAKE_S = 10.0  # the kernel forwards meanwhile; what waits is DHCP, DNS and metadata
REST_S = 5.0
RESUME_S = 2.0  # how long agents may take to connect again to a host agent that finds a handover half done
_LOOK_S = 0.02
ELSEWHERE = 0  # the holder, where it is no incarnation of this host
log = get_logger()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal says about one machine."""

    holder: int
    comes: int | None = None  # a handover to this incarnation is under way
    returned: dict[int, str] = {}  # incarnations that did not serve, and why
    elsewhere: str = ""  # the attempt to take it over from another host's incarnation, which serves
    leaving: str = ""  # the attempt to give it to another host's incarnation
    silent: bool = False  # ... the ports here are shut: that one serves, or may
    stays: str = ""  # ... or why it was not given


class Journal(Protocol):
    """Entries by machine."""

    def entry(self, machine: str) -> Entry | None:
        """What is known."""
        ...

    def write(self, machine: str, entry: Entry | None) -> None:
        """Remembers; None forgets."""
        ...

    def machines(self) -> tuple[str, ...]:
        """Those that have an entry."""
        ...


class PassingJournal:
    """In memory only: for a simulated host, whose memory outlives its simulated agent."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def entry(self, machine: str) -> Entry | None:
        """See Journal."""
        return self._entries.get(machine)

    def write(self, machine: str, entry: Entry | None) -> None:
        """See Journal."""
        if entry is None:
            self._entries.pop(machine, None)
        else:
            self._entries[machine] = entry

    def machines(self) -> tuple[str, ...]:
        """See Journal."""
        return tuple(sorted(self._entries))


class DurableJournal(PassingJournal):
    """On disk, one small file for each machine that was ever handed over."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if not file.name.startswith("."):
                self._entries[file.name] = msgspec.json.decode(file.read_bytes(), type=Entry)

    def write(self, machine: str, entry: Entry | None) -> None:
        """See Journal."""
        if entry is not None:
            write_durably(self._folder / machine, msgspec.json.encode(entry))
        elif machine in self._entries:
            remove_durably(self._folder / machine)
        super().write(machine, entry)


class Agents(Protocol):
    """The agents inside, as far as they are needed here."""

    def seen(self, machine: str, incarnation: int) -> AgentSeen | None:
        """What it last said, while it is connected."""
        ...

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """Its answer. Raises NotYet while it is not connected."""
        ...


class Specs(Protocol):
    """What this host has been asked to have."""

    def incarnations(self, machine: str) -> Mapping[int, Runtime]:
        """Incarnation -> runtime."""
        ...


class Kill(Protocol):
    """How an incarnation is ended that does not answer."""

    async def __call__(self, machine: str, incarnation: int) -> None:
        """It does not run afterwards."""
        ...


class Handovers:
    """All handovers of a host."""

    def __init__(self, *, agents: Agents, specs: Specs, gates: Gates, kill: Kill, journal: Journal, clock: Clock) -> None:
        self._gates = gates
        self._agents = agents
        self._specs = specs
        self._kill = kill
        self._journal = journal
        self._clock = clock

    # ------------------------------------------------------------ who serves
    def holder(self, machine: str) -> int | None:
        """The incarnation that serves here, or would; None where there is none."""
        there = self._specs.incarnations(machine)
        entry = self._journal.entry(machine)
        if entry is not None and (entry.elsewhere or entry.holder in there):
            return entry.holder
        return min(there, default=None)

    def stands_by(self, machine: str, incarnation: int) -> bool:
        """Whether another incarnation is the holder."""
        return self.holder(machine) not in (None, incarnation)

    def returned(self, machine: str, incarnation: int) -> str:
        """Why the service was handed back by this incarnation; empty when it was not."""
        entry = self._journal.entry(machine)
        return entry.returned.get(incarnation, "") if entry is not None else ""

    def forget(self, machine: str, incarnation: int) -> None:
        """The incarnation is no more on this host."""
        entry = self._journal.entry(machine)
        if entry is None:
            return
        left = [number for number in self._specs.incarnations(machine) if number != incarnation]
        if not left:
            self._journal.write(machine, None)
            return
        comes = entry.comes if entry.comes != incarnation else None
        holder = entry.holder
        if holder == incarnation:
            holder, comes = comes if comes is not None else min(left), None
        # Whoever is the holder now has nobody to hand back to.
        returned = {number: why for number, why in entry.returned.items() if number in left and number != holder}
        elsewhere = entry.elsewhere if holder == ELSEWHERE else ""
        self._journal.write(machine, Entry(holder=holder, comes=comes, returned=returned, elsewhere=elsewhere))

    # ------------------------------------------------------------ where the other one is on another host
    def is_far(self, machine: str) -> bool:
        """Whether the incarnation that serves is on another host, and the one here stands by."""
        entry = self._journal.entry(machine)
        return entry is not None and bool(entry.elsewhere)

    def is_silent(self, machine: str) -> bool:
        """Whether another host's incarnation serves, or may, instead of the one here."""
        entry = self._journal.entry(machine)
        return entry is not None and entry.silent

    def expects(self, machine: str, attempt: str) -> bool:
        """Whether the service may still come from the other host in this attempt."""
        entry = self._journal.entry(machine)
        return entry is not None and entry.elsewhere == attempt and not entry.returned

    def leaves(self, machine: str, incarnation: int) -> tuple[Moving, str]:
        """How far it has come on its way to another host's incarnation, and why it stays; while nobody acts on it."""
        entry = self._journal.entry(machine)
        if entry is not None and entry.elsewhere and entry.holder == ELSEWHERE:
            return Moving.IN, ""
        if entry is None or not entry.leaving or entry.holder != incarnation:
            return Moving.NO, ""
        return (Moving.SENT, "") if entry.silent else (Moving.FAILED, entry.stays or "it was interrupted")

    async def stay(self, machine: str, why: str) -> None:
        """No other host's incarnation serves, and none will: the one here is heard."""
        entry = self._journal.entry(machine)
        if entry is None:
            return
        self._journal.write(machine, msgspec.structs.replace(entry, silent=False, stays=why))
        await edge("handover.staying")
        await self._gates.serve(machine, entry.holder)
        log.warning("service_stays", machine=machine, holder=entry.holder, why=why)
        if entry.silent:
            await self._announced(machine, entry.holder)

    async def call_back(self, machine: str, incarnation: int) -> None:
        """The server knows the same, and it begins as if it had never left."""
        entry = self._journal.entry(machine)
        if entry is None or not entry.leaving or entry.holder != incarnation:
            return
        await self._gates.serve(machine, incarnation)
        self._journal.write(machine, msgspec.structs.replace(entry, leaving="", silent=False, stays=""))
        await self._announced(machine, incarnation)

    async def _announced(self, machine: str, incarnation: int) -> None:
        """It says where it is: others may have heard that it is on the other host."""
        seen = self._agents.seen(machine, incarnation)
        try:
            async with asyncio.timeout(REST_S + TAKE_S):
                if seen is not None and not seen.standby:
                    await self._agents.call(machine, incarnation, StandBy(apart=True))
                await self._agents.call(machine, incarnation, TakeOver())
        except FAILURES as error:
            log.warning("holder_not_announced", machine=machine, incarnation=incarnation, why=str(error))

    def hold(self, machine: str, incarnation: int, attempt: str) -> None:
        """It is written down, before the first incarnation here is made, that another host's one serves."""
        if self._journal.entry(machine) is None and not self._specs.incarnations(machine):
            self._journal.write(machine, Entry(holder=ELSEWHERE, elsewhere=attempt))
        elif not self.expects(machine, attempt) and self.holder(machine) != incarnation:
            raise NotYet(5, "what was here of this machine before is not gone yet")

    async def alone(self, machine: str, incarnation: int) -> None:
        """The server knows that no other host's incarnation serves any more."""
        entry = self._journal.entry(machine)
        if entry is not None and entry.elsewhere:
            await self._gates.serve(machine, incarnation)
            self._journal.write(machine, Entry(holder=incarnation))

    async def take_from_afar(self, machine: str, incarnation: int, attempt: str) -> str:
        """The other host's incarnation is silent: the one here serves; or why it does not, and never will."""
        entry = self._journal.entry(machine)
        if entry is None or (entry.elsewhere != attempt and entry.holder != incarnation):
            raise Refused("nobody is expected here any more")
        seen = self._agents.seen(machine, incarnation)
        if entry.elsewhere and not entry.returned and (seen is None or not seen.ready):
            await self._return(machine, entry, ELSEWHERE, incarnation, "the incarnation that comes is not ready")
        await self.ensure(machine, incarnation)
        return self.returned(machine, incarnation)

    # ------------------------------------------------------------ handing over
    async def ensure(self, machine: str, comes: int) -> None:
        """`comes` is the holder, or the one that was serves again and `returned` says why."""
        await self.settle(machine)
        holder = self.holder(machine)
        if holder is None or self.returned(machine, comes):
            return
        if holder == comes:
            await self.reconcile(machine)
            return
        seen = self._agents.seen(machine, comes)
        if seen is None or not seen.ready:
            raise NotYet(1, "the incarnation that comes is not ready")
        entry = self._journal.entry(machine) or Entry(holder=holder)
        self._journal.write(machine, msgspec.structs.replace(entry, holder=holder, comes=comes))
        await edge("handover.begun")
        await self._flip(machine, holder, comes)

    async def settle(self, machine: str) -> None:
        """What an earlier life of this agent has left half done is done, or taken back."""
        entry = self._journal.entry(machine)
        if entry is not None and entry.leaving and not entry.silent and not entry.stays:
            await self.stay(machine, "it was interrupted")
        if entry is None or entry.comes is None:
            return
        end = self._clock.now() + RESUME_S
        while self._agents.seen(machine, entry.comes) is None and self._clock.now() < end:
            await self._clock.sleep(_LOOK_S)
        if self._agents.seen(machine, entry.comes) is None:
            if entry.elsewhere:
                await self._gates.shut(machine, entry.comes)
            elif self._gates.has(machine, entry.holder):
                await self._gates.serve(machine, entry.holder)
            self._journal.write(machine, msgspec.structs.replace(entry, comes=None))
            log.warning("handover_taken_back", machine=machine, holder=entry.holder, comes=entry.comes)
        else:
            await self._flip(machine, entry.holder, entry.comes)

    async def settle_ports(self, machine: str) -> None:
        """Ports may be made or changed from now on: whose are open is what the journal says of the holder."""
        entry = self._journal.entry(machine)
        far = entry is not None and bool(entry.elsewhere)
        if far or any(self._gates.has(machine, incarnation) for incarnation in self._specs.incarnations(machine)):
            await self.settle(machine)

    async def reconcile(self, machine: str) -> None:
        """Agents are what the journal says: after a hello, or after a handover that could not be finished."""
        await self.settle(machine)
        if self.is_silent(machine):
            return  # its ports are shut, whatever it does behind them
        holder = self.holder(machine)
        if holder is not None and self._gates.has(machine, holder) and self._was_replaced(machine):
            await self._gates.serve(machine, holder)
        for incarnation in self._specs.incarnations(machine):
            seen = self._agents.seen(machine, incarnation)
            if incarnation != holder and seen is not None and not seen.standby:
                await self._rest(machine, incarnation)
        if holder is not None:
            seen = self._agents.seen(machine, holder)
            if seen is not None and seen.standby and seen.ready:
                why = await self._take(machine, holder)
                log.info("holder_told", machine=machine, incarnation=holder, why=why)

    def _was_replaced(self, machine: str) -> bool:
        """Whether there is, or ever was, another one whose ports could be the open ones."""
        return self._journal.entry(machine) is not None or len(self._specs.incarnations(machine)) > 1

    async def _flip(self, machine: str, holder: int, comes: int) -> None:
        began = self._clock.now()
        why = await self._hand(machine, holder, comes)
        known = self._journal.entry(machine) or Entry(holder=holder)
        if not why:
            self._journal.write(machine, msgspec.structs.replace(known, holder=comes, comes=None, elsewhere=""))
            took = round(self._clock.now() - began, 3)
            log.info("handed_over", machine=machine, old=holder, new=comes, seconds=took)
            if self._gates.has(machine, holder):
                await self._told_to_rest(machine, holder)
            return
        log.error("handover_returned", machine=machine, old=holder, new=comes, why=why)
        await self._return(machine, known, holder, comes, why)

    async def _return(self, machine: str, known: Entry, holder: int, comes: int, why: str) -> None:
        returned = {**known.returned, comes: why}
        self._journal.write(machine, Entry(holder=holder, returned=returned, elsewhere=known.elsewhere))
        await edge("handover.returning")
        if known.elsewhere:
            await self._gates.shut(machine, comes)
            await self._told_to_rest(machine, comes)
            return
        if self._gates.has(machine, holder):
            await self._take(machine, holder)
            await self._told_to_rest(machine, comes)
            return
        await self._rest(machine, comes)
        await self._take(machine, holder)

    async def _hand(self, machine: str, holder: int, comes: int) -> str:
        """The two steps; why the new one does not serve, or nothing."""
        if self._agents.seen(machine, comes) is None:
            return "its agent is not connected"
        if self._gates.has(machine, holder) and self._gates.has(machine, comes):
            await carry(self._gates, self._agents, machine, holder, comes)
        elif holder != ELSEWHERE:
            await self._rest(machine, holder)
        await edge("handover.rested")
        why = await self._take(machine, comes)
        await edge("handover.taken")
        return why

    async def _rest(self, machine: str, incarnation: int) -> None:
        if not await self._told_to_rest(machine, incarnation) and not self._gates.has(machine, incarnation):
            # Dead, or as good as dead: what is left of it must not answer guests beside the other one.
            await self._kill(machine, incarnation)

    async def _told_to_rest(self, machine: str, incarnation: int) -> bool:
        """False: it does not answer. Behind shut ports that harms nobody."""
        try:
            async with asyncio.timeout(REST_S):
                await self._agents.call(machine, incarnation, StandBy())
        except FAILURES as error:
            log.warning("holder_did_not_answer", machine=machine, incarnation=incarnation, why=str(error))
            return False
        return True

    async def _take(self, machine: str, incarnation: int) -> str:
        try:
            async with asyncio.timeout(TAKE_S):
                if self._gates.has(machine, incarnation) or self.is_far(machine):
                    await self._gates.serve(machine, incarnation)
                report = await self._agents.call(machine, incarnation, TakeOver())
        except FAILURES as error:
            return str(error) or "its agent did not answer in time"
        assert isinstance(report, AgentReport)
        if report.live and not report.standby:
            return ""
        return "; ".join(f"{fault.service}: {fault.why}" for fault in report.faults) or "its document is not live"
