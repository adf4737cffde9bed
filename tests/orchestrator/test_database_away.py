"""A database that is away, or goes away in a commit: the engine, notices and sessions of a server that lives through it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
import sqlalchemy as sa

from sysvm.basics.errors import DatabaseAway
from sysvm.basics.tasks import Tasks
from sysvm.cli.simulated import SimulatedHosts
from sysvm.orchestrator.engine import Engine, Gone, Kind, Result
from sysvm.orchestrator.notices import Notices
from sysvm.orchestrator.session import LINKS_KEPT_S, Sessions
from sysvm.store import tables
from sysvm.store.queries import sessions, turns
from sysvm.store.queries.turns import SESSION_TTL_S
from sysvm.store.store import Listener, Store, Tx
from tests.simulation.cloud import Cloud, running
from tests.simulation.loop import run

T = TypeVar("T")


class Fragile:
    """A store whose database is away now and then. Satisfies Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.away = False
        self.odds = 0.0  # that a commit is not done, and as much that its answer is lost
        self.dice = random.Random(0)

    async def run(self, op: Callable[[Tx], T]) -> T:
        """Done, done but not known, or not done."""
        self._must_be_there()
        luck = self.dice.random()
        if luck < self.odds:
            raise DatabaseAway("away")
        result = await self._store.run(op)
        if luck > 1 - self.odds:
            raise DatabaseAway("gone in the commit", unknown=True)
        return result

    async def read(self, op: Callable[[Tx], T]) -> T:
        """Or it is away."""
        self._must_be_there()
        return await self._store.read(op)

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """See Store."""
        return self._store.on_commit(listener)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    def _must_be_there(self) -> None:
        if self.away:
            raise DatabaseAway("away")


class Life:
    """A server in a simulated cloud, and the database as it sees it."""

    def __init__(self, cloud: Cloud, store: Fragile, ours: Sessions, hosts: SimulatedHosts) -> None:
        self.cloud = cloud
        self.store = store
        self.ours = ours
        self.hosts = hosts

    async def starts(self) -> list[int]:
        """How often each guest was started, on all hosts."""
        lives = [life for host in self.cloud.earth.hosts.values() for life in host.driver.lives()]
        return [life.starts for life in lives if life.spec.kind == "guest"]

    def acts(self) -> int:
        """What the hosts have been asked to do so far."""
        return sum(len(host.driver.acts) for host in self.cloud.earth.hosts.values())


@asynccontextmanager
async def living(cloud: Cloud) -> AsyncIterator[Life]:
    """World and server."""
    async with cloud.world(), Tasks() as tasks:
        begun = await cloud._begin(alone=True)
        store = Fragile(cloud.store)
        context = replace(begun.context, store=store)
        hosts = SimulatedHosts(context, Notices(context), tasks, cloud.earth)
        ours = Sessions(context, sessions.Server("server", "server", "", "test"), (hosts,), seed=1)
        tasks.start(ours.run(), "sessions")
        tasks.start(hosts.run(), "hosts")
        yield Life(cloud, store, ours, hosts)
        tasks.stop()


@pytest.mark.parametrize("number", range(8))
def test_commits_that_fail_or_are_not_answered_double_and_strand_nothing(number: int):
    """Claims, releases, beats, notices: a fifth is not done, another fifth is done without anybody knowing."""
    cloud = Cloud()

    async def story() -> None:
        async with living(cloud) as life:
            zone = await cloud.zone(guests_only=True)
            life.store.odds, life.store.dice = 0.2, random.Random(number)
            network = await cloud.network(zone)
            guests = [await cloud.guest(network, f"g{number}") for number in range(3)]
            for guest in guests:
                await cloud.until(running(guest))
            life.store.odds = 0.0
            assert [1, 1, 1] == await life.starts()
            await cloud.clock.sleep(SESSION_TTL_S)
            assert [] == await cloud.store.read(stranded)

    run(cloud.clock, story())


def stranded(tx: Tx) -> list[object]:
    """Turns that are somebody's although nothing is to be done."""
    return list(tx.sql("select kind, id from turn where session is not null"))


def test_a_server_that_cannot_beat_stops_and_goes_on_under_a_new_session_with_its_hosts():
    """No act after the session's time; afterwards the same links, other fences, and the guest that was asked for."""
    cloud = Cloud()

    async def story() -> None:
        async with living(cloud) as life:
            zone = await cloud.zone(guests_only=True)
            network = await cloud.network(zone)
            first = await cloud.guest(network, "first")
            await cloud.until(running(first))
            old, links = life.ours.context.session, life.ours.context.links.ids()
            second = await cloud.guest(network, "second")
            life.store.away = True
            await cloud.clock.sleep(SESSION_TTL_S + 2)
            acts = life.acts()
            await cloud.clock.sleep(SESSION_TTL_S)
            assert acts == life.acts()
            life.store.away = False
            await cloud.until(running(second))
            assert old != life.ours.context.session
            assert links == life.ours.context.links.ids()
            assert [1, 1] == await life.starts()
            rows = await cloud.store.read(lambda tx: tx.sql("select id from session"))
            assert [(life.ours.context.session,)] == rows

    run(cloud.clock, story())


