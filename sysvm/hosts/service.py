"""Serving what a management server asks of a host, however it was carried here: the real host agent and the simulated
host are this class with other parts.

Promises:
- a fence lower than the highest seen for an incarnation changes nothing, also when the higher one came while
  the lower one waited in line;
- acts about one machine happen one after another, and looking shows the one that is going on;
- a server whose epoch is lower than one that the host has obeyed may look, and nothing else;
- what cannot be looked at is UNKNOWN: absence is said only when there is no spec.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import Driver, DriverUnavailable, Mover, Storage
from sysvm.hosts.memory import Memory
from sysvm.hosts.moves.carrying import FAILURES, Gates
from sysvm.hosts.moves.handover import Handovers, Journal
from sysvm.hosts.moves.relocation import Relocation, Way
from sysvm.hosts.work import Work
from sysvm.wire import link
from sysvm.wire.channel import AgentCallBody, Apply, PowerOff
from sysvm.wire.documents import HostDocument
from sysvm.wire.machines import (
    AgentSeen,
    Kind,
    MachineSeen,
    MachineSpec,
    Moving,
    OperationSeen,
    OperationState,
    Power,
    Runtime,
)
from sysvm.wire.security_groups import SecurityGroupsDocument

log = get_logger()
ApplyHostDocument = Callable[[HostDocument], Awaitable[link.HostReport]]
ApplySecurityGroups = Callable[[SecurityGroupsDocument], Awaitable[link.HostReport]]


class Specs(Protocol):
    """What this host has been asked to have, whether or not its driver can be asked."""

    def machines(self) -> tuple[str, ...]:
        """Machines that have an incarnation here."""
        ...

    def incarnations(self, machine: str) -> Mapping[int, Runtime]:
        """Incarnation -> runtime."""
        ...


class Agents(Protocol):
    """The agents inside the system VMs of this host."""

    def seen(self, machine: str, incarnation: int) -> AgentSeen | None:
        """What it last said, while it is connected."""
        ...

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """Its answer. Raises NotYet while it is not connected."""
        ...

    async def ensure(self, machine: str, incarnation: int) -> None:
        """There is a channel to it from now on."""
        ...

    async def drop(self, machine: str, incarnation: int) -> None:
        """There is none any more."""
        ...


class HostService:
    """A host, as its management server sees it."""

    def __init__(
        self,
        *,
        drivers: Mapping[Runtime, Driver],
        specs: Specs,
        agents: Agents,
        memory: Memory,
        work: Work,
        storage: Storage,
        apply_host: ApplyHostDocument,
        apply_groups: ApplySecurityGroups,
        journal: Journal,
        gates: Gates,
        clock: Clock,
        way: Way,
        movers: Mapping[Runtime, Mover] | None = None,
    ) -> None:
        self._handovers = Handovers(agents=agents, specs=specs, gates=gates, kill=self._kill, journal=journal, clock=clock)
        self._relocation = Relocation(agents=agents, gates=gates, journal=journal, way=way, stay=self._handovers.stay)
        self._way = way
        self._gates = gates
        self._drivers = drivers
        self._movers = movers or {}
        self._specs = specs
        self._agents = agents
        self._memory = memory
        self._work = work
        self._storage = storage
        self._apply_host = apply_host
        self._apply_groups = apply_groups
        self._pools: tuple[str, ...] = ()
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._acting: dict[str, OperationSeen] = {}
        self._server_epoch = 0

    def obey(self, epoch: int) -> None:
        """A server has welcomed us. A lower epoch than before is a rolled-back database."""
        self._server_epoch = epoch
        if epoch < self._memory.epoch:
            log.error("older_epoch_seen", server=epoch, host=self._memory.epoch)
        else:
            self._memory.raise_epoch(epoch)

    def adopt(self, document: HostDocument) -> None:
        """A document of an earlier life: its pools are ours to list."""
        self._pools = document.pools

    async def reconcile(self, machine: str) -> None:
        """An agent of this machine has said hello: those inside are told who serves, unless they know."""
        async with self._alone(machine):
            await self._reconcile(machine)

    async def _reconcile(self, machine: str) -> None:
        try:
            await self._handovers.reconcile(machine)
        except FAILURES as error:
            log.warning("agents_not_reconciled", machine=machine, why=str(error))

    async def resume(self) -> None:
        """Handovers that an earlier life of this agent has left half done are done, or taken back."""
        for machine in self._specs.machines():
            await self.reconcile(machine)

    async def serve(self, body: link.HostCallBody) -> msgspec.Struct:
        """Does or answers one call."""
        match body:
            case link.Look():
                return link.Looked(incarnations=await self.look(body.machine))
            case link.LookAll():
                return await self.look_all()
            case link.Do():
                return await self._do(body)
            case link.ApplyHost():
                return await self._apply(body.document)
            case link.ApplySecurityGroups():
                self._may_act()
                async with self._alone("security groups"):
                    return await self._apply_groups(body.document)
            case link.RunHostTask():
                self._may_act()
                return self._work.ensure(body.name, body.body)
            case link.ForgetHostTask():
                self._may_act()
                await self._work.forget(body.name)
                return link.Nothing()
            case link.RenewNow():
                raise Refused("this host has no certificate: it lives in its server's process")
            case link.ToAgent():
                return await self._to_agent(body)

    # ------------------------------------------------------------ looking
    async def look(self, machine: str) -> tuple[MachineSeen, ...]:
        """Every incarnation of the machine; nobody's word is taken for its absence but that of its spec."""
        runtimes = set(self._specs.incarnations(machine).values())
        found = [seen for runtime in sorted(runtimes) for seen in await self._look_with(runtime, machine)]
        return tuple(self._completed(seen) for seen in sorted(found, key=lambda seen: seen.incarnation))

    async def look_all(self) -> link.LookedAll:
        """Everything here."""
        machines = [seen for machine in self._specs.machines() for seen in await self.look(machine)]
        return link.LookedAll(
            machines=tuple(machines),
            images=await self._storage.images(self._pools),
            volumes=await self._storage.volumes(self._pools),
        )

    async def _look_with(self, runtime: Runtime, machine: str) -> tuple[MachineSeen, ...]:
        try:
            return await self._driver(runtime).look(machine)
        except (DriverUnavailable, NotYet, Refused) as error:
            known = self._specs.incarnations(machine).items()
            mine = [number for number, its_runtime in known if its_runtime is runtime]
            return tuple(MachineSeen(machine=machine, incarnation=number, power=Power.UNKNOWN, why=str(error)) for number in mine)

    def _completed(self, seen: MachineSeen) -> MachineSeen:
        machine, incarnation = seen.machine, seen.incarnation
        acting = self._acting.get(machine)
        known = msgspec.structs.replace(
            seen,
            agent=self._agents.seen(machine, incarnation),
            fence=self._memory.fence(_fence_key(machine, incarnation)),
            operations=() if acting is None else (acting,),
            returned=self._handovers.returned(machine, incarnation),
        )
        moving, why = self._handovers.leaves(machine, incarnation)
        return known if moving is Moving.NO else self._on_its_way(known, moving, why)

    def _on_its_way(self, seen: MachineSeen, moving: Moving, why: str) -> MachineSeen:
        """A router whose service goes from host to host. How that ends is known when nobody acts on it any more."""
        if moving is Moving.IN:
            return msgspec.structs.replace(seen, moving=moving, landing=self._way.place(seen.machine))
        agent = seen.agent
        if agent is not None and moving is Moving.SENT:
            agent = msgspec.structs.replace(agent, live="", standby=True)
        moving = Moving.OUT if seen.operations else moving
        return msgspec.structs.replace(seen, moving=moving, agent=agent, why=why or seen.why)

    # ------------------------------------------------------------ acting
    def _may_act(self) -> None:
        if self._server_epoch < self._memory.epoch:
            text = f"this server's database is of epoch {self._server_epoch}, the host has obeyed {self._memory.epoch}"
            raise Refused(f"{text}: run `sysvm recover`", Why.NOT_ALLOWED)

    async def _do(self, do: link.Do) -> link.Done:
        self._may_act()
        await edge("host.do.received")
        key = _fence_key(do.machine, _incarnation(do.act))
        self._memory.raise_fence(key, do.fence)
        async with self._alone(do.machine):
            # Somebody newer may have come while this one waited.
            self._memory.raise_fence(key, do.fence)
            name = type(do.act).__struct_config__.tag
            self._acting[do.machine] = OperationSeen(name=str(name), state=OperationState.RUNNING)
            try:
                await self._act(do.machine, do.act)
            finally:
                del self._acting[do.machine]
        await edge("host.do.done")
        return link.Done(seen=link.Looked(incarnations=await self.look(do.machine)))

    async def _act(self, machine: str, act: link.ActBody) -> None:
        if not isinstance(act, link.EnsureStopped | link.EnsureRemoved) and act.spec.machine != machine:
            raise Refused(f"the spec is about {act.spec.machine}, the act about {machine}")
        match act:
            case link.EnsureCreated():
                await self._handovers.settle_ports(machine)
                await self._driver(act.spec.runtime).ensure_created(self._placed(act.spec))
            case link.EnsureRunning():
                await self._handovers.settle_ports(machine)
                await self._handovers.alone(machine, act.spec.incarnation)
                await self._handovers.call_back(machine, act.spec.incarnation)
                await self._run(act.spec)
            case link.EnsureNics():
                await self._handovers.settle_ports(machine)
                await self._driver(act.spec.runtime).ensure_nics(self._placed(act.spec))
                await self._driver(act.spec.runtime).ensure_disks(act.spec)
            case link.EnsureHandover():
                await self._hand_over(act.spec)
            case link.EnsureLanding() if act.spec.kind is Kind.ROUTER:
                await self._stand_by(act)
            case link.EnsureLanding():
                await self._land(act)
            case link.EnsureSent() if act.spec.kind is Kind.ROUTER:
                await self._handovers.settle(machine)
                await self._relocation.ensure_sent(act)
            case link.EnsureSent():
                await self._mover(act.spec.runtime).ensure_sent(act)
            case link.EnsureStopped():
                for driver in self._drivers_of(machine, act.incarnation):
                    await driver.ensure_stopped(machine, act.incarnation, act.grace_s)
            case link.EnsureRemoved():
                await self._remove(machine, act)

    async def _remove(self, machine: str, act: link.EnsureRemoved) -> None:
        await self._agents.drop(machine, act.incarnation)
        if act.withdrawn:
            await self._remove_landing(machine, act.incarnation)
        for driver in self._drivers_of(machine, act.incarnation) or self._keepers():
            await driver.ensure_removed(machine, act.incarnation, act.kept_network)
        self._handovers.forget(machine, act.incarnation)
        await self._reconcile(machine)

    async def _run(self, spec: MachineSpec) -> None:
        driver, placed = self._driver(spec.runtime), self._placed(spec)
        await driver.ensure_created(placed)
        await self._agents.ensure(spec.machine, spec.incarnation)
        await driver.ensure_running(placed)

    # ------------------------------------------------------------ from host to host
    async def _stand_by(self, act: link.EnsureLanding) -> None:
        """A router's next incarnation runs behind shut ports, and its service may come from the host that has it."""
        await self._handovers.settle_ports(act.spec.machine)
        self._handovers.hold(act.spec.machine, act.spec.incarnation, act.attempt)
        if self._handovers.is_far(act.spec.machine):
            await self._run(act.spec)
            await self._way.open(act)

    async def take_service(self, machine: str, incarnation: int, attempt: str) -> str:
        """The host that had it says that its incarnation is silent; why the one here does not serve."""
        async with self._alone(machine):
            return await self._handovers.take_from_afar(machine, incarnation, attempt)

    def expects(self, machine: str, attempt: str) -> bool:
        """Whether the service may still come in this attempt."""
        return self._handovers.expects(machine, attempt)

    async def _land(self, act: link.EnsureLanding) -> None:
        await self._mover(act.spec.runtime).begin_landing(act)
        for disk in act.spec.disks:
            if disk.volume in act.copied:
                await self._storage.perform(
                    link.EnsureVolume(pool=disk.pool, volume=disk.volume, size=disk.size, format=disk.format), _nobody
                )
        await self._mover(act.spec.runtime).ensure_landing(act)

    async def _remove_landing(self, machine: str, incarnation: int) -> None:
        """What came of its volumes goes, too, when it was not taken in after all: they are whole where it was."""
        runtime = self._specs.incarnations(machine).get(incarnation)
        mover = self._movers.get(runtime) if runtime is not None else None
        disks = mover.landing(machine, incarnation) if mover is not None else ()
        if disks:
            await self._kill(machine, incarnation)
        for disk in disks:
            await self._storage.perform(link.RemoveVolume(pool=disk.pool, volume=disk.volume, format=disk.format), _nobody)

    def _mover(self, runtime: Runtime) -> Mover:
        mover = self._movers.get(runtime)
        if mover is None:
            raise Refused(f"{runtime} machines of this host do not move while they run", Why.UNAVAILABLE)
        return mover

    def _placed(self, spec: MachineSpec) -> MachineSpec:
        """The spec, with what this host knows: whether another incarnation serves."""
        standby = self._handovers.stands_by(spec.machine, spec.incarnation)
        return msgspec.structs.replace(spec, standby=standby, apart=standby and self._handovers.is_far(spec.machine))

    async def _hand_over(self, spec: MachineSpec) -> None:
        await self._handovers.settle_ports(spec.machine)
        # Its addresses have to be its ports' before it speaks from them; ports of its own are opened by the handover.
        if not self._handovers.returned(spec.machine, spec.incarnation):
            apart = self._gates.has(spec.machine, spec.incarnation) or self._handovers.is_far(spec.machine)
            await self._driver(spec.runtime).ensure_nics(self._placed(spec) if apart else spec)
        await self._handovers.ensure(spec.machine, spec.incarnation)

    async def _kill(self, machine: str, incarnation: int) -> None:
        for driver in self._drivers_of(machine, incarnation):
            await driver.ensure_stopped(machine, incarnation, 0.0)

    async def _to_agent(self, body: link.ToAgent) -> msgspec.Struct:
        self._may_act()
        if isinstance(body.body, Apply | PowerOff):
            # Tasks have names of their own, and are started by other turns than the machine's.
            self._memory.raise_fence(_fence_key(body.machine, body.incarnation), body.fence)
        return await self._agents.call(body.machine, body.incarnation, body.body)

    async def _apply(self, document: HostDocument) -> link.HostReport:
        self._may_act()
        async with self._alone("host"):
            report = await self._apply_host(document)
            self._pools = document.pools
            return report

    def _driver(self, runtime: Runtime) -> Driver:
        driver = self._drivers.get(runtime)
        if driver is None:
            raise Refused(f"this host runs no {runtime} machines", Why.UNAVAILABLE)
        return driver

    def _drivers_of(self, machine: str, incarnation: int) -> tuple[Driver, ...]:
        runtime = self._specs.incarnations(machine).get(incarnation)
        return () if runtime is None else (self._driver(runtime),)

    def _keepers(self) -> tuple[Driver, ...]:
        """Those who may keep a router's network after its last incarnation."""
        return tuple(driver for runtime, driver in self._drivers.items() if runtime is not Runtime.VM)

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One at a time for each key; keys that nobody waits for are not remembered."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)


def _nobody(part: float) -> None:
    """Hears of progress that nobody waits for."""


def _fence_key(machine: str, incarnation: int) -> str:
    """Fences are those of a placement's turn; while a router is replaced it has two."""
    return f"{machine}.{incarnation}"


def _incarnation(act: link.ActBody) -> int:
    return act.incarnation if isinstance(act, link.EnsureStopped | link.EnsureRemoved) else act.spec.incarnation
