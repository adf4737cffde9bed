"""Snapshots move to another image store of their zone while servers and secondary storage VMs die: each is on one store in the
end, whole, and nowhere else."""

from typing import Any

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.store.queries import storage_pools
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from tests.simulation.cloud import Cloud
from tests.simulation.faults import crash, everywhere
from tests.simulation.loop import run
from tests.simulation.test_images_move import ended
from tests.simulation.test_links_and_hosts import each, kill_everything
from tests.simulation.volume_life import a_volume, deleted, host_of, open_job, over, taken

POINTS = tuple(f"snapshot {what}" for what in ("claimed", "before copy", "before delete", "before release", "released"))


class Stores:
    """What is on each store, as its agents are told to bring and to delete."""

    def __init__(self, cloud: Cloud) -> None:
        self.images: set[tuple[str, str]] = set()  # store, image
        self.fail = ""
        host_of(cloud).agents.outcome = self.outcome

    def outcome(self, body: channel.TaskBody) -> Any:
        """Of what agents are asked."""
        if isinstance(body, channel.DeleteImage):
            self.images.discard((body.store, body.image))
        if isinstance(body, channel.CopyImage):
            if self.fail:
                raise Refused(self.fail)
            assert (body.source, body.image) in self.images
            self.images.add((body.store, body.image))
        return usual_outcome(body)


async def made(cloud: Cloud) -> tuple[Stores, Row, Row, Row]:
    """A chain of two snapshots on a store, and a second store."""
    volume = await a_volume(cloud)
    stores = Stores(cloud)
    first, second = await taken(cloud, volume, "one"), await taken(cloud, volume, "two")

    def add(tx: Tx) -> int:
        return tx.insert(
            tables.image_store, uuid=cloud.ids.uuid(), zone_id=first.zone_id, name="s2", url="file:///s2", protocol="file",
            created=tx.now,
        )  # fmt: skip

    other = await cloud.row(tables.image_store, await cloud.store.run(add))
    here = await cloud.row(tables.image_store, first.store_id)
    stores.images |= {(here.uuid, row.uuid) for row in (first, second)}
    return stores, first, second, other


async def moved(cloud: Cloud, other: Row) -> str:
    """A job that moves all."""

    def start(tx: Tx) -> str:
        (store,) = tx.rows(tables.image_store, "id <> :other", other=other.id)
        rows = storage_pools.snapshots_to_move(tx, store.id)
        assert rows
        return open_job(tx, *(storage_pools.move_snapshot(tx, row, other.id) for row in rows))

    return await cloud.store.run(start)


async def live(cloud: Cloud) -> None:
    """The first one is deleted, and kept for the second. Both move; then all is deleted."""
    stores, first, second, other = await made(cloud)
    await deleted(cloud, first)
    await over(cloud, await moved(cloud, other))
    await cloud.until(lambda tx: not storage_pools.snapshots_on(tx, first.store_id))
    assert {(other.uuid, row.uuid) for row in (first, second)} == stores.images
    await deleted(cloud, second)
    await cloud.until(lambda tx: not tx.rows(tables.snapshot, "stored or staged"))
    assert set() == stores.images


def test_a_server_killed_anywhere_leaves_each_snapshot_on_one_store() -> None:
    assert everywhere(live, crash, at=POINTS, every=8) > 5


def test_so_do_machines_that_die() -> None:
    assert everywhere(live, each(kill_everything), at=POINTS, every=24) > 1


def test_one_that_cannot_be_copied_stays_and_says_why() -> None:
    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            stores, first, _, other = await made(cloud)
            before, stores.fail = set(stores.images), "the image store is full"
            job = await ended(cloud, await moved(cloud, other))
            assert (2, True) == (job.status, "the image store is full" in job.result)
            await cloud.until(lambda tx: len(storage_pools.snapshots_to_move(tx, first.store_id)) == 2)
            assert before == stores.images
            stores.fail = ""
            await over(cloud, await moved(cloud, other))
            await cloud.until(lambda tx: not storage_pools.snapshots_on(tx, first.store_id))

    cloud = Cloud()
    run(cloud.clock, main(cloud))
