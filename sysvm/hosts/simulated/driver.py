"""The driver of a simulated host: machines are entries of a dictionary. Satisfies driver.Driver, and service.Specs.

`unavailable` and `failures` are the faults that a test may put in: the first makes every call raise DriverUnavailable,
the second the next call of that act raise what is given.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.hosts.driver import (
    Capabilities,
    Changed,
    ChannelEnd,
    Console,
    DialTo,
    DriverUnavailable,
    TextCommand,
)
from sysvm.hosts.simulated.world import World
from sysvm.wire.machines import (
    Disk,
    Kind,
    LandingPlace,
    MachineSeen,
    MachineSpec,
    Moving,
    Power,
    Runtime,
    spec_digest,
)

Place = tuple[str, int]  # machine, incarnation


@dataclass(slots=True)
class Life:
    """One incarnation."""

    spec: MachineSpec
    running: bool = False
    starts: int = 0
    moving: Moving = Moving.NO
    attempt: str = ""  # the last to move it
    landing: LandingPlace | None = None
    copied: tuple[Disk, ...] = ()  # volumes that come with it
    arrived: bool = False  # it is here, and does not run yet
    gone: bool = False  # removed
    why: str = ""


@dataclass(slots=True)
class SimulatedDriver:
    """Pretends to run machines."""

    world: World
    unavailable: str = ""
    failures: dict[str, Exception] = field(default_factory=dict)
    ended: Callable[[str], None] = lambda machine: None  # who else hears that nothing of a machine runs any more
    seconds: dict[str, float] = field(default_factory=dict)  # how long an act takes; no time by default
    apart: bool = False  # its routers have kernels and ports of their own, as VMs have
    shut: dict[Place, float] = field(default_factory=dict)  # until when nobody hears what has such a port
    acts: list[tuple[str, Place]] = field(default_factory=list)  # what has been done, for tests to read
    _lives: dict[str, dict[int, Life]] = field(default_factory=dict)
    _kept: set[str] = field(default_factory=set)
    _changed: Changed | None = None

    async def capabilities(self) -> Capabilities:
        """All of them."""
        return Capabilities(hypervisor="Simulator", accelerated=True)

    async def look(self, machine: str) -> tuple[MachineSeen, ...]:
        """See Driver."""
        self._must_be_available()
        return tuple(_seen(life) for _, life in sorted(self._lives.get(machine, {}).items()))

    async def look_all(self) -> tuple[MachineSeen, ...]:
        """See Driver."""
        return tuple([seen for machine in self.machines() for seen in await self.look(machine)])

    async def ensure_created(self, spec: MachineSpec) -> None:
        """See Driver."""
        await self.begin("ensure-created", spec.machine, spec.incarnation)
        life = self.life(spec.machine, spec.incarnation) or self.add(spec)
        if not life.running:
            life.spec = spec
        if spec.kind is Kind.ROUTER:
            self._kept.add(spec.machine)

    async def ensure_running(self, spec: MachineSpec) -> None:
        """See Driver."""
        await self.begin("ensure-running", spec.machine, spec.incarnation)
        await self.ensure_created(spec)
        self._plug(spec)
        life = self._lives[spec.machine][spec.incarnation]
        if life.moving is Moving.SENT:
            raise NotYet(2, "it has gone to another host")
        life.moving, life.landing, life.copied = Moving.NO, None, ()
        if not life.running:
            life.running = True
            life.starts += not life.arrived

    async def ensure_stopped(self, machine: str, incarnation: int, grace_s: float) -> None:
        """See Driver."""
        del grace_s
        await self.begin("ensure-stopped", machine, incarnation)
        life = self.life(machine, incarnation)
        if life is not None:
            _end(life)
            self.ended(life.spec.machine)

    async def ensure_removed(self, machine: str, incarnation: int, kept_network: bool) -> None:
        """See Driver."""
        await self.begin("ensure-removed", machine, incarnation)
        lives = self._lives.get(machine, {})
        if (gone := lives.pop(incarnation, None)) is not None:
            gone.gone, gone.running = True, False
            self.ended(machine)
        self.shut.pop((machine, incarnation), None)
        if not lives:
            self._lives.pop(machine, None)
            if not kept_network:
                self._kept.discard(machine)

    async def ensure_nics(self, spec: MachineSpec) -> None:
        """See Driver."""
        await self.begin("ensure-nics", spec.machine, spec.incarnation)
        self._plug(spec)
        life = self.life(spec.machine, spec.incarnation)
        if life is not None:
            life.spec = spec

    async def ensure_disks(self, spec: MachineSpec) -> None:
        """See Driver."""
        await self.begin("ensure-disks", spec.machine, spec.incarnation)
        life = self.life(spec.machine, spec.incarnation)
        if life is not None:
            life.spec = spec

    async def watch(self, changed: Changed) -> None:
        """See Driver."""
        self.tell(changed)
        await asyncio.get_running_loop().create_future()

    def channel(self, machine: str, incarnation: int) -> ChannelEnd | None:
        """See Driver; nobody ever connects to it."""
        life = self.life(machine, incarnation)
        if life is None or life.spec.kind is Kind.GUEST:
            return None
        return DialTo(Path(f"/simulated/{machine}.{incarnation}"))

    def console(self, machine: str) -> Console | None:
        """See Driver."""
        return TextCommand(("true",)) if machine in self._lives else None

    # ------------------------------------------------------------ service.Specs
    def machines(self) -> tuple[str, ...]:
        """See Specs."""
        return tuple(sorted(self._lives))

    def incarnations(self, machine: str) -> Mapping[int, Runtime]:
        """See Specs."""
        return {number: life.spec.runtime for number, life in self._lives.get(machine, {}).items()}

    # ------------------------------------------------------------ the simulation's side
    def tell(self, changed: Changed) -> None:
        """Whom to tell of what happens unasked."""
        self._changed = changed

    def life(self, machine: str, incarnation: int) -> Life | None:
        """The incarnation, if there is one."""
        return self._lives.get(machine, {}).get(incarnation)

    def is_open(self, machine: str, incarnation: int) -> bool:
        """Whether anything passes its ports."""
        return self.shut.get((machine, incarnation), 0.0) <= self.world.clock.now()

    def shut_for_good(self, machine: str, incarnation: int, shut: bool) -> None:
        """Its ports are shut from now on, or open."""
        if shut:
            self.shut[machine, incarnation] = math.inf
        else:
            self.shut.pop((machine, incarnation), None)

    def _plug(self, spec: MachineSpec) -> None:
        """Ports of its own are open unless another incarnation serves; those of containers are as they are."""
        if self.apart or spec.apart:
            self.shut_for_good(spec.machine, spec.incarnation, spec.standby)

    def lives(self) -> tuple[Life, ...]:
        """All incarnations, in order."""
        return tuple(life for machine in self.machines() for _, life in sorted(self._lives[machine].items()))

    def keeps_network_of(self, machine: str) -> bool:
        """The pinned network of a router is still there."""
        return machine in self._kept

    def kill(self, machine: str, incarnation: int) -> None:
        """It ends by itself."""
        life = self.life(machine, incarnation)
        if life is not None and life.running:
            _end(life)
            self.ended(life.spec.machine)
            self.changed(machine)

    def add(self, spec: MachineSpec) -> Life:
        """A new incarnation."""
        return self._lives.setdefault(spec.machine, {}).setdefault(spec.incarnation, Life(spec))

    def changed(self, machine: str) -> None:
        """Something has befallen it unasked."""
        if self._changed is not None:
            self._changed(machine)

    def stop_all(self) -> None:
        """The host was rebooted: nothing runs, nothing is kept in a kernel."""
        self._kept.clear()
        self.shut.clear()
        for life in self.lives():
            _end(life)
            self.ended(life.spec.machine)
            life.attempt = ""  # its ports are gone, so it cannot be taken in

    async def begin(self, act: str, machine: str, incarnation: int) -> None:
        """Every act passes here, and its faults."""
        self._must_be_available()
        failure = self.failures.pop(act, None)
        if failure is not None:
            raise failure
        if act in self.seconds:
            await self.world.clock.sleep(self.seconds[act])
        self.acts.append((act, (machine, incarnation)))

    def _must_be_available(self) -> None:
        if self.unavailable:
            raise DriverUnavailable(self.unavailable)


def _end(life: Life) -> None:
    life.running = life.arrived = False
    if life.moving is Moving.OUT:
        life.moving, life.why = Moving.FAILED, "it ended meanwhile"


def _seen(life: Life) -> MachineSeen:
    waits = life.moving is Moving.IN and life.arrived
    power = Power.RUNNING if life.running else Power.STARTING if waits else Power.STOPPED
    return MachineSeen(
        machine=life.spec.machine,
        incarnation=life.spec.incarnation,
        power=power,
        spec=spec_digest(life.spec),
        moving=life.moving,
        landing=life.landing if life.moving is Moving.IN else None,
        why=life.why if life.moving is Moving.FAILED else "",
    )
