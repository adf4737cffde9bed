"""A small cloud on simulated hosts in virtual time: the real store, turns, queries and host service, no mock anywhere."""

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import sqlalchemy as sa

from sysvm.basics.clock import VirtualClock
from sysvm.basics.ids import SeededIds
from sysvm.basics.tasks import Tasks
from sysvm.cli.simulated import Earth, SimulatedHosts
from sysvm.hub.links import Links
from sysvm.orchestrator import upkeep
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Engine
from sysvm.orchestrator.notices import Notices
from sysvm.orchestrator.turns import KINDS
from sysvm.store import seed, tables
from sysvm.store.queries import addresses, keys, machines, nics, turns
from sysvm.store.secrets import Vault
from sysvm.store.store import PostgresStore, Row, SqliteStore, Tx
from sysvm.store.tables import pack_address
from tests.simulation.mailbox import Mailbox
from tests.store.copies import copied, driver, empty_database

PATIENCE_S = 600.0
INVENTORY_S = 10.0
OWNER = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}


class Process(Tasks):
    """The tasks of a server process. Who asks a dead one for work is not heard."""

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        try:
            return super().start(work, name)
        except RuntimeError:  # the group has ended, or is ending
            work.close()
            return cast("asyncio.Task[Any]", asyncio.get_running_loop().create_future())


class Server:
    """One server process: everything of it but HTTP and TLS."""

    def __init__(self, context: Context, earth: Earth) -> None:
        self.context = context
        self.hosts: SimulatedHosts | None = None
        self._earth = earth

    def start(self, tasks: Tasks) -> None:
        """Its loops are children of `tasks`."""
        notices = Notices(self.context)
        engine = Engine(self.context, KINDS, seed=1)
        self.hosts = SimulatedHosts(self.context, notices, tasks, self._earth)
        tasks.start(engine.run(), "engine")
        tasks.start(upkeep.run(self.context), "upkeep")
        tasks.start(self.hosts.run(), "hosts")


