"""A volume moves to another host's storage in a cloud whose server dies: it is whole somewhere at every instant, and in the end
only where it shall be."""

import sqlalchemy as sa

from sysvm.basics.errors import Refused
from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import volumes
from sysvm.store.store import Tx
from sysvm.wire import link
from tests.simulation.cloud import OWNER, Cloud
from tests.simulation.faults import crash, everywhere
from tests.simulation.loop import run
from tests.simulation.volume_life import open_job, over, remember

POINTS = tuple(
    f"{kind} {what}"
    for kind, middle in {
        "snapshot": ("before take", "before send"),
        "volume": ("before task", "before release"),
    }.items()
    for what in ("claimed", "before release", "released", *middle)
)


async def two_hosts(cloud: Cloud) -> tuple[int, tuple[SimulatedHost, SimulatedHost]]:
    """A volume on the first of two hosts, each with storage of its own."""
    zone = await cloud.zone(hosts=2)
    first, second = cloud.earth.hosts.values()
    for host in (first, second):
        remember(host)

    def make(tx: Tx) -> tuple[int, str]:
        for row in tx.rows(tables.host, "removed is null order by id"):
            tx.insert(
                tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=zone, host_id=row.id, name=f"p{row.id}", scope="HOST",
                path=f"/pool{row.id}", created=tx.now,
            )  # fmt: skip
        host = tx.rows(tables.host, "removed is null order by id")[0]
        pool = tx.value(sa.select(tables.storage_pool.c.id).where(tables.storage_pool.c.host_id == host.id))
        uuid = cloud.ids.uuid()
        return tx.insert(
            tables.volume, uuid=uuid, name="data", type="DATADISK", zone_id=zone, pool_id=pool, host_id=host.id,
            size_bytes=10 << 20, state="Ready", created=tx.now, **OWNER,
        ), uuid  # fmt: skip

    id_, uuid = await cloud.store.run(make)
    body = link.EnsureVolume(pool="/pool1", volume=uuid, size=10 << 20, format="qcow2")
    await first.storage.perform(body, lambda part: None)
    await cloud.until(lambda tx: tx.rows(tables.machine, "kind = 'secstorage' and document_live <> '' and agent_up"))
    return id_, (first, second)


async def sent(cloud: Cloud, volume: int) -> str:
    """A job that moves it to the second host."""

    def start(tx: Tx) -> str:
        row = tx.get(tables.volume, volume)
        (_, host) = tx.rows(tables.host, "removed is null order by id")
        (_, pool) = tx.rows(tables.storage_pool, "removed is null order by id")
        assert row is not None
        return open_job(tx, volumes.move(tx, cloud.ids, row, host, pool))

    return await cloud.store.run(start)


async def has(host: SimulatedHost) -> tuple[str, ...]:
    """The pools of this host in which there is a volume."""
    return tuple(one.rpartition("/")[0] for one in await host.storage.volumes(()))


async def move(cloud: Cloud) -> None:
    """The whole story."""
    volume, (first, second) = await two_hosts(cloud)
    await over(cloud, await sent(cloud, volume))
    row = await cloud.row(tables.volume, volume)
    assert ("Ready", 2) == (row.state, row.host_id)
    assert ("/pool2",) == await has(second)
    await cloud.until(lambda tx: not tx.rows(tables.snapshot, "stored or staged or removed is null"))
    await cloud.until(lambda tx: not tx.rows(tables.volume, "move_host_id is not null"))
    assert () == await has(first)


def test_a_volume_moves_and_leaves_nothing_behind():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await move(cloud)

    run(cloud.clock, main())


def test_a_server_killed_anywhere_in_a_move_loses_nothing():
    assert everywhere(move, crash, at=POINTS) > 15


def test_a_volume_that_cannot_be_copied_stays():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            volume, (first, second) = await two_hosts(cloud)
            perform = first.storage.perform

            async def broken(body, progress):
                if isinstance(body, link.TakeSnapshot):
                    raise Refused("the disk is on fire")
                return await perform(body, progress)

            first.storage.perform = broken  # type: ignore[method-assign]
            ended = await over(cloud, await sent(cloud, volume), status=2)
            assert "the disk is on fire" in ended.result
            await cloud.until(lambda tx: not tx.rows(tables.volume, "move_host_id is not null"))
            row = await cloud.row(tables.volume, volume)
            assert ("Ready", 1) == (row.state, row.host_id)
            assert (("/pool1",), ()) == (await has(first), await has(second))

    run(cloud.clock, main())
