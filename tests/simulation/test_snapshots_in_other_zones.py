"""copySnapshot in a cloud whose server or secondary storage VM dies: a copy is whole or absent, and nothing of it is left."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import jobs, snapshot_copies, snapshots
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Strike, crash, everywhere
from tests.simulation.test_links_and_hosts import do_twice, each, kill_everything, lose_answer, restart_agent
from tests.simulation.volume_life import a_volume, deleted, gone_from_store, host_of, open_job, over, taken

POINTS = tuple(
    f"{kind} {what}"
    for kind in ("template", "snapshot")
    for what in ("claimed", "before task", "before delete", "before release", "released")
)


class Shelf:
    """What the second zone's store has."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}

    def outcome(self, body: channel.TaskBody) -> Any:
        """Of what agents of that zone are asked."""
        if isinstance(body, channel.DeleteImage):
            self.images.pop(body.image, None)
        if not isinstance(body, channel.Download):
            return usual_outcome(body)
        assert body.peer, "it comes from the zone that has it"
        sha256 = self.images[body.image] = body.checksum.removeprefix("{SHA-256}")
        return channel.Downloaded(size=1 << 20, virtual_size=10 << 20, sha256=sha256, format="QCOW2")


async def live(cloud: Cloud) -> None:
    """The whole story; raises AssertionError when something that must hold does not."""
    volume = await a_volume(cloud)
    first, second = await taken(cloud, volume, "one"), await taken(cloud, volume, "two")
    assert first.id == second.parent_id
    near = host_of(cloud)
    zone, shelf = await another_zone(cloud, near)

    await copied(cloud, second, zone)
    assert {row.uuid: row.sha256 for row in (first, second)} == shelf.images
    await copied(cloud, first, zone)
    await cloud.until(lambda tx: snapshot_copies.is_whole(tx, first, zone))

    await uncopied(cloud, second, zone)
    assert {first.uuid} == set(shelf.images), "the first one is a copy of its own"
    assert await cloud.store.read(lambda tx: snapshot_copies.is_whole(tx, first, zone))
    await copied(cloud, second, zone)

    await deleted(cloud, second)
    await deleted(cloud, first)
    await cloud.until(lambda tx: not tx.rows(tables.snapshot, "stored or staged"))
    await cloud.until(lambda tx: not left(tx))
    assert {} == shelf.images, "the second zone keeps nothing"
    assert {first.uuid, second.uuid} <= gone_from_store(cloud)


async def another_zone(cloud: Cloud, near: SimulatedHost) -> tuple[int, Shelf]:
    """One with a secondary storage VM, and what is on its store."""
    shelf, known = Shelf(), set(cloud.earth.hosts)
    zone = await cloud.zone()
    await cloud.until(lambda tx: set(cloud.earth.hosts) - known)
    (host,) = (host for host in cloud.earth.hosts.values() if host is not near)
    host.agents.outcome = shelf.outcome
    await cloud.until(lambda tx: len(tx.rows(tables.machine, "kind = 'secstorage' and agent_up")) == 2)
    return zone, shelf


async def copied(cloud: Cloud, snapshot: Row, zone: int) -> None:
    """The zone has it; before its job is done it is never half Ready."""
    uuid = await cloud.store.run(lambda tx: open_job(tx, *snapshot_copies.want(tx, snapshot, zone)))
    await cloud.until(lambda tx: is_over(tx, uuid) or whole_or_not(tx, snapshot, zone))
    await over(cloud, uuid)
    assert await cloud.store.read(lambda tx: snapshot_copies.is_whole(tx, snapshot, zone))


def is_over(tx: Tx, uuid: str) -> list[Row]:
    return list(tx.rows(tables.job, "uuid = :uuid and status != 0", uuid=uuid))


def whole_or_not(tx: Tx, snapshot: Row, zone: int) -> bool:
    """Never true; raises AssertionError where it is said to be whole without all its files."""
    if snapshot_copies.is_whole(tx, snapshot, zone):
        stores = [snapshot_copies.store_of(tx, file, zone) for file in snapshots.chain(tx, snapshot)]
        assert None not in stores
    return False


async def uncopied(cloud: Cloud, snapshot: Row, zone: int) -> None:
    """The zone has it no more, as deleteSnapshot with a zone says."""

    def start(tx: Tx) -> str:
        parts: tuple[jobs.Part, ...] = snapshot_copies.drop(tx, snapshot, zone)
        return open_job(tx, *parts)

    await over(cloud, await cloud.store.run(start))


def left(tx: Tx) -> list[Row]:
    """Rows of copies and of their files."""
    copy, image = tables.template_copy, tables.template
    files = sa.select(copy).join(image, image.c.id == copy.c.template_id)
    here = files.where(image.c.kind == snapshot_copies.KIND, copy.c.removed.is_(None))
    images = tx.rows(image, "kind = :kind and removed is null", kind=snapshot_copies.KIND)
    return [*tx.all(here), *images, *tx.rows(tables.snapshot_copy, "removed is null")]


def test_a_server_killed_anywhere_in_a_copys_life_leaves_it_whole_or_absent() -> None:
    assert everywhere(live, crash, at=POINTS, every=10) > 8


@pytest.mark.parametrize(
    ("strike", "at", "every"),
    [
        (each(kill_everything), POINTS, 24),
        (each(restart_agent), POINTS, 24),
        (each(lose_answer), ("host.call.answered",), 8),
        (each(do_twice), ("host.call.sent",), 8),
    ],
    ids=["machines die", "host agents die", "an answer is lost", "a call comes twice"],
)
def test_so_do_machines_and_hosts(strike: Strike, at: tuple[str, ...], every: int) -> None:
    assert everywhere(live, strike, at=at, every=every) > 3
