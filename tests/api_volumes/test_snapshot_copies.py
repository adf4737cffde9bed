"""Snapshots in other zones: copied with their chain, used there, deleted in one zone or all; and what is refused."""

from typing import Any

import sqlalchemy as sa

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.store.queries import snapshot_copies
from sysvm.store.store import Row
from sysvm.wire import channel
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_images.test_copy import two_zones
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import OWNER

MADE = "/pool"


class Ground:
    """Two zones; a volume in the first one with a chain of snapshots."""

    def __init__(self, tale: Tale, first: str, second: str) -> None:
        self.tale, self.first, self.second = tale, first, second
        self.asked: list[channel.TaskBody] = []
        self.fail = ""
        self.volume = ""

    def hear(self) -> None:
        """What secondary storage VMs are told to do from now on."""

        def outcome(body: channel.TaskBody) -> Any:
            self.asked.append(body)
            if isinstance(body, channel.Download):
                if self.fail:
                    raise Refused(self.fail)
                # The usual outcome makes up a digest; a file of a chain comes with the one it was promised.
                sha256 = body.checksum.removeprefix("{SHA-256}")
                return channel.Downloaded(size=1 << 20, virtual_size=10 << 20, sha256=sha256, format="qcow2")
            return usual_outcome(body)

        for host in self.tale.cloud.earth.hosts.values():
            host.agents.outcome = outcome

    async def a_volume(self) -> None:
        """One that has been made on a host of the first zone; hosts of both have primary storage."""
        cloud = self.tale.cloud

        def make(tx: Any) -> str:
            for host in tx.rows(tables.host, "removed is null"):
                if not tx.rows(tables.storage_pool, "host_id = :id", id=host.id):
                    tx.insert(
                        tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=host.zone_id, host_id=host.id,
                        name=f"p{host.id}", path=MADE, scope="HOST", created=tx.now,
                    )  # fmt: skip
            zone = tx.value(sa.select(tables.zone.c.id).where(tables.zone.c.uuid == self.first))
            (host, *_) = tx.rows(tables.host, "zone_id = :zone and removed is null order by id", zone=zone)
            (pool, *_) = tx.rows(tables.storage_pool, "host_id = :id", id=host.id)
            uuid: str = cloud.ids.uuid()
            tx.insert(
                tables.volume, uuid=uuid, name="data", type="DATADISK", zone_id=zone, pool_id=pool.id, host_id=host.id,
                size_bytes=10 << 20, state="Ready", created=tx.now, **OWNER,
            )  # fmt: skip
            return uuid

        self.volume = await cloud.store.run(make)

    async def snapshot(self, name: str) -> dict[str, Any]:
        """One more."""
        found: dict[str, Any] = await self.tale.job("createSnapshot", volumeid=self.volume, name=name)
        return found

    async def files(self) -> list[tuple[str, bool]]:
        """Files of chains in the second zone: whose, and whether they are wanted."""
        copy, image = tables.template_copy, tables.template
        query = (
            sa.select(image.c.name, copy.c.wanted)
            .join(image, image.c.id == copy.c.template_id)
            .where(image.c.kind == snapshot_copies.KIND, copy.c.removed.is_(None))
            .order_by(copy.c.id)
        )
        rows: list[Row] = list(await self.tale.cloud.store.read(lambda tx: tx.all(query)))
        return [(row.name, row.wanted) for row in rows]

    async def listed(self, **params: Any) -> list[tuple[str, str, str]]:
        """Name, zone and state."""
        found = await self.tale.ask("listSnapshots", listall=True, **params)
        return [(row["name"], row["zoneid"], row["state"]) for row in found]


def tell_of_two(story: Any) -> None:
    """Two zones with system VMs, and a volume that can be copied."""

    async def told(tale: Tale) -> None:
        ground = Ground(tale, *await two_zones(tale))
        await ground.a_volume()
        ground.hear()
        await story(tale, ground)

    tell(told)


