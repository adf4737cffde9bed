"""A pair of routers: born, one of them dies, both are replaced one after the other, one alone becomes two. In the end there are
two, of which one serves; and by nobody's wish are both down at once."""

from collections.abc import Sequence

from sysvm.store import tables
from sysvm.store.queries import machines, networks
from sysvm.store.store import Row, Tx
from tests.simulation.cloud import Cloud, gone, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.life import check
from tests.simulation.loop import run

PAIR = ["BACKUP", "PRIMARY"]


async def redundant(cloud: Cloud, *, hosts: int = 2) -> int:
    """A network whose offering wants two routers, with a guest that runs."""
    network = await cloud.network(await cloud.zone(hosts=hosts, guests_only=True))
    await cloud.store.run(lambda tx: tx.update(tables.network, network, redundant=True))
    await cloud.until(running(await cloud.guest(network, "g1")))
    await whole(cloud, network)
    return network


def routers(tx: Tx, network: int) -> Sequence[Row]:
    """Of the network, the first one first."""
    return sorted(machines.routers_of(tx, network), key=lambda row: row.id)


def is_whole(network: int):
    """Condition: two routers run, with the newest incarnation wanted of each, and one of them serves."""

    def check_(tx: Tx) -> bool:
        rows = routers(tx, network)
        return (
            sorted(row.redundant_state for row in rows) == PAIR
            and all(running(row.id)(tx) and row.document_live == row.document_wanted for row in rows)
            and all(len(machines.placements_of(tx, row.id)) == 1 for row in rows)
        )

    return check_


async def whole(cloud: Cloud, network: int) -> Sequence[Row]:
    """Both routers, when they are a pair."""
    await cloud.until(is_whole(network))
    return await cloud.store.read(lambda tx: routers(tx, network))


def test_two_routers_begin_on_two_hosts_and_one_serves():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            network = await redundant(cloud)
            first, second = await cloud.store.read(lambda tx: routers(tx, network))
            assert first.host_id != second.host_id
            assert 0 == await cloud.store.read(lambda tx: tx.sql("select count(*) from alert")[0][0])
            await check(cloud)

    cloud = Cloud()
    run(cloud.clock, story(cloud))


def test_on_one_host_both_run_and_an_alert_says_so():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            await redundant(cloud, hosts=1)
            ((subject,),) = await cloud.store.read(lambda tx: tx.sql("select subject from alert"))
            assert "both run on host h0" in subject

    cloud = Cloud()
    run(cloud.clock, story(cloud))


def _kill(cloud: Cloud, row: Row) -> None:
    cloud.earth.hosts[row.host_id].driver.kill(row.uuid, row.incarnation)


def test_the_one_that_waits_serves_when_the_other_dies_and_the_dead_one_comes_back_to_wait():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            network = await redundant(cloud)
            second, first = sorted(await whole(cloud, network), key=lambda row: row.redundant_state)
            _kill(cloud, first)
            await cloud.until(lambda tx: tx.get(tables.machine, second.id).redundant_state == "PRIMARY")  # type: ignore[union-attr]
            await whole(cloud, network)
            assert "BACKUP" == (await cloud.row(tables.machine, first.id)).redundant_state
            told = await cloud.store.read(lambda tx: tx.sql("select subject from alert where type = 9"))
            assert any("just switch from BACKUP to PRIMARY" in subject for (subject,) in told)
            await check(cloud)

    cloud = Cloud()
    run(cloud.clock, story(cloud))


def _replace_both(tx: Tx, network: int) -> None:
    for row in routers(tx, network):
        machines.replace(tx, row)


def _never_both_down(cloud: Cloud) -> None:
    pairs = cloud.earth.world.pairs
    for members in pairs.members.values():
        if len(members) > 1 and not any(each.runs() for each in members.values()):
            cloud.later(0.0, _both_down)


async def _both_down() -> None:
    raise AssertionError("both routers of a pair are down")


