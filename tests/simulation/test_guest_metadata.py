"""What a guest is told about itself, in its router's document."""

from sysvm.store import tables
from sysvm.store.queries import documents
from sysvm.store.store import Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.documents import RouterDocument
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run

ROUTERS = "kind = 'router' and removed is null"


def told(tx: Tx, cloud: Cloud) -> dict[str, str]:
    """The public address that each guest is told, by instance."""
    assert cloud.server_now is not None
    (router,) = tx.rows(tables.machine, ROUTERS)
    document = documents.document_of(tx, router, cloud.server_now.context.keys)
    assert isinstance(document, RouterDocument) and document.metadata is not None
    return {guest.metadata["instance-id"]: guest.metadata["public-ipv4"] for guest in document.metadata.guests}


async def story(cloud: Cloud) -> None:
    async with cloud.server():
        network = await cloud.network(await cloud.zone())
        first, second = [await cloud.guest(network, name) for name in ("one", "two")]
        await cloud.until(lambda tx: tx.rows(tables.machine, ROUTERS))
        free = await cloud.store.read(lambda tx: tx.rows(tables.public_ip, "state = 'Free' order by address limit 1"))
        static = {"state": "Allocated", "static_nat": True, "machine_id": first, "network_id": network}
        await cloud.store.run(lambda tx: tx.update(tables.public_ip, free[0].id, **static))
        one, two = await cloud.row(tables.machine, first), await cloud.row(tables.machine, second)
        found = await cloud.store.read(lambda tx: told(tx, cloud))
        assert unpack_address(free[0].address) == found[one.uuid]
        assert found[two.uuid].startswith("10.")


def test_a_guest_with_static_nat_is_told_its_public_address():
    """The others are told their own."""
    cloud = Cloud()
    run(cloud.clock, story(cloud))
