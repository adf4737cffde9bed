"""Routers whose hosts have a newer template: one that is replaced runs it, and is no candidate any more."""

import msgspec
import sqlalchemy as sa

from sysvm.api.commands.systemvms.router_upgrades import is_outdated
from sysvm.store import tables
from sysvm.store.queries import links, machines
from sysvm.store.store import Tx
from tests.simulation.cloud import Cloud, running
from tests.simulation.loop import run


def test_a_replaced_router_runs_its_hosts_newest_template():
    """Nothing happens by itself; the replacement serves from the newer one, and the older one is gone from the host."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            network = await cloud.network(await cloud.zone(guests_only=True))
            await cloud.until(running(await cloud.guest(network, "g1")))
            ((host_id, host),) = cloud.earth.hosts.items()
            host.facts = msgspec.structs.replace(host.facts, templates=("simulated", "newer"))
            cloud.cut_link(host_id, 1.0)
            await cloud.until(lambda tx: links.facts_of(tx.one(sa.select(tables.host))).templates[-1] == "newer")  # type: ignore[union-attr]

            def state(tx: Tx) -> tuple[str, bool]:
                (router,) = machines.routers_of(tx, network)
                return router.template_version, is_outdated(tx, router)

            assert ("simulated", True) == await cloud.store.read(state)
            (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
            await cloud.store.run(lambda tx: machines.replace(tx, router))
            await cloud.until(lambda tx: state(tx) == ("newer", False) and running(router.id)(tx))
            await cloud.until(lambda tx: len(machines.placements_of(tx, router.id)) == 1)
            (life,) = host.driver.incarnations(router.uuid)
            assert 2 == life
            spec = host.driver.life(router.uuid, 2).spec  # type: ignore[union-attr]
            assert "newer" == spec.template

    cloud = Cloud()
    run(cloud.clock, main(cloud))
