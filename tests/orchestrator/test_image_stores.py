"""An image store that no host can mount: it can be added, says why it is of no use, and stands in nobody's way."""

from sysvm.store import tables
from tests.orchestrator.tale import Tale, tell


def test_an_nfs_store_is_not_handed_to_a_secondary_storage_vm():
    """The answer and an alert say what to do instead; the directory beside it is used."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        store = await tale.ask("addImageStore", zoneid=zone["id"], provider="NFS", url="nfs://server/export")
        assert "provider=Filesystem" in store["message"]
        assert 1 == len([text for text in await tale.alerts() if "no host of this release mounts NFS" in text])
        worker = next(row for row in await tale.ask("listSystemVms") if row["systemvmtype"] == "secondarystoragevm")
        await tale.job("rebootSystemVm", id=worker["id"])
        (life,) = [life for host in tale.cloud.earth.hosts.values() for life in host.driver.lives() if life.spec.stores]
        assert ["/store"] == [mount.path for mount in life.spec.stores]

    tell(story)


def test_a_zone_with_nothing_else_waits_for_a_store_that_can_be_used():
    """No secondary storage VM is started in vain."""

    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        await tale.ask("addImageStore", zoneid=zone["id"], provider="NFS", url="nfs://server/export")
        (only,) = await tale.system_vms(1)
        assert "consoleproxy" == only["systemvmtype"]

    async def without_directory(tale: Tale) -> None:
        table = tables.image_store
        for row in await tale.rows(table):
            await tale.ask("deleteImageStore", id=row.uuid)
        for machine in await tale.rows(tables.machine, tables.machine.c.kind == "secstorage"):
            await tale.ask("destroySystemVm", id=machine.uuid)
        await story(tale)

    tell(without_directory)
