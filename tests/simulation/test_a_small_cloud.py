"""The life of a small cloud without faults: what appears by itself, and what goes."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines
from tests.simulation.cloud import Cloud, gone, running
from tests.simulation.loop import run


def test_a_zone_makes_its_console_proxy_and_secondary_storage_vm():
    """Nobody asks for them; both run with a live document and one public address each."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            await cloud.zone()
            table = tables.machine
            rows = await cloud.until(
                lambda tx: [r for r in tx.all(sa.select(table)) if running(r.id)(tx)] if _count(tx) == 2 else []
            )
            assert {"consoleproxy", "secstorage"} == {row.kind for row in rows}
            taken = await cloud.store.read(
                lambda tx: tx.all(sa.select(tables.public_ip).where(tables.public_ip.c.state == "Allocated"))
            )
            assert {row.id for row in rows} == {ip.machine_id for ip in taken}

    def _count(tx):
        return sum(1 for r in tx.all(sa.select(tables.machine)) if running(r.id)(tx))

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_guest_brings_its_network_and_router():
    """The first guest of a network makes a router appear; the guest starts when the router serves."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            zone = await cloud.zone(guests_only=True)
            network = await cloud.network(zone)
            guest = await cloud.guest(network, "g1")
            await cloud.until(running(guest))
            assert "Implemented" == (await cloud.row(tables.network, network)).state
            routers = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
            assert 1 == len(routers)
            assert routers[0].document_live == routers[0].document_wanted != ""

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_network_without_guests_loses_its_router_after_the_wait():
    """network.gc.wait after the last guest is gone the router goes, and nothing of it stays on a host."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            zone = await cloud.zone(guests_only=True)
            network = await cloud.network(zone)
            guest = await cloud.guest(network, "g1")
            await cloud.until(running(guest))
            (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
            row = await cloud.row(tables.machine, guest)
            await cloud.store.run(lambda tx: machines.want(tx, row, "gone"))
            await cloud.until(gone(guest))
            await cloud.until(gone(router.id), patience_s=2000)
            assert "Allocated" == (await cloud.row(tables.network, network)).state
            for host in cloud.earth.hosts.values():
                assert () == await host.driver.look_all()

    cloud = Cloud()
    run(cloud.clock, main(cloud))