def test_the_whole_chain_comes_to_the_other_zone_and_each_file_once() -> None:
    async def story(tale: Tale, ground: Ground) -> None:
        one, two = await ground.snapshot("one"), await ground.snapshot("two")
        got = await tale.job("copySnapshot", id=two["id"], destzoneids=ground.second)
        assert (two["id"], ground.second, "BackedUp", False) == (
            got["id"], got["zoneid"], got["state"], got["revertable"],
        )  # fmt: skip
        assert_row_matches_catalogue("copySnapshot", got)
        came = [body for body in ground.asked if isinstance(body, channel.Download)]
        assert {one["id"], two["id"]} == {body.image for body in came}
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm", zoneid=ground.first)
        assert {worker["publicip"]} == {body.peer for body in came}
        assert [("one", ground.first, "BackedUp"), ("two", ground.first, "BackedUp"), ("two", ground.second, "BackedUp")] == (
            await ground.listed()
        )
        assert [("two", ground.second, "BackedUp")] == await ground.listed(zoneid=ground.second)
        assert ["one", "two"] == [name for name, _, _ in await ground.listed(showunique=True)]
        await ground.snapshot("three")
        three = (await tale.ask("listSnapshots", listall=True, name="three"))[0]
        await tale.job("copySnapshot", id=three["id"], destzoneid=ground.second)
        came = [body for body in ground.asked if isinstance(body, channel.Download)]
        assert 3 == len(came), "the others were there"
        assert any(text.startswith("Snapshot three is downloaded") for text in await tale.told())

    tell_of_two(story)


def test_volumes_and_templates_are_made_of_it_where_it_was_copied_to() -> None:
    async def story(tale: Tale, ground: Ground) -> None:
        await ground.snapshot("one")
        two = await ground.snapshot("two")
        with refusal(431, "copy it there with copySnapshot"):
            await tale.ask("createVolume", name="v", snapshotid=two["id"], zoneid=ground.second)
        await tale.job("copySnapshot", id=two["id"], sourcezoneid=ground.first, destzoneid=ground.second)
        volume = await tale.job("createVolume", name="v", snapshotid=two["id"], zoneid=ground.second)
        assert (ground.second, "Ready") == (volume["zoneid"], volume["state"])
        os = (await tale.ask("listOsTypes"))[0]["id"]
        given = {"name": "t", "displaytext": "t", "ostypeid": os, "snapshotid": two["id"], "zoneid": ground.second}
        template = await tale.job("createTemplate", **given)
        assert (ground.second, True) == (template["zoneid"], template["isready"])
        elsewhere = await tale.job("createVolume", name="w", snapshotid=two["id"])
        assert ground.first == elsewhere["zoneid"]

    tell_of_two(story)


def test_in_one_zone_it_is_deleted_with_the_files_that_no_other_copy_needs() -> None:
    async def story(tale: Tale, ground: Ground) -> None:
        one, two = await ground.snapshot("one"), await ground.snapshot("two")
        for row in (one, two):
            await tale.job("copySnapshot", id=row["id"], destzoneid=ground.second)
        with refusal(536, "other zones have copies of it"):
            await tale.ask("deleteSnapshot", id=two["id"], zoneid=ground.first)
        await tale.job("deleteSnapshot", id=one["id"], zoneid=ground.second)
        assert [("one", True), ("two", True)] == await ground.files(), "the second one holds what has changed since the first"
        with refusal(431, "is not in zone"):
            await tale.ask("deleteSnapshot", id=one["id"], zoneid=ground.second)
        await tale.job("deleteSnapshot", id=two["id"], zoneid=ground.second)
        assert [] == await ground.files()
        gone = {body.image for body in ground.asked if isinstance(body, channel.DeleteImage)}
        assert {one["id"], two["id"]} == gone
        assert [("one", ground.first, "BackedUp"), ("two", ground.first, "BackedUp")] == await ground.listed()
        await tale.job("copySnapshot", id=one["id"], destzoneid=ground.second)
        await tale.job("deleteSnapshot", id=one["id"])
        await tale.until(lambda tx: not tx.rows(tables.snapshot_copy, "removed is null"))
        await tale.until(lambda tx: not tx.rows(tables.template, "kind = 'SNAPSHOT' and removed is null"))
        assert [("two", ground.first, "BackedUp")] == await ground.listed()

    tell_of_two(story)


