"""Hosts that outlive servers: the real host's link, identity and service, on a driver that pretends machines.

They live in a thread of the tests, so that what they have done can be looked at while servers die.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Broken, NotYet
from sysvm.basics.ids import SystemIds
from sysvm.basics.tasks import Tasks
from sysvm.hosts.identity import Identity, pinned_ca
from sysvm.hosts.server_link import Address, ServerLink, join
from sysvm.hosts.simulator import SimulatedHost, World
from sysvm.wire import link

INVENTORY_S = 10.0
SILENCE_S = 2.0


class Host:
    """One of them. `acts`: every act that was done here, and the fence it came with."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self.acts: list[tuple[str, int, str]] = []  # machine, fence, act
        self.links: list[str] = []  # sessions that have welcomed it
        host.facts = msgspec.structs.replace(host.facts, hypervisors=("KVM", "LXC"), kvm=True)

    async def serve(self, body: link.HostCallBody) -> msgspec.Struct:
        """What a server asks."""
        answer = await self._host.call(body, msgspec.Struct)
        if isinstance(body, link.Do):
            self.acts.append((body.machine, body.fence, type(body.act).__name__))
        return answer

    def welcomed(self, welcome: link.Welcome) -> None:
        """A server has taken it."""
        self.links.append(welcome.session)
        self._host.welcome(welcome)

    async def hello(self) -> link.HostHello:
        """First words."""
        return self._host.hello()

    def lives(self) -> list[tuple[str, int, bool, int]]:
        """What it has: machine, incarnation, whether it runs, how often it was started."""
        return [(life.spec.machine, life.spec.incarnation, life.running, life.starts)
                for life in self._host.driver.lives()]  # fmt: skip


class Hosts:
    """All of them, in a thread with a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Host] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: Tasks
        self._world: World
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),), name="hosts")

    def start(self) -> None:
        """The thread runs."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Nothing of it runs afterwards."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _live(self) -> None:
        async with Tasks() as tasks:
            self._tasks, self._world = tasks, World(SystemClock())
            tasks.start(self._world.run(), "world")
            self._ready.set()
            await self._stop.wait()
            tasks.stop()

    def join(self, line: str, servers: Sequence[Address]) -> None:
        """A host that was told what addHost answered; it is linked, or about to be, afterwards."""
        asyncio.run_coroutine_threadsafe(self._join(line, tuple(servers)), self._loop).result()

    async def _join(self, line: str, servers: tuple[Address, ...]) -> None:
        token, _, fingerprint = line.split("--token ")[1].partition("@")
        clock, ids, tasks = SystemClock(), SystemIds(), self._tasks
        identity = Identity(self._folder / f"host-{len(self.all)}")
        ca_pem = await asyncio.to_thread(pinned_ca, servers[0], fingerprint)
        facts = link.HostFacts(name="h", cpus=1, cpu_mhz=1, memory_bytes=1, kernel="")
        await join(servers[0], identity, ca_pem, link.Join(token=token, host="h", csr="", facts=facts), tasks)
        names = identity.names()
        assert names is not None
        simulated = SimulatedHost(self._world, names.host, tasks)
        host = Host(simulated)
        self.all.append(host)
        server = ServerLink(servers, identity, tasks, clock, ids, hello=host.hello, welcomed=host.welcomed,
                            serve=host.serve, silence_s=SILENCE_S)  # fmt: skip
        simulated.attach(server.notify, server.ask)
        tasks.start(server.run(), "link")
        tasks.start(_inventories(simulated, server), "inventories")

    def everywhere(self) -> list[tuple[str, int, bool, int]]:
        """What all of them have."""
        return [life for host in self.all for life in host.lives()]

    def moved(self) -> Any:
        """Changes as long as a host does something."""
        return sum(len(host.acts) + len(host.links) for host in self.all)


async def _inventories(host: SimulatedHost, server: ServerLink) -> None:
    while True:
        with suppress(NotYet, Broken):
            server.notify(await host.inventory())
        await asyncio.sleep(INVENTORY_S)


@contextmanager
def hosts_in(folder: Path) -> Iterator[Hosts]:
    """Hosts that live until the block ends."""
    made = Hosts(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
