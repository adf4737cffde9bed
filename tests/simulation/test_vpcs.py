"""A VPC's life, with a server that dies at any instant of it: its router has the NICs that its tiers want, once each, and
nothing is left at the end."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import nics, turns, vpcs
from sysvm.store.store import Row, Tx
from tests.simulation.cloud import OWNER, Cloud, gone, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.life import check


async def live(cloud: Cloud) -> None:
    """Two tiers, a guest, a router that dies; one tier goes, then everything."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
    router = await cloud.until(lambda tx: the_router(tx, vpc))
    await cloud.until(running(router.id))
    web, data = [await tier(cloud, zone, vpc, number) for number in (1, 2)]
    for network in (web, data):
        await cloud.until(lambda tx, network=network: state(tx, network) == "Implemented")
    guest = await cloud.guest(web, "g1")
    await cloud.until(running(guest))
    assert [web, data] == await plugged(cloud, router.id)
    await check(cloud)

    await _die(cloud, router.id)
    assert [web, data] == await plugged(cloud, router.id)
    await check(cloud)

    await delete(cloud, data)
    assert [web] == await plugged(cloud, router.id)
    await cloud.store.run(lambda tx: turns.wish(tx, "machine", want_gone(tx, guest)))
    await cloud.until(gone(guest))
    await delete(cloud, web)
    await cloud.store.run(lambda tx: vpcs.doom(tx, vpc))
    await cloud.until(lambda tx: tx.get(tables.vpc, vpc).removed is not None)
    await check(cloud)
    assert [] == [seen for host in cloud.earth.hosts.values() for seen in await host.driver.look_all()]
    assert 0 == await cloud.store.read(lambda tx: tx.value(sa.text("select count(*) from public_ip where state <> 'Free'")))


def make(tx: Tx, cloud: Cloud, zone: int) -> int:
    """As createVPC does it."""
    life = {"created": tx.now}
    offering = tx.insert(tables.vpc_offering, uuid=cloud.ids.uuid(), name="o", services={}, state="Enabled", **life)
    id_ = tx.insert(
        tables.vpc, uuid=cloud.ids.uuid(), name="v", zone_id=zone, offering_id=offering, cidr="10.8.0.0/16", **OWNER, **life
    )
    vpcs.want(tx, id_)
    return id_


async def tier(cloud: Cloud, zone: int, vpc: int, number: int) -> int:
    """As createNetwork does it."""
    id_ = await cloud.network(zone, f"t{number}")

    def into(tx: Tx) -> None:
        place = {"cidr": f"10.8.{number}.0/24", "gateway": f"10.8.{number}.1", "first": None, "last": None}
        tx.update(tables.network, id_, vpc_id=vpc, **place)
        turns.wish(tx, "network", id_)

    await cloud.store.run(into)
    return id_


async def delete(cloud: Cloud, network: int) -> None:
    """As deleteNetwork does it."""

    def doom(tx: Tx) -> None:
        tx.update(tables.network, network, state="Destroy")
        turns.wish(tx, "network", network)

    await cloud.store.run(doom)
    await cloud.until(lambda tx: tx.get(tables.network, network).removed is not None)


def want_gone(tx: Tx, guest: int) -> int:
    """The guest's id."""
    tx.update(tables.machine, guest, wanted="gone")
    return guest


def the_router(tx: Tx, vpc: int) -> Row | None:
    """Of the VPC, when it has one."""
    return next(iter(vpcs.routers_of(tx, vpc)), None)


def state(tx: Tx, network: int) -> str:
    row = tx.get(tables.network, network)
    assert row is not None
    return str(row.state)


async def plugged(cloud: Cloud, router: int) -> list[int]:
    """The tiers that the router has a NIC in, which are those that its host has given it."""

    def read(tx: Tx) -> tuple[list[int], str, int]:
        row = tx.get(tables.machine, router)
        assert row is not None and row.host_id is not None
        held = [nic.network_id for nic in nics.of_machine(tx, router) if nic.network_id is not None]
        return held, row.uuid, row.host_id

    held, uuid, host = await cloud.store.read(read)
    (seen,) = [seen for seen in await cloud.earth.hosts[host].driver.look_all() if seen.machine == uuid]
    (placed,) = await cloud.store.read(lambda tx: tx.rows(tables.placement, "machine_id = :id and removed is null", id=router))
    assert placed.spec_wanted == seen.spec
    return sorted(held)


async def _die(cloud: Cloud, router: int) -> None:
    """kill -9 of its processes, and its next life."""
    row = await cloud.row(tables.machine, router)

    def boot(tx: Tx) -> str:
        table = tables.placement
        return str(tx.value(sa.select(table.c.agent_boot).where(table.c.machine_id == router, table.c.removed.is_(None))))

    before = await cloud.store.read(boot)
    cloud.earth.hosts[row.host_id].kill_machine(row.uuid, row.incarnation)
    await cloud.until(lambda tx: boot(tx) != before)
    await cloud.until(running(router))


def test_a_server_that_dies_at_any_instant_loses_nothing_of_a_vpc():
    """Every twelfth instant, every day."""
    assert everywhere(live, crash, every=12) > 8
