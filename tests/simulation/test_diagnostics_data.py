"""Diagnostics data: from a system VM to secondary storage, and gone when it is old, whatever happens to servers meanwhile."""

import msgspec
import pytest

from sysvm.orchestrator.turns import archives
from sysvm.store import tables
from sysvm.store.queries import settings, turns
from sysvm.store.settings import SETTINGS
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import DeleteImage
from sysvm.wire.collecting import CollectFiles, KeepArchive
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run
from tests.simulation.test_images_move import heard

AGE_S = 60


async def asked(cloud: Cloud) -> int:
    """A task about the zone's console proxy."""
    await cloud.zone()
    await cloud.until(lambda tx: tx.rows(tables.machine, "kind = 'secstorage' and document_live <> ''"))
    await cloud.until(lambda tx: tx.rows(tables.machine, "kind = 'consoleproxy' and document_live <> ''"))

    def start(tx: Tx) -> int:
        settings.store(tx, SETTINGS["diagnostics.data.max.file.age"], str(AGE_S))
        (proxy,) = tx.rows(tables.machine, "kind = 'consoleproxy'")
        (store,) = tx.rows(tables.image_store, "removed is null")
        body = msgspec.json.encode(archives.Body(files=("[ROUTE]",), store=store.uuid)).decode()
        task = tx.insert(
            tables.task, uuid=cloud.ids.uuid(), kind=archives.KIND, machine_id=proxy.id, body=body, error="",
            deadline=tx.now + 1800, created=tx.now,
        )  # fmt: skip
        turns.wish(tx, "task", task)
        return task

    return await cloud.store.run(start)


def of(task: int, state: str):
    """Whether the task has come to that state."""

    def look(tx: Tx) -> Row | None:
        row = tx.get(tables.task, task)
        return row if row is not None and row.state == state else None

    return look


def test_it_is_collected_kept_and_removed_when_it_is_old():
    """Each machine is asked for its part, once."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            task = await asked(cloud)
            orders = heard(cloud)
            row = await cloud.until(of(task, "done"))
            kept = msgspec.json.decode(row.result, type=archives.Kept)
            assert (kept.image, kept.size) == (row.uuid, 2)
            assert [CollectFiles, KeepArchive] == [type(order) for order in orders]
            await cloud.clock.sleep(AGE_S / 2)
            assert DeleteImage not in [type(order) for order in orders]
            await cloud.until(lambda tx: tx.get(tables.task, task).removed)  # type: ignore[union-attr]
            assert [DeleteImage] == [type(order) for order in orders if isinstance(order, DeleteImage)]

    cloud = Cloud()
    run(cloud.clock, main(cloud))


@pytest.mark.parametrize("after", ["collected", "done"])
def test_a_server_that_dies_between_two_steps_loses_nothing(after: str):
    """The next one goes on where it was."""

    async def main(cloud: Cloud) -> None:
        async with cloud.world():
            async with cloud.running_server():
                task = await asked(cloud)
                await cloud.until(of(task, after))
            async with cloud.running_server():
                await cloud.until(of(task, "done"))
                await cloud.until(lambda tx: tx.get(tables.task, task).removed)  # type: ignore[union-attr]

    cloud = Cloud()
    run(cloud.clock, main(cloud))
