"""Simulated hosts of a running server: a host that was added with hypervisor Simulator is linked in this very process.

They give tool developers the whole API without root, and the simulation its thousands of hosts. The same hub, queries and
turns see them as any other host. Of several servers on one database, the first one that sees a host has it, until it dies.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.basics.clock import Clock
from sysvm.basics.errors import DatabaseAway
from sysvm.basics.tasks import Tasks
from sysvm.hosts.simulator import SimulatedHost, World
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.notices import Notices
from sysvm.store import tables
from sysvm.store.queries import links
from sysvm.store.store import MISSED, Row, Tx, Wake
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
        self._session = context.session
        self._attaching = asyncio.Lock()
        self._called = False  # hosts are looked for soon: each that is linked is news, too, and all at once need one look

    async def run(self) -> None:
        """Attaches those that are there, and each new one as it is added."""
        self._context.store.on_commit(self._heard)
        await self.attach_new()

    async def open(self, session: str) -> None:
        """Links are held in the name of `session`."""
        self._session = session
        await self.attach_new()

    def close(self) -> None:
        """None is linked until the next `open`."""
        self._context.links.keep(frozenset())

    def _heard(self, wakes: Sequence[Wake]) -> None:
        news = any(kind in ("host", "session", MISSED[0]) and not self._context.links.has(id_) for kind, id_ in wakes)
        if news and not self._called:
            self._called = True
            self._tasks.start(self.attach_new(), "attach simulated hosts")

    async def attach_new(self) -> None:
        """Links every simulated host that has no link yet. When the database is away, its return is heard (MISSED)."""
        context = self._context
        async with self._attaching:
            self._called = False
            with contextlib.suppress(DatabaseAway):
                for row in await context.store.read(lambda tx: _free(tx, self._session)):
                    if not context.links.has(row.id):
                        await self.attach(row)

    async def attach(self, row: Row) -> SimulatedHost:
        """Links one, as the hub does with a real one."""
        host = self._earth.host(row)
        context, session = self._context, self._session
        linked = await context.store.run(lambda tx: links.link_up(tx, host.hello(), session, None))
        if session != self._session:
            return await self.attach(row)
        host.link_up = True
        host.attach(Ear(row.id, self._notices, self._tasks), lambda ask: self._notices.ask(row.id, ask))
        context.links.attach(row.id, host)
        host.welcome(Welcome(protocol=PROTOCOL, session=session, epoch=linked.epoch, cloud=linked.cloud))
        return host


class Ear:
    """Hears a simulated host's notices in order, one task each."""

    def __init__(self, host_id: int, notices: Notices, tasks: Tasks) -> None:
        self._host_id = host_id
        self._notices = notices
        self._tasks = tasks

    def __call__(self, notice: HostNoticeBody) -> None:
        self._tasks.start(self._notices.hear(self._host_id, notice), "hear")


def _free(tx: Tx, session: str) -> Sequence[Row]:
    table, others = tables.host, tables.session
    held = sa.select(others.c.id).where(others.c.until > tx.now, others.c.id != session)
    simulated = sa.select(table).where(table.c.hypervisor == SIMULATOR, table.c.removed.is_(None))
    nobodys = sa.or_(table.c.link_session.is_(None), table.c.link_session.not_in(held))
    return tx.all(simulated.where(nobodys).order_by(table.c.id))
