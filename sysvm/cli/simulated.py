"""Simulated hosts of a running server: a host that was added with hypervisor Simulator is linked in this very process.

They give tool developers the whole API without root, and the simulation its thousands of hosts. The same hub, queries and
turns see them as any other host.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.basics.clock import Clock
from sysvm.basics.tasks import Tasks
from sysvm.hosts.simulator import SimulatedHost, World
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.notices import Notices
from sysvm.store import tables
from sysvm.store.queries import links
from sysvm.store.store import Row, Tx, Wake
from sysvm.wire.link import PROTOCOL, HostNoticeBody, Welcome

SIMULATOR = "Simulator"


class Earth:
    """The simulated hosts themselves. They are no part of any server: they outlive it, as real ones do."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._tasks = tasks
        self.world = World(clock)
        self.hosts: dict[int, SimulatedHost] = {}

    def host(self, row: Row) -> SimulatedHost:
        """The host of this row."""
        if row.id not in self.hosts:
            self.hosts[row.id] = SimulatedHost(self.world, row.uuid, self._tasks)
        return self.hosts[row.id]


class SimulatedHosts:
    """A server process's links to them."""

    def __init__(self, context: Context, notices: Notices, tasks: Tasks, earth: "Earth") -> None:
        self._context = context
        self._notices = notices
        self._tasks = tasks
        self._earth = earth
        self._attaching: set[int] = set()

    async def run(self) -> None:
        """Attaches those that are there, and each new one as it is added."""
        self._context.store.on_commit(self._heard)
        await self.attach_new()

    def _heard(self, wakes: Sequence[Wake]) -> None:
        if any(kind == "host" and not self._context.links.has(id_) for kind, id_ in wakes):
            self._tasks.start(self.attach_new(), "attach simulated hosts")

    async def attach_new(self) -> None:
        """Links every simulated host that is not linked yet."""
        for row in await self._context.store.read(_simulated):
            if row.id not in self._attaching and not self._context.links.has(row.id):
                self._attaching.add(row.id)
                await self.attach(row)
                self._attaching.discard(row.id)

    async def attach(self, row: Row) -> SimulatedHost:
        """Links one, as the hub does with a real one."""
        host = self._earth.host(row)
        context = self._context
        linked = await context.store.run(lambda tx: links.link_up(tx, host.hello(), context.session, None))
        host.link_up = True
        host.attach(Ear(row.id, self._notices, self._tasks), lambda ask: self._notices.ask(row.id, ask))
        context.links.attach(row.id, host)
        host.welcome(Welcome(protocol=PROTOCOL, session=context.session, epoch=linked.epoch, cloud=linked.cloud))
        return host


class Ear:
    """Hears a simulated host's notices in order, one task each."""

    def __init__(self, host_id: int, notices: Notices, tasks: Tasks) -> None:
        self._host_id = host_id
        self._notices = notices
        self._tasks = tasks

    def __call__(self, notice: HostNoticeBody) -> None:
        self._tasks.start(self._notices.hear(self._host_id, notice), "hear")


def _simulated(tx: Tx) -> Sequence[Row]:
    table = tables.host
    return tx.all(
        sa.select(table).where(table.c.hypervisor == SIMULATOR, table.c.removed.is_(None)).order_by(table.c.id)
    )
