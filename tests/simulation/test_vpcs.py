"""A VPC's life, with a server that dies at any instant of it: its router has the NICs that its tiers and private gateways want,
once each, and nothing is left at the end."""

from functools import partial
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import acls, nics, private_gateways, specs, turns, vpcs
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import spec_digest
from tests.simulation.cloud import OWNER, Cloud, gone, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.life import check
from tests.simulation.loop import run


async def live(cloud: Cloud) -> None:
    """Two tiers, a private gateway, a guest, a router that dies; one tier goes, and the gateway, then everything."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
    router = await cloud.until(lambda tx: the_router(tx, vpc))
    await cloud.until(running(router.id))
    web, data = [await tier(cloud, zone, vpc, number) for number in (1, 2)]
    for network in (web, data):
        await cloud.until(lambda tx, network=network: state(tx, network) == "Implemented")
    private = await gateway(cloud, vpc, "10.77.0.9")
    guest = await cloud.guest(web, "g1")
    await cloud.until(running(guest))
    assert [web, data, -private] == await plugged(cloud, router.id)
    await check(cloud)

    await die(cloud, router.id)
    assert [web, data, -private] == await plugged(cloud, router.id)
    await check(cloud)

    await delete(cloud, data)
    assert [web, -private] == await plugged(cloud, router.id)
    await cloud.store.run(lambda tx: private_gateways.doom(tx, tx.get(tables.private_gateway, private)))
    await cloud.until(lambda tx: tx.get(tables.private_gateway, private).removed is not None)
    assert [web] == await plugged(cloud, router.id)
    last = await gateway(cloud, vpc, "10.77.0.10")
    await cloud.store.run(lambda tx: turns.wish(tx, "machine", want_gone(tx, guest)))
    await cloud.until(gone(guest))
    await delete(cloud, web)
    await cloud.store.run(lambda tx: vpcs.doom(tx, vpc))
    await cloud.until(lambda tx: tx.get(tables.vpc, vpc).removed is not None)
    assert (await cloud.row(tables.private_gateway, last)).removed is not None
    await check(cloud)
    assert [] == [seen for host in cloud.earth.hosts.values() for seen in await host.driver.look_all()]
    assert 0 == await cloud.store.read(lambda tx: tx.value(sa.text("select count(*) from public_ip where state <> 'Free'")))


async def gateway(cloud: Cloud, vpc: int, address: str, **place: Any) -> int:
    """As createPrivateGateway does it; there."""

    def add(tx: Tx) -> int:
        on = {"wire": "private-1-vxlan-9000", "isolation": "vxlan", "tag": 9000, **place}
        id_ = tx.insert(
            tables.private_gateway, uuid=cloud.ids.uuid(), vpc_id=vpc, **on,
            cidr="10.77.0.0/24", gateway="10.77.0.1", address=tables.pack_address(address),
            acl_list_id=acls.default(tx, acls.DENY).id, created=tx.now, **OWNER,
        )  # fmt: skip
        private_gateways.want(tx, id_)
        return id_

    made = await cloud.store.run(add)
    await cloud.until(lambda tx: tx.get(tables.private_gateway, made).state == "Ready")
    return made


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


def peers(tx: Tx, router: int) -> tuple[str, ...]:
    """The other hosts of the VXLAN that its private gateway is on, as its host shall know them."""
    row = tx.get(tables.machine, router)
    assert row is not None
    (private,) = [nic.private_gateway_id for nic in nics.of_machine(tx, router) if nic.private_gateway_id is not None]
    host = tx.get(tables.host, row.host_id)
    assert host is not None
    return specs.private_segment(tx, private, host).peers


def is_told(tx: Tx, router: int) -> bool:
    """Whether its host has seen the newest spec."""
    row = tx.get(tables.machine, router)
    (placed,) = tx.rows(tables.placement, "machine_id = :id and removed is null", id=router)
    return row is not None and placed.spec_seen == spec_digest(specs.spec_of(tx, row, placed, ""))


def the_router(tx: Tx, vpc: int) -> Row | None:
    """Of the VPC, when it has one."""
    return next(iter(vpcs.routers_of(tx, vpc)), None)


def state(tx: Tx, network: int) -> str:
    row = tx.get(tables.network, network)
    assert row is not None
    return str(row.state)


async def plugged(cloud: Cloud, router: int) -> list[int]:
    """The tiers, and negative the private gateways, that the router has a NIC in: those that its host has given it."""

    def read(tx: Tx) -> tuple[list[int], str, int]:
        row = tx.get(tables.machine, router)
        assert row is not None and row.host_id is not None
        held = nics.of_machine(tx, router)
        private = [-nic.private_gateway_id for nic in held if nic.private_gateway_id is not None]
        return sorted(nic.network_id for nic in held if nic.network_id is not None) + private, row.uuid, row.host_id

    held, uuid, host = await cloud.store.read(read)
    (seen,) = [seen for seen in await cloud.earth.hosts[host].driver.look_all() if seen.machine == uuid]
    (placed,) = await cloud.store.read(lambda tx: tx.rows(tables.placement, "machine_id = :id and removed is null", id=router))
    assert placed.spec_wanted == seen.spec
    return held


async def die(cloud: Cloud, router: int) -> None:
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


def test_a_gateway_goes_with_the_network_that_it_is_on():
    """As when the account goes whose network it is; its tag is free then."""
    cloud = Cloud()

    async def story() -> None:
        zone = await cloud.zone(guests_only=True)
        vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
        router = await cloud.until(lambda tx: the_router(tx, vpc))
        network = await cloud.network(zone)
        place = {"wire": (await cloud.row(tables.network, network)).uuid, "network_id": network}
        made = await gateway(cloud, vpc, "10.77.0.9", **place)
        assert [-made] == await plugged(cloud, router.id)
        await delete(cloud, network)
        await cloud.until(lambda tx: tx.get(tables.private_gateway, made).removed is not None)
        await cloud.until(running(router.id))
        assert [] == await plugged(cloud, router.id)

    async def whole() -> None:
        async with cloud.world(), cloud.running_server():
            await story()

    run(cloud.clock, whole())


def test_routers_on_one_vxlan_know_where_the_others_are():
    """Also of one that comes later, to another host."""
    cloud = Cloud()

    async def story() -> None:
        zone = await cloud.zone(hosts=2, guests_only=True)
        routers = []
        for address in ("10.77.0.9", "10.77.0.10"):
            vpc = await cloud.store.run(lambda tx: make(tx, cloud, zone))
            router = await cloud.until(lambda tx, vpc=vpc: the_router(tx, vpc))
            await cloud.until(running(router.id))
            await gateway(cloud, vpc, address)
            routers.append(router.id)
            began = cloud.clock.now()
            await cloud.clock.sleep(30)  # the inventory of its host is known: nobody looks for that
        homes = [(await cloud.row(tables.machine, router)).host_id for router in routers]
        assert 2 == len(set(homes))
        for router, other in zip(routers, reversed(homes), strict=True):
            assert ((await cloud.row(tables.host, other)).address,) == await cloud.store.read(partial(peers, router=router))
            await cloud.until(partial(is_told, router=router))
        assert cloud.clock.now() - began < 60  # long before anybody looks of himself

    async def whole() -> None:
        async with cloud.world(), cloud.running_server():
            await story()

    run(cloud.clock, whole())