def test_what_could_not_be_brought_is_told_and_can_be_asked_for_again() -> None:
    async def story(tale: Tale, ground: Ground) -> None:
        one = await ground.snapshot("one")
        ground.fail = "the source answers 404: is the URL right?"
        accepted = await tale.ask("copySnapshot", id=one["id"], destzoneid=ground.second)
        await tale.until(lambda tx: tx.rows(tables.job, "uuid = :uuid and status = 2", uuid=accepted["jobid"]))
        assert ("one", ground.second, "Error") in await ground.listed()
        with refusal(431, "copy it there with copySnapshot"):
            await tale.ask("createVolume", name="v", snapshotid=one["id"], zoneid=ground.second)
        ground.fail = ""
        got = await tale.job("copySnapshot", id=one["id"], destzoneid=ground.second)
        assert "BackedUp" == got["state"]

    tell_of_two(story)


def test_what_cannot_be_copied_is_told() -> None:
    async def story(tale: Tale, ground: Ground) -> None:
        one = await ground.snapshot("one")
        for params, text in (
            ({}, "destzoneid or destzoneids"),
            ({"destzoneid": ground.first}, "need not be copied there"),
            ({"destzoneid": ground.second, "sourcezoneid": ground.second}, "there is nothing to copy"),
        ):
            with refusal(431, text):
                await tale.ask("copySnapshot", id=one["id"], **params)
        await tale.cloud.store.run(lambda tx: tx.change(sa.update(tables.image_store).values(read_only=True)))
        with refusal(431, "Unable to find an image store in zone"):
            await tale.ask("copySnapshot", id=one["id"], destzoneid=ground.second)

    tell_of_two(story)


def test_a_snapshot_is_downloaded_whole() -> None:
    """The first one is a file of the store already; of the second one a host makes one."""

    async def story(tale: Tale, ground: Ground) -> None:
        one, two = await ground.snapshot("one"), await ground.snapshot("two")
        for row, captures in ((one, 0), (two, 1)):
            got = await tale.job("extractSnapshot", id=row["id"], zoneid=ground.first)
            assert ("DOWNLOAD_URL_CREATED", "SNAPSHOT", row["id"]) == (got["state"], got["storagetype"], got["id"])
            assert got["url"].endswith(f"/{row['name']}.qcow2")
            made = await tale.rows(tables.snapshot, tables.snapshot.c.kind == "EXTRACT")
            assert captures == len(made)
        assert ["one", "two"] == [name for name, _, _ in await ground.listed()]
        with refusal(431, "copy it there with copySnapshot"):
            await tale.ask("extractSnapshot", id=two["id"], zoneid=ground.second)
        await tale.job("copySnapshot", id=two["id"], destzoneid=ground.second)
        got = await tale.job("extractSnapshot", id=two["id"], zoneid=ground.second)
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm", zoneid=ground.second)
        assert worker["publicip"] in got["url"]

    tell_of_two(story)


def test_snapshots_move_with_images_to_another_store_of_their_zone() -> None:
    """And are used there; the store that they leave can be deleted then."""

    async def story(tale: Tale, ground: Ground) -> None:
        await ground.snapshot("one")
        two = await ground.snapshot("two")
        (source,) = await tale.ask("listImageStores", zoneid=ground.first)
        given = {"zoneid": ground.first, "provider": "Filesystem", "name": "more", "url": "file:///srv/more"}
        target = await tale.ask("addImageStore", **given)
        with refusal(536, "there are 2 snapshots on it"):
            await tale.ask("deleteImageStore", id=source["id"])
        moved = await tale.job("migrateSecondaryStorageData", srcpool=source["id"], destpools=target["id"])
        images = await tale.cloud.store.read(lambda tx: len(tx.rows(tables.template_copy, "removed is null and store_id = 1")))
        assert (0, True) == (images, moved["message"].endswith("have been moved from image store s"))
        copies = [body for body in ground.asked if isinstance(body, channel.CopyImage)]
        assert {target["id"]} == {body.store for body in copies}
        await tale.until(lambda tx: not tx.rows(tables.snapshot, "left_store_id is not null"))
        volume = await tale.job("createVolume", name="v", snapshotid=two["id"])
        assert "Ready" == volume["state"]
        await tale.ask("deleteImageStore", id=source["id"])

    tell_of_two(story)
