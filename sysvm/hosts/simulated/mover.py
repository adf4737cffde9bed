"""How machines of simulated hosts move to each other while they run. Satisfies driver.Mover.

What it keeps to is what real hosts keep to: the machine is gone from where it was before it runs where it comes. Faults for
tests: `failure` (the next one fails with this text), `broken` (the host that sends forgets what it was doing, as one does
whose agent was killed), `unfinished` (it has left, and nobody lets it run where it is now).
"""

from dataclasses import dataclass, field

from sysvm.hosts.simulated.driver import Life, SimulatedDriver
from sysvm.wire.link import EnsureLanding, EnsureSent
from sysvm.wire.machines import Disk, LandingPlace, Moving

SEND_S = 3.0


@dataclass(slots=True)
class SimulatedMover:
    """Beside a SimulatedDriver."""

    driver: SimulatedDriver
    name: str
    seconds: float = SEND_S
    failure: str = ""
    unfinished: bool = False
    _under_way: set[str] = field(default_factory=set)  # attempts

    async def begin_landing(self, order: EnsureLanding) -> None:
        """See Mover."""
        spec = order.spec
        await self.driver.begin("begin-landing", spec.machine, spec.incarnation)
        life = self.driver.life(spec.machine, spec.incarnation) or self.driver.add(spec)
        if life.running or life.attempt == order.attempt:
            return
        life.spec, life.moving, life.attempt = spec, Moving.IN, order.attempt
        life.copied = tuple(disk for disk in spec.disks if disk.volume in order.copied)

    async def ensure_landing(self, order: EnsureLanding) -> None:
        """See Mover."""
        spec = order.spec
        await self.driver.begin("ensure-landing", spec.machine, spec.incarnation)
        life = self.driver.life(spec.machine, spec.incarnation)
        if life is None or life.running:
            return
        life.landing = LandingPlace(
            address="192.0.2.1", port=1, host=self.name, mark=self.name, sockets="/simulated", console_log="/simulated"
        )
        self.driver.world.landings[order.attempt] = life

    async def ensure_sent(self, order: EnsureSent) -> None:
        """See Mover."""
        spec = order.spec
        await self.driver.begin("ensure-sent", spec.machine, spec.incarnation)
        life = self.driver.life(spec.machine, spec.incarnation)
        if life is None or not life.running or life.attempt == order.attempt:
            return
        life.attempt, life.moving = order.attempt, Moving.OUT
        self._under_way.add(order.attempt)
        self.driver.world.after(self.seconds, lambda: self._arrive(life, order.attempt))

    def landing(self, machine: str, incarnation: int) -> tuple[Disk, ...]:
        """See Mover."""
        life = self.driver.life(machine, incarnation)
        return life.copied if life is not None and life.moving is Moving.IN else ()

    def break_off(self) -> None:
        """The agent of this host was killed: what was under way is not any more."""
        for life in self.driver.lives():
            if life.moving is Moving.OUT:
                self._fail(life, "it was interrupted")

    def _arrive(self, life: Life, attempt: str) -> None:
        if attempt not in self._under_way or life.moving is not Moving.OUT or not life.running:
            return
        there = self.driver.world.landings.get(attempt)
        if self.failure or there is None or there.attempt != attempt or there.moving is not Moving.IN or there.gone:
            self._fail(life, self.failure or "the other host does not take it in")
            self.failure = ""
            return
        self._under_way.discard(attempt)
        life.running, life.moving = False, Moving.SENT
        there.arrived = True
        if not self.unfinished:
            there.running = True
        self.driver.changed(life.spec.machine)

    def _fail(self, life: Life, why: str) -> None:
        self._under_way.discard(life.attempt)
        life.moving, life.why = Moving.FAILED, why
        self.driver.changed(life.spec.machine)
