"""migrateSecondaryStorageData: what it refuses, and what it wishes."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import refusal
from tests.api_infrastructure.cloud import Cloud, make_physical_network, make_zone


async def second_store(cloud: Cloud, **params: Any) -> dict[str, Any]:
    given = {"zoneid": cloud.zone["id"], "provider": "Filesystem", "name": "images2", "url": "file:///srv/more"}
    return await cloud.admin("addImageStore", **{**given, **params})


async def on_store(cloud: Cloud, template: dict[str, Any], state: str = "DOWNLOADED", size: int = 100) -> None:
    """The template's copy is on the first store."""
    await cloud.downloaded(template["id"], state, store_id=1, size_bytes=size)


async def wanted(cloud: Cloud) -> list[int | None]:
    """Where each copy shall go."""
    copy = tables.template_copy
    rows = await cloud.stage.store.read(lambda tx: tx.all(sa.select(copy.c.wanted_store_id).order_by(copy.c.id)))
    return [row.wanted_store_id for row in rows]


async def test_a_complete_migration_wishes_all_images_away_and_closes_the_store(cloud: Cloud):
    """The job waits for each; the source takes nothing new, and cannot be deleted before it is empty."""
    await on_store(cloud, await cloud.template(name="a"))
    await on_store(cloud, await cloud.template(name="b"), "DOWNLOAD_ERROR")
    other = await second_store(cloud)
    await cloud.admin("migrateSecondaryStorageData", srcpool=cloud.store["id"], destpools=other["id"])
    assert [2, None] == await wanted(cloud)
    (store,) = await cloud.admin("listImageStores", id=cloud.store["id"])
    assert store["readonly"] is True
    for uuid in (cloud.store["id"], other["id"]):
        with refusal(536, "there are 1 templates"):
            await cloud.admin("deleteImageStore", id=uuid)


async def test_balancing_moves_what_makes_the_stores_more_alike(cloud: Cloud):
    """Nothing is closed."""
    for name, size in (("a", 100), ("b", 60), ("c", 10)):
        await on_store(cloud, await cloud.template(name=name), size=size)
    other = await second_store(cloud)
    await cloud.admin("migrateSecondaryStorageData", srcpool=cloud.store["id"], destpools=other["id"], migrationtype="BALANCE")
    assert [None, 2, 2] == await wanted(cloud)
    (store,) = await cloud.admin("listImageStores", id=cloud.store["id"])
    assert store["readonly"] is False


async def test_nothing_to_move_is_done_at_once(cloud: Cloud):
    """An empty store."""
    other = await second_store(cloud)
    result = await cloud.admin.job("migrateSecondaryStorageData", srcpool=other["id"], destpools=cloud.store["id"])
    assert ("0 images have been moved from image store images2", "Complete", True) == (
        result["message"], result["migrationtype"], result["success"]
    )  # fmt: skip


@pytest.mark.parametrize("state", ["NOT_DOWNLOADED", "DOWNLOAD_IN_PROGRESS"])
async def test_a_store_is_not_left_while_something_comes_to_it(cloud: Cloud, state: str):
    """CloudStack's words."""
    await on_store(cloud, await cloud.template(), state)
    other = await second_store(cloud)
    with refusal(534, "data objects which are not Ready"):
        await cloud.admin("migrateSecondaryStorageData", srcpool=cloud.store["id"], destpools=other["id"])


async def test_what_is_no_target_is_refused(cloud: Cloud):
    """The same store, one of another zone, a read-only one, an unknown kind."""
    source = cloud.store["id"]
    zone = await make_zone(cloud.stage, "zone2")
    await make_physical_network(cloud.admin, zone["id"])
    far = await second_store(cloud, zoneid=zone["id"], name="far")
    closed = await second_store(cloud)
    await cloud.admin("updateImageStore", id=closed["id"], readonly=True)
    for target, kind, why in (
        (source, "complete", "both srcpool and one of destpools"),
        (far["id"], "complete", "in another zone"),
        (closed["id"], "complete", "read-only"),
        (closed["id"], "some", "migrationtype is Complete or Balance"),
    ):
        with refusal(431, why):
            await cloud.admin(
                "migrateSecondaryStorageData", srcpool=source, destpools=target, migrationtype=kind
            )  # fmt: skip


async def test_an_image_that_moves_is_not_moved_again(cloud: Cloud):
    """A second call leaves it to the first."""
    await on_store(cloud, await cloud.template())
    other = await second_store(cloud)
    third = await second_store(cloud, name="images3", url="file:///srv/third")
    for target in (other, third):
        await cloud.admin("migrateSecondaryStorageData", srcpool=cloud.store["id"], destpools=target["id"])
    assert [2] == await wanted(cloud)

    def parts(tx: Tx) -> int:
        return len(tx.all(sa.select(tables.job_part.c.id)))

    assert 1 == await cloud.stage.store.read(parts)
