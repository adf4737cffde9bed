"""The router: its services in order, what of them is live, and the watch that mends what somebody else has changed.

All work with kernel and daemons happens on one thread, one piece at a time, so an apply and a repair never meet. A service
whose part of the document is wrong, or that fails, keeps what it had; the others go on. "Live" means that every service
has been read back and equals what the last document renders to.

Order: the ruleset before addresses and forwarding, so that nothing is forwarded unfiltered; daemons when their addresses
are there. The watch compares cheap fingerprints every two seconds, and whenever the kernel says that rules have changed, and
reads a service back only when one has changed; a daemon that s6 has started again is told as mended.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed
from sysvm.agent.roles import Context, Progress, Role
from sysvm.agent.roles.router import bell
from sysvm.agent.roles.router.checking import Checking
from sysvm.agent.roles.router.dnsmasq import Dnsmasq
from sysvm.agent.roles.router.haproxy import Haproxy
from sysvm.agent.roles.router.health import Looks
from sysvm.agent.roles.router.interfaces import Interfaces
from sysvm.agent.roles.router.ipsec import Ipsec
from sysvm.agent.roles.router.metadata import Metadata
from sysvm.agent.roles.router.nftables import Nftables
from sysvm.agent.roles.router.pairing import as_backup
from sysvm.agent.roles.router.redundancy import Redundant
from sysvm.agent.roles.router.routes import Routes
from sysvm.agent.roles.router.service import Hidden, Leaving, Resting, Service, Staged, Wrong
from sysvm.agent.roles.router.shaping import Shaping
from sysvm.agent.roles.router.wireguard import Wireguard
from sysvm.agent.supervision import Supervision
from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import (
    Counter,
    DriftReport,
    MembersReport,
    RedundancyReport,
    ServiceSeen,
    TaskBody,
    TrafficReport,
    TunnelsReport,
)
from sysvm.wire.documents import RouterDocument, SystemVmDocument
from sysvm.wire.explaining import ExplainPacket, ShowRules
from sysvm.wire.health import CheckHealth
from sysvm.wire.machines import Runtime, ServiceFault
from sysvm.wire.redundancy import RedundantState

T = TypeVar("T")
METER_LOOK_S = 1.0
_WATCH_EVERY = 2.0
_RETRY_EVERY = 3  # watches
_TELL_EVERY = 150  # watches, what has not changed
log = get_logger()


def make(context: Context) -> Role:
    """A router with all its services."""
    supervision = Supervision(context.paths)
    nftables, haproxy = Nftables(), Haproxy(context.paths, supervision)
    ipsec = Ipsec(context.paths, supervision)
    redundant = Redundant(context.paths, supervision)
    services: tuple[Service, ...] = (
        nftables,
        Interfaces(),
        redundant,
        Routes(),
        Shaping(),
        Dnsmasq(context.paths, supervision),
        Metadata(context.paths, supervision, context.seal),
        haproxy,
        ipsec,
        Wireguard(context.paths, supervision),
    )
    prepare = nftables.prepare if context.boot.runtime is Runtime.VM else None
    told = (Told(haproxy.tend, MembersReport), Told(ipsec.tend, TunnelsReport))
    return RouterRole(context, services, nftables.counters, told, Pairing(redundant), prepare)


class Holder:
    """One service with what it should be (`wanted`) and what it was last made (`held`)."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.held: Any = None
        self.is_held = False
        self.fault: ServiceFault | None = None
        self.may_retry = False
        self._fingerprint: object = None
        self._difference = ""

    def make(self, document: RouterDocument) -> None:
        """The service is what the document says, or `fault` says why not and it is what it was."""
        name = self.service.name
        self.may_retry = True
        try:
            rendering = self.service.render(document)
            if not self._is_untouched(rendering):
                self.service.apply(rendering)
            self.held, self.is_held = rendering, True
            words = "" if self._is_untouched(rendering) else self._read_back()
        except Wrong as error:
            self.fault = ServiceFault(service=name, why=error.why, remedy=error.remedy)
            self.may_retry = False
        except (CommandFailed, OSError) as error:
            self.fault = ServiceFault(service=name, why=str(error), remedy="it is tried again every few seconds")
        else:
            remedy = "look at the machine's log" if words else ""
            self.fault = ServiceFault(service=name, why=words, remedy=remedy) if words else None
        if self.fault is not None:
            log.error("service_not_applied", service=name, why=self.fault.why)

    def stage(self, document: RouterDocument) -> ServiceFault | None:
        """Checks the document's part, changing nothing; what is wrong with it."""
        name = self.service.name
        try:
            rendering = self.service.render(document)
            if isinstance(self.service, Staged):
                self.service.stage(rendering)
        except Wrong as error:
            return ServiceFault(service=name, why=error.why, remedy=error.remedy)
        except (CommandFailed, OSError) as error:
            return ServiceFault(service=name, why=str(error), remedy="it is tried again with the next document")
        return None

    def drift(self) -> DriftReport | None:
        """Looks if something may have changed, mends what has, and says it."""
        if not self.is_held or self.service.fingerprint() == self._fingerprint:
            return None
        words = self._read_back()
        if not words:
            return None
        try:
            self.service.apply(self.held)
            left = self._read_back()
        except (CommandFailed, OSError) as error:
            left = str(error)
        log.warning("drift_seen", service=self.service.name, difference=words, left=left)
        return DriftReport(service=self.service.name, difference=words, mended=not left)

    def retry(self, document: RouterDocument) -> DriftReport | None:
        """Once more, what failed for a reason that may pass; tells when it has passed."""
        if self.fault is None or not self.may_retry:
            return None
        why = self.fault.why
        self.make(document)
        return DriftReport(service=self.service.name, difference=why, mended=True) if self.fault is None else None

    def is_live(self) -> bool:
        """Whether it is now what the last document says."""
        if self.fault is not None or not self.is_held:
            return False
        if self.service.fingerprint() == self._fingerprint:
            return True
        return not self._read_back()

    def trouble(self) -> ServiceFault | None:
        """Why it is not what the last document says: it could not be made so, or somebody has changed it."""
        if self.fault is None and self._difference:
            return ServiceFault(service=self.service.name, why=self._difference, remedy="it is being mended")
        return self.fault

    def _is_untouched(self, rendering: Any) -> bool:
        """It is wanted as it was, it was read back as such, and nobody has changed anything since."""
        return self.is_held and rendering == self.held and self.service.fingerprint() == self._fingerprint

    def _read_back(self) -> str:
        # The fingerprint is from before the look: what changes meanwhile is looked at again.
        before = self.service.fingerprint()
        try:
            words = self.service.difference(self.held)
        except (CommandFailed, OSError) as error:  # what is looked at can go at this moment: an interface that is unplugged
            words = str(error)
        self._fingerprint = None if words else before
        self._difference = words
        return words


