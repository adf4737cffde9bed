"""The rate of a network's offering: in what the router's host is told, and in what the router is."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import documents, machines, specs
from sysvm.store.store import Tx
from sysvm.wire.documents import RouterDocument
from sysvm.wire.machines import Traffic
from tests.simulation.cloud import Cloud, running
from tests.simulation.loop import run


def test_a_routers_way_out_is_as_fast_as_its_network_may_be():
    """The public NIC, on the host's port and inside; what is between guests and router is not limited."""

    async def main(cloud: Cloud) -> None:
        async with cloud.running_server() as server:
            network = await cloud.network(await cloud.zone(guests_only=True))
            await cloud.store.run(lambda tx: tx.change(sa.update(tables.network_offering).values(network_rate=30)))
            await cloud.until(running(await cloud.guest(network, "g1")))

            def read(tx: Tx) -> tuple[dict[str, int], dict[str, int]]:
                (router,) = machines.routers_of(tx, network)
                (placement,) = machines.placements_of(tx, router.id)
                document = documents.document_of(tx, router, server.context.keys)
                assert isinstance(document, RouterDocument)
                nics = specs.spec_of(tx, router, placement, "").nics
                return (
                    {str(nic.segment.traffic): nic.rate_mbit for nic in nics},
                    {each.role: each.rate_mbit for each in document.interfaces},
                )

            rates = {Traffic.GUEST.value: 0, Traffic.CONTROL.value: 0, Traffic.PUBLIC.value: 30}
            assert (rates, rates) == await cloud.store.read(read)

    async def whole(cloud: Cloud) -> None:
        async with cloud.world():
            await main(cloud)

    cloud = Cloud()
    run(cloud.clock, whole(cloud))
