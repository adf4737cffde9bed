"""Bad weather: random faults that befall the servers and hosts of a small cloud, all drawn from one seed.

Servers are killed or stand still at their fault points (a sleeper wakes as a zombie when its session is over); hosts lose
links, answers and notices, hear and do things twice, are restarted and booted. `calm` ends it: who sleeps wakes, every
host finds a server. Nothing here knows what is right: that is told by rest.py.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

from sysvm.basics import edge
from sysvm.basics.errors import NotYet, Refused, Unreachable
from sysvm.hosts.simulator import SimulatedHost
from sysvm.orchestrator.engine import HEART_BEAT, SessionLost
from sysvm.store import tables
from sysvm.store.queries import links
from sysvm.wire.link import HostNoticeBody
from tests.simulation.cloud import Cloud, Server
from tests.simulation.faults import HOSTS_OWN, Crash, only
from tests.simulation.test_links_and_hosts import Ear, do_twice

DEATH, SLEEP = 0.002, 0.001  # per fault point
LONGEST_SLEEP_S = 12.0  # more than twice a session's life
MEAN_BETWEEN_S = 5.0  # misfortunes of hosts
DIAL_S = 0.5


class Weather:
    """The servers of a cloud, and what befalls them and the hosts."""

    def __init__(self, cloud: Cloud, seed: int, servers: int) -> None:
        self.rng = random.Random(seed)
        self.told: list[str] = []  # what has happened, for whoever looks for the reason
        self._cloud = cloud
        self._slots = servers
        self._alive: dict[int, Server] = {}
        self._asleep: dict[int, asyncio.Event] = {}
        self._cut: set[int] = set()
        self._is_calm = False

    def tell(self, text: str) -> None:
        """Something has happened."""
        self.told.append(f"{self._cloud.clock.now() - 1.7e9:9.3f} {text}")

    @contextlib.asynccontextmanager
    async def blowing(self) -> AsyncIterator[None]:
        """Servers live and die until the block ends."""
        work = [self._slot(number) for number in range(self._slots)] + [self._dial(), self._befall()]
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            yield
        finally:
            broken = [task.exception() for task in tasks if task.done() and not task.cancelled()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for error in broken:
                if error is not None:
                    raise error

    def calm(self) -> None:
        """From now on nothing befalls anybody."""
        self.tell("calm")
        self._is_calm = True
        for awake in self._asleep.values():
            awake.set()
        for host in self._cloud.earth.hosts.values():
            host.lose_answers = 0
            host.driver.unavailable = ""
            host.driver.failures.clear()

    # ------------------------------------------------------------ servers
    async def _slot(self, number: int) -> None:
        while True:
            try:
                await asyncio.ensure_future(self._one_life(number))
            except BaseExceptionGroup as died:
                if not only(died, (Crash, SessionLost)):
                    raise
            self._alive.pop(number, None)
            self._asleep.pop(number, None)
            self.tell(f"server {number} is dead")
            await self._cloud.clock.sleep(self.rng.uniform(0.5, 10.0))

    async def _one_life(self, number: int) -> None:
        edge.install(lambda name: self._hook(number, name))
        async with self._cloud.running_server(alone=False) as server:
            self._alive[number] = server
            self.tell(f"server {number} begins")
            await asyncio.Event().wait()

    async def _hook(self, number: int, name: str) -> None:
        if number in self._asleep and not name.startswith(HOSTS_OWN):
            await self._asleep[number].wait()
        if self._is_calm or name == HEART_BEAT or name.startswith(HOSTS_OWN):
            return
        roll = self.rng.random()
        if roll < DEATH:
            self.tell(f"server {number} is killed at {name}")
            raise Crash(name)
        if roll < DEATH + SLEEP:
            await self._sleep(number, name)

    async def _sleep(self, number: int, name: str) -> None:
        seconds = self.rng.uniform(0.5, LONGEST_SLEEP_S)
        self.tell(f"server {number} stands still at {name} for {seconds:.1f} s")
        self._asleep[number] = awake = asyncio.Event()
        self._cloud.later(seconds, lambda: _set(awake))
        await awake.wait()
        if self._asleep.get(number) is awake:
            del self._asleep[number]

    # ------------------------------------------------------------ links
    async def _dial(self) -> None:
        """Hosts without a living server look for one."""
        while True:
            await self._cloud.clock.sleep(DIAL_S)
            for id_, host in list(self._cloud.earth.hosts.items()):
                if id_ not in self._cut or self._is_calm:
                    await self._find_server(id_, host)

    async def _find_server(self, id_: int, host: SimulatedHost) -> None:
        row = await self._cloud.row(tables.host, id_)
        if host.link_up and row.link_session in {server.context.session for server in self._alive.values()}:
            return
        awake = [number for number in sorted(self._alive) if number not in self._asleep]
        if not awake or row.removed is not None:
            return
        server = self._alive[self.rng.choice(awake)]
        assert server.hosts is not None
        with contextlib.suppress(Refused, Unreachable):  # its session may be over
            await server.hosts.attach(row)

    # ------------------------------------------------------------ hosts
    async def _befall(self) -> None:
        while not self._is_calm:
            await self._cloud.clock.sleep(self.rng.expovariate(1 / MEAN_BETWEEN_S))
            if self._is_calm or not self._cloud.earth.hosts:
                continue
            id_ = self.rng.choice(sorted(self._cloud.earth.hosts))
            misfortune = self.rng.choice(MISFORTUNES)
            self.tell(f"host {id_}: {misfortune.__name__}")
            misfortune(self, id_, self._cloud.earth.hosts[id_])

    def cut(self, id_: int, host: SimulatedHost, seconds: float) -> None:
        """No link for a while; its server hears of it."""
        host.link_up = False
        self._cut.add(id_)
        self._cloud.later(0.0, lambda: self._unlinked(id_))
        self._cloud.later(seconds, lambda: self._linkable(id_))

    async def _unlinked(self, id_: int) -> None:
        row = await self._cloud.row(tables.host, id_)
        await self._cloud.store.run(lambda tx: links.link_down(tx, id_, row.connected))

    async def _linkable(self, id_: int) -> None:
        self._cut.discard(id_)

    def later(self, seconds: float, host: SimulatedHost) -> None:
        """Its driver can look again."""
        self._cloud.later(seconds, lambda: _available(host))

    def twice(self, id_: int, host: SimulatedHost) -> None:
        """See do_twice."""
        do_twice(self._cloud, id_, host)


async def _set(event: asyncio.Event) -> None:
    event.set()


async def _available(host: SimulatedHost) -> None:
    host.driver.unavailable = ""


# ---------------------------------------------------------------- misfortunes
def cut_off(weather: Weather, id_: int, host: SimulatedHost) -> None:
    """Up to forty seconds without a link."""
    weather.cut(id_, host, weather.rng.uniform(0.5, 40.0))


def agent_restarts(weather: Weather, id_: int, host: SimulatedHost) -> None:
    """Machines run on."""
    host.restart_agent()
    weather.cut(id_, host, weather.rng.uniform(0.2, 3.0))


def boots(weather: Weather, id_: int, host: SimulatedHost) -> None:
    """Nothing runs any more."""
    host.reboot()
    weather.cut(id_, host, weather.rng.uniform(5.0, 30.0))


def answers_are_lost(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """Of one to three calls."""
    host.lose_answers = weather.rng.randint(1, 3)


def call_comes_twice(weather: Weather, id_: int, host: SimulatedHost) -> None:
    """The next one."""
    weather.twice(id_, host)


def notices_are_lost(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """The next few."""
    if host._hear is not None:
        host.attach(Ear(host._hear, weather.rng.randint(1, 5), turned=False), host._ask)


def notices_are_turned_around(_weather: Weather, _id: int, host: SimulatedHost) -> None:
    """The second before the first."""
    if host._hear is not None:
        host.attach(Ear(host._hear, 0, turned=True), host._ask)


def notices_come_twice(_weather: Weather, _id: int, host: SimulatedHost) -> None:
    """Until the next link."""
    hear = host._hear
    if hear is None:
        return

    def both(notice: HostNoticeBody) -> None:
        hear(notice)
        hear(notice)

    host.attach(both, host._ask)


def a_machine_dies(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """Whichever."""
    if lives := [life for life in host.driver.lives() if life.running]:
        life = weather.rng.choice(lives)
        host.kill_machine(life.spec.machine, life.spec.incarnation)


def an_agent_dies(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """And is started again by its supervisor."""
    if lives := [life for life in host.driver.lives() if life.running]:
        life = weather.rng.choice(lives)
        host.kill_agent(life.spec.machine, life.spec.incarnation)


def cannot_look(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """Its driver hangs for a while."""
    host.driver.unavailable = "it hangs"
    weather.later(weather.rng.uniform(1.0, 20.0), host)


def an_act_fails(weather: Weather, _id: int, host: SimulatedHost) -> None:
    """Once."""
    act = weather.rng.choice(["ensure-created", "ensure-running", "ensure-stopped", "ensure-removed"])
    host.driver.failures[act] = weather.rng.choice([NotYet(1, "busy"), Refused("no")])


MISFORTUNES: list[Callable[[Weather, int, SimulatedHost], None]] = [
    cut_off, agent_restarts, boots, answers_are_lost, call_comes_twice, notices_are_lost, notices_are_turned_around,
    notices_come_twice, a_machine_dies, an_agent_dies, cannot_look, an_act_fails,
]  # fmt: skip