class Told(Generic[T]):
    """What one service tends and finds out meanwhile: told whenever it has changed, and every few minutes."""

    def __init__(
        self, tend: Callable[[], tuple[T, ...]], report: Callable[[tuple[T, ...]], MembersReport | TunnelsReport]
    ) -> None:
        self._tend = tend
        self._report = report
        self._before: tuple[T, ...] = ()

    def news(self, ticks: int) -> list[MembersReport | TunnelsReport]:
        """At most one report."""
        before, self._before = self._before, self._tend()
        if self._before == before and (not before or ticks % _TELL_EVERY):
            return []
        return [self._report(self._before)]


class Pairing:
    """Whether this one of a pair serves: told when it has changed, and to whoever looks."""

    def __init__(self, redundant: Redundant) -> None:
        self._redundant = redundant
        self.state: RedundantState | None = None

    def news(self) -> list[RedundancyReport]:
        """At most one report; what only the one that serves may do is open or shut as it says."""
        before, self.state = self.state, self._redundant.state()
        if self.state is None or self.state == before:
            return []
        log.info("redundancy_changed", before=before or "", state=self.state)
        return [RedundancyReport(self.state)]


class RouterRole(Role):
    """Applies router documents."""

    def __init__(
        self,
        context: Context,
        services: tuple[Service, ...],
        counters: Callable[[], tuple[Counter, ...]],
        told: tuple[Told[Any], ...],
        pairing: Pairing,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._context = context
        self._holders = tuple(Holder(service) for service in services)
        self._count = counters
        self._told = told
        self._pairing = pairing
        self._prepare = prepare
        self._document: RouterDocument | None = None
        self._digest = ""
        self._thread = ThreadPoolExecutor(1, "router")
        self._seen: tuple[ServiceSeen, ...] = ()
        self._ending = False
        self._resting = False  # another incarnation serves
        self._hidden = False  # the same, and this one is behind shut ports
        self._ticks = 0
        self._checking = Checking(context, self._serving, self._looks)

    async def start(self, tasks: Tasks) -> None:
        """Begins the watch; prepares the kernel beside everything else, before the first document comes to the thread."""
        if self._prepare is not None:
            tasks.start(self._on_thread(self._prepare), "prepare")
        tasks.start(self._watch(), "watch")
        tasks.start(self._listen(netlink.ruleset_news), "bell")
        tasks.start(self._listen(netlink.address_news), "addresses")
        tasks.start(self._meter(), "meter")
        tasks.start(self._checking.watch(), "checks")

    async def apply(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        """Every service in order. Raises Refused for a document that is none of a router."""
        if not isinstance(document, RouterDocument):
            raise Refused("this machine is a router and takes documents of routers only")
        self._resting = False
        await self._on_thread(lambda: self._apply(document))
        return await self.faults()

    def _apply(self, document: RouterDocument) -> None:
        self._document, self._digest = document, ""
        seconds = {}
        for holder in self._holders:
            began = self._context.clock.now()
            holder.make(document)
            seconds[holder.service.name] = round(self._context.clock.now() - began, 3)
        self._digest = digest(document)  # not before they work: of a thousand rules it takes its time
        self._seen = self._daemons()
        self._pairing.news()  # the answer tells it
        log.info("document_applied", digest=self._digest[:12], seconds=seconds)

    async def stage(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        """Every service's part is checked, and made ready as far as that changes nothing that is shared."""
        if not isinstance(document, RouterDocument):
            raise Refused("this machine is a router and takes documents of routers only")
        return await self._on_thread(lambda: self._stage(document))

    def _stage(self, document: RouterDocument) -> tuple[ServiceFault, ...]:
        found = (holder.stage(document) for holder in self._holders)
        return tuple(fault for fault in found if fault is not None)

    async def rest(self) -> None:
        """The daemons end, last one first; rules and addresses are the next holder's."""
        await self._tell_traffic()
        self._resting = True
        await self._on_thread(self._rest)

    def _rest(self) -> None:
        for holder in reversed(self._holders):
            if isinstance(holder.service, Resting):
                holder.service.rest()
            else:
                holder.service.stop()

    async def hide(self) -> None:
        """Everything goes on, and nothing of it is told: who sees nobody would say that all are down."""
        await self._tell_traffic()
        self._hidden = True

    async def show(self) -> None:
        """What nobody could see is done again, and told again."""
        self._hidden = False
        await self._on_thread(self._show)

    def _show(self) -> None:
        for holder in self._holders:
            if isinstance(holder.service, Hidden) and holder.is_held:
                try:
                    holder.service.show(holder.held)
                except (CommandFailed, OSError) as error:
                    log.error("service_not_shown", service=holder.service.name, why=str(error))

    async def carries(self) -> bool:
        """Whether something goes on that only this incarnation can carry."""
        resting = [holder.service for holder in self._holders if isinstance(holder.service, Resting)]
        return self._resting and any([await self._on_thread(service.carries) for service in resting])

    async def live(self) -> str:
        """The last document's digest, if all services are what it says."""
        # Without a document nothing has to be read, and the first words to the host do not wait for the kernel's modules.
        return "" if self._document is None else await self._on_thread(self._live)

    def _live(self) -> str:
        return self._digest if all(each.is_live() for each in self._holders) else ""

    async def faults(self) -> tuple[ServiceFault, ...]:
        """Services that are not what the last document says."""
        return tuple(trouble for each in self._holders if (trouble := each.trouble()) is not None)

    def redundancy(self) -> str:
        """As it was told last."""
        return self._pairing.state or ""

    def services(self) -> tuple[ServiceSeen, ...]:
        """The daemons."""
        return () if self._resting else self._daemons()

    async def counters(self) -> tuple[Counter, ...]:
        """Bytes per public address."""
        return await self._on_thread(self._count)

    async def run_task(self, name: str, body: TaskBody, progress: Progress) -> msgspec.Struct | None:
        """What the live rules mean, and whether all is well."""
        match body:
            case ExplainPacket() | ShowRules():
                document = self._known()
                # Beside everything else: it only reads, and with many rules it takes a while.
                return await asyncio.to_thread(_answered, body, document)
            case CheckHealth():
                return await self._checking.fresh(self._known())
            case _:
                raise Refused(f"a router runs no {type(body).__name__}")

    def _known(self) -> RouterDocument:
        if self._document is None:
            raise Refused("this router has no configuration yet")
        return self._document

    async def stop(self) -> None:
        """Ends the daemons, last one first; the ruleset stays until the machine is gone."""
        await self._tell_traffic()
        self._ending = True
        for holder in self._holders:
            if isinstance(holder.service, Leaving):
                await self._on_thread(holder.service.leave)
        for holder in reversed(self._holders):
            await self._on_thread(holder.service.stop)

    # ------------------------------------------------------------ health
    def _serving(self) -> RouterDocument | None:
        if self._resting or self._hidden or self._ending or self._document is None:
            return None
        serves = self._pairing.state in (None, RedundantState.PRIMARY)
        return self._document if serves else as_backup(self._document)

    def _looks(self) -> Looks:
        return self._thread.submit(self._look).result()

    def _look(self) -> Looks:
        differences = {}
        for holder in self._holders:
            if not holder.is_live():
                trouble = holder.trouble()
                differences[holder.service.name] = trouble.why if trouble is not None else "it is not live yet"
        return Looks(self._daemons(), differences, self._context.line.is_up)

    # ------------------------------------------------------------ traffic
    async def _meter(self) -> None:
        """Tells the counters every so often as the document says; a change of that counts from now on."""
        waited = 0.0
        while True:
            await self._context.clock.sleep(METER_LOOK_S)
            waited += METER_LOOK_S
            if self._document is not None and waited >= self._document.stats_interval_s:
                waited = 0.0
                await self._tell_traffic()

    async def _tell_traffic(self) -> None:
        if self._resting or self._hidden or self._document is None or not self._document.stats_interval_s:
            return
        counters = await self.counters()
        if counters:
            await self._context.line.notify(TrafficReport(life=network_life(), counters=counters))

    # ------------------------------------------------------------ the watch
    async def _watch(self) -> None:
        while True:
            await self._context.clock.sleep(_WATCH_EVERY)
            for report in await self._on_thread(self._mend):
                await self._context.line.notify(report)

    async def _listen(self, news: Callable[[], socket.socket]) -> None:
        """What somebody else changes in the kernel's rules and addresses is looked at when the kernel says so."""
        async with aclosing(bell.rings(self._context.clock, news)) as rings:
            async for _ in rings:
                for report in await self._on_thread(self._drifts):
                    await self._context.line.notify(report)

    def _drifts(self) -> list[DriftReport | RedundancyReport]:
        if self._ending or self._resting or self._document is None:
            return []
        pair = self._pairing.news()
        found = [report for holder in self._holders if (report := holder.drift()) is not None]
        return [] if self._hidden else [*pair, *found]

    def _mend(self) -> list[DriftReport | MembersReport | TunnelsReport | RedundancyReport]:
        if self._ending or self._resting or self._document is None:
            return []
        self._ticks += 1
        reports: list[DriftReport | MembersReport | TunnelsReport | RedundancyReport] = [*self._pairing.news()]
        reports += [report for holder in self._holders if (report := holder.drift()) is not None]
        if self._ticks % _RETRY_EVERY == 0:
            document = self._document
            reports += [report for holder in self._holders if (report := holder.retry(document)) is not None]
        for now in self._daemons():
            before = next((each for each in self._seen if each.name == now.name), now)
            if now.restarts > before.restarts:
                words = "had ended and was started again"
                log.warning("daemon_restarted", service=now.name, restarts=now.restarts)
                reports.append(DriftReport(service=now.name, difference=words, mended=now.running))
        self._seen = self._daemons()
        if self._hidden:
            return []
        return reports + [report for told in self._told for report in told.news(self._ticks)]

    def _daemons(self) -> tuple[ServiceSeen, ...]:
        return tuple(seen for holder in self._holders for seen in holder.service.daemons())

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _answered(body: ExplainPacket | ShowRules, document: RouterDocument) -> msgspec.Struct:
    from sysvm.agent.roles.router.explaining import answer  # seldom needed: a start does not wait for it

    try:
        return answer.explain(body, document) if isinstance(body, ExplainPacket) else answer.show(document)
    except CommandFailed as error:
        raise Refused(str(error)) from error


def network_life() -> str:
    """Of this network stack: incarnations in containers share one, a machine that boots has a new one."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{Path('/proc/self/ns/net').stat().st_ino}"
