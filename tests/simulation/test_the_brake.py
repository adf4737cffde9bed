"""When many things look dead at once healing stops, tells of it once, and goes on when the world looks well again or an
operator says so. What has a better reason to be dead than a look is healed all the same."""

from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, settings, turns
from sysvm.store.queries.brakes import SHARE
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Kind
from tests.simulation.cloud import Cloud, running
from tests.simulation.life import check
from tests.simulation.loop import run

HOSTS, NETWORKS = 20, 100


def tell(story: Callable[[Cloud, list[int]], Awaitable[None]], *, hosts: int, networks: int) -> None:
    """Runs a story in a zone where all networks are served."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            zone = await cloud.zone(hosts=hosts, guests_only=True)
            guests = [await cloud.guest(await cloud.network(zone, f"n{n}"), f"g{n}") for n in range(networks)]
            await cloud.until(lambda tx: all(running(guest)(tx) for guest in guests))
            await cloud.clock.sleep(1)
            await story(cloud, guests)

    run(cloud.clock, main())


def acts(cloud: Cloud) -> int:
    """What all hosts have been asked to do so far."""
    return sum(len(host.driver.acts) for host in cloud.earth.hosts.values())


def lives(cloud: Cloud) -> int:
    """How many machines run."""
    return sum(life.running for host in cloud.earth.hosts.values() for life in host.driver.lives())


async def subjects(cloud: Cloud, *, standing: bool = False) -> list[str]:
    """Of alerts; those that are not over, if `standing`."""
    rows = await cloud.store.read(lambda tx: tx.rows(tables.alert, "1 = 1 order by id"))
    return [row.subject for row in rows if not (standing and row.resolved is not None)]


async def hosts_go(cloud: Cloud, ids: list[int]) -> None:
    """Their links end, and the server has noticed."""
    for id_ in ids:
        cloud.earth.hosts[id_].link_up = False
        await cloud.store.run(lambda tx, id_=id_: _gone(tx, id_))


def _gone(tx: Tx, host: int) -> None:
    tx.update(tables.host, host, link_session=None, state="Disconnected", disconnected=tx.now)


async def hosts_come(cloud: Cloud, ids: list[int]) -> None:
    """They say hello again."""
    assert cloud.server_now is not None and cloud.server_now.hosts is not None
    for id_ in ids:
        await cloud.server_now.hosts.attach(await cloud.row(tables.host, id_))


def give_up(tx: Tx, host_id: int) -> None:
    """deleteHost forced=true: its machines may live elsewhere."""
    tx.update(tables.host, host_id, removed=tx.now, state="Removed")
    placed = "select distinct machine_id from placement where host_id = :host and removed is null"
    for (machine,) in tx.sql(placed, host=host_id):
        turns.look_again(tx, "machine", machine)


def set_share(text: str) -> Callable[[Tx], None]:
    """The operator's word."""
    setting = settings.find(SHARE)
    assert setting is not None
    return lambda tx: settings.store(tx, setting, text)


STOPPED = "Healing in zone zone has stopped"


def many_hosts_go_away(hosts: int = HOSTS, networks: int = NETWORKS) -> None:
    """See the test; mutants are told a smaller one."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        (*away, lost) = list(cloud.earth.hosts)[: hosts // 2 + 1]
        ran = lives(cloud)
        assert 2 * networks == ran
        await hosts_go(cloud, [*away, lost])
        await cloud.clock.sleep(120)
        assert [STOPPED] == [text for text in await subjects(cloud) if "up in zone" not in text]
        before = acts(cloud)
        await cloud.store.run(lambda tx: give_up(tx, lost))
        await cloud.clock.sleep(180)
        assert before == acts(cloud), "something was made anew"
        held = await cloud.store.read(lambda tx: notes_of(tx, lost))
        assert held and all("healing in zone zone has stopped" in note for note in held)
        await hosts_come(cloud, away)
        del cloud.earth.hosts[lost]  # it was lost indeed
        await cloud.until(lambda tx: lives(cloud) == ran)
        await cloud.clock.sleep(60)
        await check(cloud)
        assert ran == lives(cloud)
        assert STOPPED not in await subjects(cloud, standing=True)

    tell(story, hosts=hosts, networks=networks)


def test_many_hosts_that_go_away_at_once_are_one_alert_and_no_rebuilding():
    """Not even of what an operator gives up meanwhile. Then they come back: nothing is doubled, all is as it was."""
    many_hosts_go_away()


def notes_of(tx: Tx, host_id: int) -> list[str]:
    """Why the machines of a host are not what they should be."""
    table = tables.machine
    return [row.note for row in tx.all(sa.select(table).where(table.c.host_id == host_id, table.c.removed.is_(None)))]


def test_hosts_that_stay_away_have_their_own_alerts_when_the_brake_is_let_go():
    """Until then the one alert tells of them."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        ids = list(cloud.earth.hosts)
        await hosts_go(cloud, ids[:4])
        await cloud.clock.sleep(120)
        assert [STOPPED] == await subjects(cloud, standing=True)
        await hosts_come(cloud, ids[1:4])
        await cloud.clock.sleep(60)
        assert ["Host h0 is unreachable"] == await subjects(cloud, standing=True)

    tell(story, hosts=8, networks=16)


