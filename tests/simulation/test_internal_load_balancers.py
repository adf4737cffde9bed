"""The life of a tier's internal load balancers, with a server that dies at any instant of it: one machine for each address that
somebody stands behind, with that address, and none is left over."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import events, internal_lbs, jobs, load_balancers, machines, rules, specs, turns, vpcs
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from tests.simulation.cloud import OWNER, Cloud, gone, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.life import check, replace
from tests.simulation.loop import run
from tests.simulation.test_vpcs import delete, die, make, state, the_router, tier

ONE, TWO = "10.8.1.100", "10.8.1.101"


async def live(cloud: Cloud) -> None:
    """Two addresses, of which one has members; it is replaced, dies, and goes with its rule; then the other one comes, and goes
    with the tier."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
    await cloud.until(lambda tx: the_router(tx, vpc))
    web = await tier(cloud, zone, vpc, 1)
    await cloud.until(lambda tx: state(tx, web) == "Implemented")
    guest = await cloud.guest(web, "g1")
    await cloud.until(running(guest))
    first, second = [await balance(cloud, web, address) for address in (ONE, TWO)]
    await stand(cloud, first, guest)
    (machine,) = await serving(cloud, web, [ONE])
    assert await cloud.store.read(lambda tx: is_held_to_its_address(tx, machine))
    await check(cloud)

    await replace(cloud, machine)
    await die(cloud, machine)
    assert [machine] == await serving(cloud, web, [ONE])
    await check(cloud)

    await cloud.store.run(lambda tx: remove(tx, first))
    await cloud.until(gone(machine))
    await stand(cloud, second, guest)
    (other,) = await serving(cloud, web, [TWO])
    again = await balance(cloud, web, ONE)
    await stand(cloud, again, guest)
    assert 2 == len(await serving(cloud, web, [ONE, TWO]))
    await check(cloud)

    await cloud.store.run(lambda tx: machines.want(tx, tx.get(tables.machine, guest), "gone"))  # type: ignore[arg-type]
    await cloud.until(gone(guest))
    await delete(cloud, web)
    await cloud.until(gone(other))
    await cloud.store.run(lambda tx: vpcs.doom(tx, vpc))
    await cloud.until(lambda tx: tx.get(tables.vpc, vpc).removed is not None)
    await check(cloud)
    assert [] == [seen for host in cloud.earth.hosts.values() for seen in await host.driver.look_all()]


async def balance(cloud: Cloud, network: int, address: str) -> int:
    """As createLoadBalancer does it."""

    def add(tx: Tx) -> int:
        if not tx.rows(tables.service_offering, "unique_name = 'Cloud.Com-InternalLBVm'"):
            tx.insert(tables.service_offering, uuid=cloud.ids.uuid(), unique_name="Cloud.Com-InternalLBVm", name="lb",
                      memory_mb=512, is_system=True, created=tx.now)  # fmt: skip
        rule = tx.insert(
            tables.firewall_rule, uuid=cloud.ids.uuid(), purpose=load_balancers.PURPOSE, network_id=network, protocol="tcp",
            first_port=80, last_port=80, private_first_port=80, private_last_port=80, created=tx.now, **OWNER,
        )  # fmt: skip
        tx.insert(tables.load_balancer, rule_id=rule, name="lb", algorithm="roundrobin", protocol="tcp",
                  source_address=pack_address(address))  # fmt: skip
        return rule

    return await cloud.store.run(add)


async def stand(cloud: Cloud, rule: int, guest: int) -> None:
    """As assignToLoadBalancerRule does it."""

    def add(tx: Tx) -> None:
        load_balancers.add_member(tx, rule, guest, pack_address("10.8.1.9"))
        internal_lbs.changed(tx, known(tx, rule))

    await cloud.store.run(add)


def known(tx: Tx, rule: int) -> Row:
    found = load_balancers.one(tx, rule)
    assert found is not None
    return found


