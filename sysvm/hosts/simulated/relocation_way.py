"""The way between two simulated hosts for a router's service: a call to the other one's agent, while both are there.

`broken` tells the fault that a test may put in: why no other host can be reached.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from sysvm.basics.errors import Unreachable
from sysvm.hosts.moves.relocation_way import Agents, Taker
from sysvm.hosts.simulated.world import Died, World
from sysvm.wire.handover import ServiceTaken, TakeConnections, Taken, TakeService
from sysvm.wire.link import EnsureLanding, EnsureSent
from sysvm.wire.machines import LandingPlace


@dataclass(slots=True)
class SimulatedWay:
    """Satisfies relocation.Way; of one life of a host agent."""

    world: World
    name: str
    agents: Agents
    broken: Callable[[], str]
    taker: Taker = field(init=False)
    expected: dict[str, str] = field(default_factory=dict)  # machine -> attempt

    async def open(self, order: EnsureLanding) -> None:
        """See Way."""
        self.expected[order.spec.machine] = order.attempt
        self.world.landings[order.attempt] = self

    def place(self, machine: str) -> LandingPlace | None:
        """See Way."""
        attempt = self.expected.get(machine)
        if attempt is None or not self.taker.expects(machine, attempt):
            return None
        return LandingPlace(address="192.0.2.1", port=1, host=self.name, mark=self.name, sockets="", console_log="")

    @asynccontextmanager
    async def to(self, order: EnsureSent) -> AsyncIterator["SimulatedThere"]:
        """See Way."""
        there = self.world.landings.get(order.attempt)
        with self.speaking():
            if there is None or not there.taker.expects(order.spec.machine, order.attempt):
                raise Unreachable("no such attempt, or it is over")
        yield SimulatedThere(self, there, order)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """With another host's agent, which may die meanwhile."""
        if self.broken():
            raise Unreachable(self.broken())
        try:
            yield
        except Died:
            raise Unreachable("the other host's agent died") from None


@dataclass(slots=True)
class SimulatedThere:
    """Satisfies relocation.There."""

    here: SimulatedWay
    there: SimulatedWay
    order: EnsureSent

    async def take_connections(self, body: TakeConnections) -> Taken:
        """See There."""
        with self.here.speaking():
            answer = await self.there.agents.call(self.order.there.machine, self.order.there.incarnation, body)
        assert isinstance(answer, Taken)
        return answer

    async def take_service(self, body: TakeService, seconds: float) -> ServiceTaken:
        """See There."""
        del body, seconds
        spec, attempt = self.order.there, self.order.attempt
        with self.here.speaking():
            return ServiceTaken(why=await self.there.taker.take_service(spec.machine, spec.incarnation, attempt))