def test_a_server_whose_database_stays_away_lets_its_hosts_go():
    """They may find a server that it is not away from; when it is back they come again."""
    cloud = Cloud()

    async def story() -> None:
        async with living(cloud) as life:
            zone = await cloud.zone(hosts=2, guests_only=True)
            links = life.ours.context.links.ids()
            assert 2 == len(links)
            life.store.away = True
            await cloud.clock.sleep(LINKS_KEPT_S / 2)
            assert links == life.ours.context.links.ids()
            await cloud.clock.sleep(LINKS_KEPT_S)
            assert frozenset() == life.ours.context.links.ids()
            life.store.away = False
            guest = await cloud.guest(await cloud.network(zone), "g")
            await cloud.until(running(guest))
            assert links == life.ours.context.links.ids()

    run(cloud.clock, story())


def test_a_host_that_another_server_has_meanwhile_is_let_go():
    """Whoever has the link by the database works for the host."""
    cloud = Cloud()

    async def story() -> None:
        async with living(cloud) as life:
            await cloud.zone(hosts=2, guests_only=True)
            one, other = sorted(life.ours.context.links.ids())
            life.store.away = True
            await cloud.clock.sleep(SESSION_TTL_S + 2)
            await cloud.store.run(lambda tx: turns.open_session(tx, "another", "a", "a", "", ""))
            await cloud.store.run(lambda tx: tx.update(tables.host, one, link_session="another"))
            life.store.away = False
            await cloud.until(lambda tx: bool(tx.sql("select 1 from session where server_uuid = 'server' and until > :now",
                                                     now=tx.now)))  # fmt: skip
            await cloud.clock.sleep(1)
            assert frozenset({other}) == life.ours.context.links.ids()

    run(cloud.clock, story())


def test_news_of_a_host_wait_for_the_database():
    """A machine that died while the database was away is started again when it is back, without a look at everything."""
    cloud = Cloud()

    async def story() -> None:
        async with living(cloud) as life:
            zone = await cloud.zone(guests_only=True)
            guest = await cloud.guest(await cloud.network(zone), "g")
            await cloud.until(running(guest))
            row = await cloud.row(tables.machine, guest)
            (host,) = cloud.earth.hosts.values()
            life.store.away = True
            host.kill_machine(row.uuid, row.incarnation)
            await cloud.clock.sleep(2)
            life.store.away = False
            await cloud.until(lambda tx: host.driver.life(row.uuid, row.incarnation).running, patience_s=5)

    run(cloud.clock, story())


def test_a_result_that_cannot_be_written_is_a_failure_of_its_turn_only():
    """The bug is told where an operator sees it, and the others go on."""
    cloud = Cloud()
    told: list[str] = []

    async def broken(_context: object, _turn: object) -> Result:
        return Result(1.0, lambda tx: tx.update(tables.zone, 1, nonsense=1))

    async def fine(_context: object, _turn: object) -> Gone:
        return Gone()

    async def story() -> None:
        async with cloud.world():
            begun = await cloud._begin(alone=True)
            kinds = {"broken": Kind(broken, lambda tx, id_, why: told.append(why)), "fine": Kind(fine, lambda *_: None)}
            async with Tasks() as tasks:
                tasks.start(Engine(begun.context, kinds, seed=1).run(), "engine")
                await cloud.store.run(lambda tx: turns.wish(tx, "broken", 1))
                while len(told) < 3:
                    await cloud.clock.sleep(1)
                await cloud.store.run(lambda tx: turns.wish(tx, "fine", 1))
                await cloud.until(lambda tx: not tx.sql("select 1 from turn where kind = 'fine'"))
                tasks.stop()
        assert all("internal error" in why for why in told)

    run(cloud.clock, asyncio.wait_for(story(), 600))


def test_hosts_of_a_server_that_died_and_never_come_back_are_told_of():
    """Its death is no news of the host; that nobody has heard of the host for a minute is."""
    cloud = Cloud()

    async def story() -> None:
        async with cloud.world():
            async with cloud.running_server():
                await cloud.zone(guests_only=True)
            for host in cloud.earth.hosts.values():
                host.link_up = False
            async with cloud.running_server(alone=False) as server:
                assert server.hosts is not None
                server.hosts.attach_new = nothing  # type: ignore[method-assign]
                await cloud.until(lambda tx: tx.all(sa.select(tables.alert).where(tables.alert.c.subject.like("%unreach%"))))

    run(cloud.clock, story())


async def nothing() -> None:
    """Nobody dials."""