def test_many_that_die_at_once_are_not_all_started_again():
    """A part of them at the most, then nothing any more, until an operator says that it is true."""

    async def story(cloud: Cloud, guests: list[int]) -> None:
        before = acts(cloud)
        for host in cloud.earth.hosts.values():
            for life in host.driver.lives():
                host.kill_machine(life.spec.machine, life.spec.incarnation)
        await cloud.clock.sleep(30)
        started = acts(cloud) - before
        healed = lives(cloud)
        assert healed < 30
        await cloud.clock.sleep(400)
        assert (healed, started) == (lives(cloud), acts(cloud) - before), "it went on after a while"
        assert 1 == (await subjects(cloud)).count(STOPPED)
        # what somebody asks for is no healing
        newest = await cloud.store.run(lambda tx: machines.replace(tx, dead(tx, guests)))
        await cloud.until(running(newest.id))
        await cloud.store.run(set_share("0"))
        await cloud.until(lambda tx: lives(cloud) == 60)
        await check(cloud)
        assert STOPPED not in await subjects(cloud, standing=True)

    tell(story, hosts=6, networks=30)


def dead(tx: Tx, guests: list[int]) -> Row:
    """A guest that waits to be healed."""
    return next(row for id_ in guests if (row := tx.get(tables.machine, id_)) is not None and row.power != "running")


def test_a_few_that_die_are_healed_whatever_their_share():
    """All of a single host."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        (host,) = cloud.earth.hosts.values()
        for life in host.driver.lives():
            host.kill_machine(life.spec.machine, life.spec.incarnation)
        await cloud.until(lambda tx: lives(cloud) == 8)
        assert STOPPED not in await subjects(cloud)

    tell(story, hosts=1, networks=4)


def test_hosts_that_were_booted_are_healed_all_at_once():
    """A new boot id is no look that may be wrong."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        for id_, host in cloud.earth.hosts.items():
            host.reboot()
            cloud.cut_link(id_, 20.0)
        assert 0 == lives(cloud)
        await cloud.until(lambda tx: lives(cloud) == 40)
        await cloud.clock.sleep(60)
        assert STOPPED not in await subjects(cloud)
        (failed,) = await cloud.store.read(lambda tx: tx.sql("select count(*) from placement where failures > 0"))
        assert (0,) == failed, "a host's boot is no death of its machines"

    tell(story, hosts=4, networks=20)


def test_agents_that_are_silent_everywhere_are_not_a_reason_to_kill_their_machines():
    """It is rather the way to them."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        for host in cloud.earth.hosts.values():
            for life in host.driver.lives():
                host.agents.disconnect(life.spec.machine, life.spec.incarnation)
        begun = sum(life.starts for host in cloud.earth.hosts.values() for life in host.driver.lives())
        await cloud.clock.sleep(300)
        starts = sum(life.starts for host in cloud.earth.hosts.values() for life in host.driver.lives())
        assert begun == starts and 40 == lives(cloud)
        assert 1 == (await subjects(cloud)).count(STOPPED)
        for host in cloud.earth.hosts.values():
            for life in host.driver.lives():
                host.agents.restart(life.spec.machine, life.spec.incarnation)
        await cloud.until(lambda tx: not tx.sql("select 1 from zone where brake <> ''"))
        assert begun == sum(life.starts for host in cloud.earth.hosts.values() for life in host.driver.lives())

    tell(story, hosts=4, networks=20)


def test_a_silent_agent_has_time_to_come_back_and_then_its_machine_is_started_again():
    """A machine that has long been running is not killed for the second that its agent needs to start again."""

    async def story(cloud: Cloud, _guests: list[int]) -> None:
        await cloud.clock.sleep(600)
        (host,) = cloud.earth.hosts.values()
        router = next(life for life in host.driver.lives() if life.spec.kind is Kind.ROUTER)
        place = router.spec.machine, router.spec.incarnation
        host.agents.restart(*place)
        await cloud.clock.sleep(30)
        assert 1 == router.starts
        host.agents.disconnect(*place)
        await cloud.clock.sleep(60)
        assert 1 == router.starts
        await cloud.until(lambda tx: router.starts == 2)
        await cloud.until(lambda tx: host.agents.seen(*place) is not None)

    tell(story, hosts=1, networks=1)
