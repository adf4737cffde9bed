"""Hosts that are only pretended: in memory, on any clock, thousands in one process.

`SimulatedHost` is the host agent's own `HostService` on a driver, agents and pools in memory (simulated/). It is asked by
`call`, which looks like `wire.peer.Peer.call`, so that the hub holds it in the place of a TLS link.

    world = World(clock)                     # what is to happen when; `await world.run()` in a task, or world.run_due()
    host = SimulatedHost(world, "h1", tasks)
    links.attach(host_id, host)
    host.attach(hear, ask)                   # the server's ear for notices, and its answer to FromAgent asks
    host.welcome(Welcome(...))               # after the server has taken host.hello()
    done = await host.call(Do(...), Done)

Faults: `host.link_up = False` (calls raise Unreachable, notices are lost), `host.lose_answers = 1` (done, but nobody
hears of it), `host.driver.unavailable = "why"`, `host.driver.failures["ensure-running"] = NotYet(...)`,
`host.kill_machine(...)`, `host.kill_agent(...)`, `host.restart_agent()`, `host.reboot()`. What it does not pretend:
packets, disks, the insides of guests.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused, Unreachable
from sysvm.basics.tasks import Tasks
from sysvm.hosts.memory import PassingMemory
from sysvm.hosts.moves.handover import PassingJournal
from sysvm.hosts.service import HostService
from sysvm.hosts.simulated.agents import SimulatedAgents
from sysvm.hosts.simulated.driver import SimulatedDriver
from sysvm.hosts.simulated.gates import SimulatedGates
from sysvm.hosts.simulated.mover import SimulatedMover
from sysvm.hosts.simulated.relocation_way import SimulatedWay
from sysvm.hosts.simulated.storage import SimulatedStorage
from sysvm.hosts.simulated.world import Died, Mortal, World
from sysvm.hosts.work import Work
from sysvm.wire import link
from sysvm.wire.channel import AgentAskBody, AgentHello
from sysvm.wire.documents import HostDocument
from sysvm.wire.machines import Runtime
from sysvm.wire.security_groups import SecurityGroupsDocument

__all__ = ["SimulatedAgents", "SimulatedDriver", "SimulatedHost", "SimulatedStorage", "World"]

T = TypeVar("T")
Hear = Callable[[link.HostNoticeBody], None]
Ask = Callable[[link.FromAgent], Awaitable[msgspec.Struct]]


class SimulatedHost:
    """One pretended host. Its `name` is its id as well."""

    def __init__(self, world: World, name: str, tasks: Tasks, *, cpus: int = 16, memory_mb: int = 65536) -> None:
        self.name = name
        self.link_up = True
        self.lose_answers = 0
        self.boots = 1
        self._agent_lives = 0  # which life of the host agent this is
        self._world = world
        self._tasks = tasks
        self._hear: Hear | None = None
        self._ask: Ask | None = None
        self.driver = SimulatedDriver(world)
        self.mover = SimulatedMover(self.driver, name)
        self.agents = SimulatedAgents(world, self.driver, self.notify)
        self.storage = SimulatedStorage(world)
        self.memory = PassingMemory()
        self.journal = PassingJournal()
        self.unreached = ""  # why no other host can be reached from here
        self.groups: SecurityGroupsDocument | None = None  # what its ports are held to
        self.facts = link.HostFacts(
            name=name,
            cpus=cpus,
            cpu_mhz=2000,
            memory_bytes=memory_mb * 1024 * 1024,
            kernel="simulated",
            hypervisors=("Simulator",),
            features=("esp", "flowtable", "handover", "live-migration", "nfs", "vlan", "wireguard"),
            templates=("simulated",),
            disk_bytes=1 << 40,
        )
        self._service = self._new_service()
        self.driver.tell(self._changed)

    # ------------------------------------------------------------ the link
    def attach(self, hear: Hear, ask: Ask | None = None) -> None:
        """A server listens from now on."""
        self._hear, self._ask = hear, ask

    def hello(self) -> link.HostHello:
        """What the host says first."""
        return link.HostHello(
            protocol=link.PROTOCOL,
            cloud="",
            host=self.name,
            boot=f"{self.name}-boot-{self.boots}",
            version="simulated",
            epoch=self.memory.epoch,
            facts=self.facts,
        )

    def welcome(self, welcome: link.Welcome) -> None:
        """The server's answer."""
        self._service.obey(welcome.epoch)

    async def call(self, body: msgspec.Struct, answer: type[T], *, seconds: float = 20.0) -> T:
        """As Peer.call. Edges: host.call.sent (before anything is done) and host.call.answered (after)."""
        del seconds
        self._must_be_up()
        await edge("host.call.sent")
        self._must_be_up()
        try:
            result = await self._service.serve(body)  # type: ignore[arg-type]
        except Died:
            raise Unreachable("the host agent died meanwhile") from None
        await edge("host.call.answered")
        self._must_be_up()
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("the answer was lost")
        if not isinstance(result, answer):
            raise Refused(f"{type(body).__name__} is answered by {type(result).__name__}, not {answer.__name__}")
        return result

    async def ask(self, machine: str, incarnation: int, ask: AgentAskBody) -> msgspec.Struct:
        """The agent of a machine asks the server something."""
        self._must_be_up()
        if self._ask is None:
            raise Unreachable("no server listens")
        return await self._ask(link.FromAgent(machine=machine, incarnation=incarnation, ask=ask))

    def notify(self, notice: link.HostNoticeBody) -> None:
        """News for the server; lost when the link is down."""
        if isinstance(notice, link.FromAgent) and isinstance(notice.notice, AgentHello):
            self._tasks.start(self._reconcile(notice.machine), "reconcile")
        if self.link_up and self._hear is not None:
            self._hear(notice)

    async def _reconcile(self, machine: str) -> None:
        with contextlib.suppress(Died):
            await self._service.reconcile(machine)

    async def inventory(self) -> link.InventoryDigest:
        """What a real host sends every ten seconds; whoever drives the simulation says when."""
        return link.InventoryDigest(digest=digest(await self._service.look_all()))

    # ------------------------------------------------------------ what may befall it
    def kill_machine(self, machine: str, incarnation: int) -> None:
        """It dies; the host notices."""
        self.agents.disconnect(machine, incarnation)
        self.driver.kill(machine, incarnation)

    def kill_agent(self, machine: str, incarnation: int) -> None:
        """Its agent dies and is started again by its supervisor."""
        self.agents.restart(machine, incarnation)

    def restart_agent(self) -> None:
        """The host agent dies and comes back: what it remembers is what is durable; machines run on."""
        self._service = self._new_service()
        self.mover.break_off()
        self.agents.reconnect_all()

    def reboot(self) -> None:
        """The kernel begins anew: nothing runs."""
        self.boots += 1
        self.agents.disconnect_all()
        self.driver.stop_all()
        self._service = self._new_service()

    def _new_service(self) -> HostService:
        self._agent_lives += 1
        life = self._agent_lives

        def lives() -> bool:
            return life == self._agent_lives

        agents = cast(SimulatedAgents, Mortal(self.agents, lives))
        way = SimulatedWay(self._world, self.name, agents, lambda: self.unreached)
        service = HostService(
            drivers={Runtime.SIMULATED: self.driver, Runtime.CONTAINER: self.driver, Runtime.VM: self.driver},
            specs=self.driver,
            agents=agents,
            memory=self.memory,
            work=Work(self.storage, self._tasks, self._world.clock, self.notify, None),
            storage=self.storage,
            apply_host=self._apply,
            apply_groups=self._apply_groups,
            journal=cast(PassingJournal, Mortal(self.journal, lives)),
            gates=cast(SimulatedGates, Mortal(SimulatedGates(self.driver), lives)),
            clock=self._world.clock,
            movers={Runtime.SIMULATED: self.mover, Runtime.VM: self.mover},
            way=way,
        )
        way.taker = service
        return service

    async def _apply(self, document: HostDocument) -> link.HostReport:
        return link.HostReport(live=digest(document))

    async def _apply_groups(self, document: SecurityGroupsDocument) -> link.HostReport:
        self.groups = document
        return link.HostReport(live=digest(document))

    def _changed(self, machine: str) -> None:
        self.notify(link.MachineChanged(machine=machine))

    def _must_be_up(self) -> None:
        if not self.link_up:
            raise Unreachable("the link is down")