class Cloud:
    """A database, some hosts, and as many servers as a test starts."""

    def __init__(
        self, *, seed_number: int = 0, store: Callable[[VirtualClock], SqliteStore | PostgresStore] | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.ids = SeededIds(seed_number)
        self.store = store(self.clock) if store is not None else copied(empty_database(), self.clock)
        self.vault = Vault(b"k" * 32)
        self.mailbox = Mailbox()
        self.earth: Earth
        self.server_now: Server | None = None  # the latest one
        self._tasks: Tasks
        self._sown = False

    def _driver(self) -> sqlite3.Connection:
        assert isinstance(self.store, SqliteStore)
        return driver(self.store)

    def changes(self) -> int:
        """How many rows have been written so far."""
        return self._driver().total_changes

    def backup(self) -> bytes:
        """The database as it is now."""
        return self._driver().serialize()

    def restore(self, backup: bytes) -> None:
        """The database as it was then; no server may run."""
        self._driver().deserialize(backup)

    @contextlib.asynccontextmanager
    async def world(self) -> AsyncIterator["Cloud"]:
        """The hosts live until the block ends, whatever becomes of servers."""
        async with Tasks() as tasks:
            self._tasks = tasks
            self.earth = Earth(self.clock, tasks)
            tasks.start(self.earth.world.run(), "world")
            tasks.start(self._inventories(), "inventories")
            yield self
            tasks.stop()

    async def _inventories(self) -> None:
        """What hosts say every ten seconds."""
        while True:
            await self.clock.sleep(INVENTORY_S)
            for host in list(self.earth.hosts.values()):
                host.notify(await host.inventory())

    def cut_link(self, host_id: int, seconds: float) -> None:
        """The host's link is down for a while; then the host says hello again, to the server that is there by then."""
        host = self.earth.hosts[host_id]
        host.link_up = False
        self._tasks.start(self._relink(host_id, seconds), "relink")

    def later(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        """Something happens in a while, whatever becomes of servers."""
        self._tasks.start(self._later(seconds, what), "later")

    async def _later(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        await self.clock.sleep(seconds)
        await what()

    async def _relink(self, host_id: int, seconds: float) -> None:
        await self.clock.sleep(seconds)
        row = await self.row(tables.host, host_id)
        if self.server_now is not None and self.server_now.hosts is not None:
            await self.server_now.hosts.attach(row)

    @contextlib.asynccontextmanager
    async def running_server(self, *, alone: bool = True) -> AsyncIterator["Server"]:
        """A server runs until the block ends. `alone`: it knows its predecessor to be dead (the lock of SQLite)."""
        server = await self._begin(alone)
        async with Process() as tasks:
            self.server_now = server
            server.start(tasks)
            yield server
            tasks.stop()

    async def _begin(self, alone: bool) -> "Server":
        if not self._sown:
            self._sown = True
            sow = functools.partial(seed.sow, ids=self.ids, vault=self.vault, version="test", admin_password_hash=seed.LOCKED)
            await self.store.run(sow)
        session = self.ids.uuid()

        def begin(tx: Tx) -> keys.Keys:
            turns.open_session(tx, session, "server", "server", "", "test")
            if alone:
                turns.end_other_sessions(tx, session)
            return keys.ensure_keys(tx, self.vault, self.ids)

        made = await self.store.run(begin)
        return Server(Context(self.store, self.clock, self.ids, Links(), made, session, self.mailbox), self.earth)

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator["Cloud"]:
        """World and one server, for tests without faults."""
        async with self.world(), self.running_server():
            yield self

    async def until(self, condition: Callable[[Tx], Any], *, patience_s: float = PATIENCE_S) -> Any:
        """Lets time pass until the condition is true; its value."""
        begin = self.clock.now()
        end = begin + patience_s
        while True:
            got = await self.store.read(condition)
            if got:
                return got
            if self.clock.now() > end:
                raise AssertionError(f"not within {patience_s} virtual seconds:\n{await self.store.read(story)}")
            await self.clock.sleep(0.05 if self.clock.now() < begin + 2 else 1.0)

    # ------------------------------------------------------------ building
    async def zone(self, *, hosts: int = 1, guests_only: bool = False) -> int:
        """An enabled zone with simulated hosts; without system VMs if `guests_only`."""
        zone = await self.store.run(lambda tx: _zone(tx, self.ids, hosts, guests_only))
        await self.until(lambda tx: _all_linked(tx, hosts))
        return zone

    async def network(self, zone: int, name: str = "net") -> int:
        """An isolated network with all services."""
        return await self.store.run(lambda tx: _network(tx, self.ids, zone, name))

    async def guest(self, network: int, name: str) -> int:
        """A guest wanted running on the network."""
        return await self.store.run(lambda tx: add_guest(tx, self.ids, network, name))

    async def row(self, table: sa.Table, id_: int) -> Row:
        """A row that is there."""
        found = await self.store.read(lambda tx: tx.get(table, id_))
        assert found is not None
        return found


def story(tx: Tx) -> str:
    """What stands where, for a test that failed."""
    lines = []
    for name in ("machine", "placement", "network", "turn"):
        table = tables.metadata.tables[name]
        for row in tx.all(sa.select(table)):
            shown = {k: v for k, v in row._mapping.items() if v not in (None, "", False, [], 0)}
            lines.append(f"{name}: {shown}")
    return "\n".join(lines)


def _all_linked(tx: Tx, count: int) -> bool:
    return len(tx.all(sa.select(tables.host.c.id).where(tables.host.c.state == "Up"))) >= count


def _zone(tx: Tx, ids: SeededIds, hosts: int, guests_only: bool) -> int:
    life: dict[str, Any] = {"created": tx.now}
    off = {"enable.consoleproxy.vm": "false", "enable.secstorage.vm": "false"} if guests_only else {}
    zone = tx.insert(tables.zone, uuid=ids.uuid(), name="zone", allocation_state="Enabled", dns1="192.0.2.53",
                     details=off, **life)  # fmt: skip
    pod = tx.insert(tables.pod, uuid=ids.uuid(), zone_id=zone, name="pod", gateway="10.9.0.1",
                    netmask="255.255.0.0", **life)  # fmt: skip
    cluster = tx.insert(tables.cluster, uuid=ids.uuid(), zone_id=zone, pod_id=pod, name="c", hypervisor="Simulator",
                        **life)  # fmt: skip
    for unique, kind, memory in (
        ("Cloud.Com-SoftwareRouter", "domainrouter", 512),
        ("Cloud.com-ConsoleProxy", "consoleproxy", 1024),
        ("Cloud.com-SecondaryStorage", "secondarystoragevm", 512),
        ("small", "", 256),
    ):
        found = tx.one(sa.select(tables.service_offering).where(tables.service_offering.c.unique_name == unique))
        if found is None:
            tx.insert(tables.service_offering, uuid=ids.uuid(), unique_name=unique, name=unique, memory_mb=memory,
                      is_system=bool(kind), system_vm_type=kind, **life)  # fmt: skip
    for gateway, netmask, first, last, traffic in (
        ("203.0.113.1", "255.255.255.0", "203.0.113.10", "203.0.113.250", "Public"),
        ("10.9.0.1", "255.255.0.0", "10.9.0.10", "10.9.200.250", "Management"),
    ):
        range_ = tx.insert(tables.ip_range, uuid=ids.uuid(), zone_id=zone, pod_id=pod, traffic=traffic, gateway=gateway,
                           netmask=netmask, first=pack_address(first), last=pack_address(last), **life)  # fmt: skip
        if traffic == "Public":
            addresses.fill_public_range(tx, range_)
    tx.insert(tables.image_store, uuid=ids.uuid(), zone_id=zone, name="s", url="file:///store", protocol="file", **life)
    for number in range(hosts):
        host = tx.insert(tables.host, uuid=ids.uuid(), name=f"h{number}", zone_id=zone, pod_id=pod, cluster_id=cluster,
                         hypervisor="Simulator", address=f"10.9.210.{number + 1}", state="Connecting",
                         **life)  # fmt: skip
        turns.wish(tx, "host", host, host=host)
    if not tx.rows(tables.setting, "name = 'network.gc.wait'"):
        tx.insert(tables.setting, scope="global", scope_id=0, name="network.gc.wait", value="5", updated=tx.now)
    turns.wish(tx, "zone", zone)
    return zone


SERVICES = ("Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall")


def _network(tx: Tx, ids: SeededIds, zone: int, name: str) -> int:
    offering = tx.value(sa.select(tables.network_offering.c.id).where(tables.network_offering.c.name == "all services"))
    if offering is None:
        offering = tx.insert(tables.network_offering, uuid=ids.uuid(), name="all services", state="Enabled",
                             services={service: {"provider": "VirtualRouter"} for service in SERVICES},
                             created=tx.now)  # fmt: skip
    return tx.insert(tables.network, uuid=ids.uuid(), name=name, zone_id=zone, offering_id=offering,
                     cidr="10.1.1.0/24", gateway="10.1.1.1", created=tx.now, **OWNER)  # fmt: skip


def add_guest(tx: Tx, ids: SeededIds, network_id: int, name: str) -> int:
    """A guest wanted running on the network."""
    network = tx.get(tables.network, network_id)
    assert network is not None
    offering = tx.value(sa.select(tables.service_offering.c.id).where(tables.service_offering.c.unique_name == "small"))
    guest = tx.insert(tables.machine, uuid=ids.uuid(), name=name, hostname=name, kind="guest", hypervisor="Simulator",
                      zone_id=network.zone_id, service_offering_id=offering, created=tx.now, **OWNER)  # fmt: skip
    address = addresses.take_guest_ip(tx, network)
    nics.add_nic(tx, guest, 0, "guest", network_id=network_id, addresses=((address, 24),), gateway=network.gateway,
                 is_default=True)  # fmt: skip
    row = tx.get(tables.machine, guest)
    assert row is not None
    machines.want(tx, row, "running")
    turns.wish(tx, "network", network_id)
    return guest


def running(machine: int) -> Callable[[Tx], bool]:
    """Condition: the machine runs, and its wish is served."""

    def check(tx: Tx) -> bool:
        row = tx.get(tables.machine, machine)
        details = (row.details or {}) if row is not None else {}
        return row is not None and row.power == "running" and details.get("reached") == f"running {row.incarnation}"

    return check


def gone(machine: int) -> Callable[[Tx], bool]:
    """Condition: the machine is no more."""

    def check(tx: Tx) -> bool:
        row = tx.get(tables.machine, machine)
        return row is not None and row.removed is not None

    return check