def _watch(cloud: Cloud) -> None:
    for driver in (host.driver for host in cloud.earth.hosts.values()):
        told = driver.ended
        driver.ended = lambda machine, told=told: (told(machine), _never_both_down(cloud))[0]


async def replaced(cloud: Cloud) -> None:
    """The story: both routers of a pair live their next incarnation, and there is always one that runs."""
    network = await redundant(cloud)
    _watch(cloud)
    await told(cloud, network)


async def told(cloud: Cloud, network: int) -> None:
    """Both live their next incarnation."""
    await cloud.store.run(lambda tx: _replace_both(tx, network))
    await whole(cloud, network)
    rows = await cloud.store.read(lambda tx: routers(tx, network))
    assert [2, 2] == [row.incarnation for row in rows]
    await check(cloud)


def test_both_are_replaced_one_after_the_other():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            await replaced(cloud)

    cloud = Cloud()
    run(cloud.clock, story(cloud))


def test_one_that_is_to_be_replaced_is_replaced_before_it_becomes_one_of_a_pair():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            network = await cloud.network(await cloud.zone(hosts=2, guests_only=True))
            await cloud.until(running(await cloud.guest(network, "g1")))
            (alone,) = await cloud.store.read(lambda tx: routers(tx, network))

            def change(tx: Tx) -> None:
                tx.update(tables.network, network, redundant=True)
                machines.replace(tx, alone)
                networks.implement(tx, network)

            await cloud.store.run(change)
            first, second = await whole(cloud, network)
            assert [2, 1] == [first.incarnation, second.incarnation]
            assert "PRIMARY" == first.redundant_state
            acts = cloud.earth.hosts[first.host_id].driver.acts
            assert ("ensure-stopped", (first.uuid, 2)) not in acts
            await check(cloud)

    cloud = Cloud()
    run(cloud.clock, story(cloud))


async def killed(cloud: Cloud, _name: str) -> None:
    """The fault that ends a router: the one that serves."""
    pairs = cloud.earth.world.pairs
    for network, (machine, incarnation) in list(pairs.serving.items()):
        for host in cloud.earth.hosts.values():
            if pairs.members[network][machine, incarnation].runs() and host.driver.life(machine, incarnation) is not None:
                host.driver.kill(machine, incarnation)


async def unwatched(cloud: Cloud) -> None:
    """The story where routers die, too: both may be down then."""
    await told(cloud, await redundant(cloud))


def test_whenever_a_server_dies_in_the_end_both_are_replaced_and_one_serves():
    assert 10 < everywhere(replaced, crash, every=10)


def test_whenever_the_one_that_serves_dies_in_the_end_both_are_replaced_and_one_serves():
    assert 10 < everywhere(unwatched, killed, every=10)


def test_one_that_was_alone_serves_on_and_gets_a_second_one():
    async def story(cloud: Cloud) -> None:
        async with cloud.server():
            network = await cloud.network(await cloud.zone(hosts=2, guests_only=True))
            guest = await cloud.guest(network, "g1")
            await cloud.until(running(guest))
            (alone,) = await cloud.store.read(lambda tx: routers(tx, network))

            def make_redundant(tx: Tx) -> None:
                tx.update(tables.network, network, redundant=True)
                networks.implement(tx, network)

            await cloud.store.run(make_redundant)
            first, second = await whole(cloud, network)
            assert (alone.id, alone.incarnation, "PRIMARY") == (first.id, first.incarnation, first.redundant_state)
            assert 1 == cloud.earth.hosts[first.host_id].driver.life(first.uuid, first.incarnation).starts  # type: ignore[union-attr]
            await check(cloud)
            row = await cloud.row(tables.machine, guest)
            await cloud.store.run(lambda tx: machines.want(tx, row, "gone"))
            for router in (first, second):
                await cloud.until(gone(router.id), patience_s=3000)

    cloud = Cloud()
    run(cloud.clock, story(cloud))