def remove(tx: Tx, rule: int) -> None:
    """As deleteLoadBalancer does it."""
    row = known(tx, rule)
    rules.remove(tx, row)
    internal_lbs.removed(tx, row)


def is_held_to_its_address(tx: Tx, machine: int) -> bool:
    """Nothing of it may send as a router does."""
    row = tx.get(tables.machine, machine)
    (placed,) = machines.placements_of(tx, machine)
    return row is not None and not any(nic.is_router for nic in specs.spec_of(tx, row, placed, "").nics)


async def serving(cloud: Cloud, network: int, addresses: list[str]) -> list[int]:
    """The machines that balance there, when all of them run and no other one is there."""

    def look(tx: Tx) -> list[int]:
        there = internal_lbs.of_network(tx, network)
        if sorted(internal_lbs.address_of(tx, row) for row in there) != addresses:
            return []
        return [row.id for row in there] if all(running(row.id)(tx) for row in there) else []

    return list(await cloud.until(look))


def test_a_server_that_dies_at_any_instant_loses_nothing_of_internal_load_balancers():
    """Every fortieth instant, every day."""
    assert everywhere(live, crash, every=40) > 3


def test_who_waits_for_one_hears_that_its_network_is_gone():
    """Its machine goes before the network does."""
    cloud = Cloud()

    def job(tx: Tx, rule: int, guest: int) -> str:
        load_balancers.add_member(tx, rule, guest, pack_address("10.8.1.9"))
        parts = internal_lbs.changed(tx, known(tx, rule))
        about = events.About("LoadBalancerRule", rule, "uuid", "lb")
        return jobs.open_job(tx, jobs.NewJob("assignToLoadBalancerRule", events.SYSTEM, parts, {}, about, "", ""))

    async def whole() -> None:
        async with cloud.world(), cloud.running_server():
            zone = await cloud.zone(guests_only=True)
            vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
            web = await tier(cloud, zone, vpc, 1)
            guest = await cloud.guest(web, "g1")
            await cloud.until(running(guest))
            rule = await balance(cloud, web, ONE)

            def begin(tx: Tx) -> str:
                tx.update(tables.network, web, state="Destroy")
                turns.wish(tx, "network", web)
                return job(tx, rule, guest)

            uuid = await cloud.store.run(begin)
            await cloud.until(lambda tx: tx.rows(tables.job, "uuid = :uuid and status = 2", uuid=uuid))
            assert (await cloud.row(tables.network, web)).removed is not None

    run(cloud.clock, whole())


def test_one_whose_rule_goes_before_it_serves_goes_too():
    """And a job that waits for it ends when nothing is wanted any more."""
    cloud = Cloud()

    async def story() -> None:
        zone = await cloud.zone(guests_only=True)
        vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
        web = await tier(cloud, zone, vpc, 1)
        guest = await cloud.guest(web, "g1")
        await cloud.until(running(guest))
        rule = await balance(cloud, web, ONE)
        await stand(cloud, rule, guest)
        await cloud.until(lambda tx: internal_lbs.of_network(tx, web))
        await cloud.store.run(lambda tx: remove(tx, rule))
        await cloud.until(lambda tx: not internal_lbs.of_network(tx, web))
        # One without a rule that nobody has told of is found, too.
        rule = await balance(cloud, web, ONE)
        await stand(cloud, rule, guest)
        await serving(cloud, web, [ONE])
        await cloud.store.run(lambda tx: rules.remove(tx, known(tx, rule)))
        await cloud.store.run(lambda tx: turns.look_again(tx, internal_lbs.KIND, web))
        await cloud.until(lambda tx: not internal_lbs.of_network(tx, web))
        left = sa.select(tables.nic_address.c.id).where(
            tables.nic_address.c.address == pack_address(ONE), tables.nic_address.c.removed.is_(None)
        )
        assert [] == list(await cloud.store.read(lambda tx: tx.all(left)))

    async def whole() -> None:
        async with cloud.world(), cloud.running_server():
            await story()

    run(cloud.clock, whole())
