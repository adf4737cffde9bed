"""Images and volumes on hosts: brought ahead of time, and removed when nobody needs them."""

from sysvm.hosts.simulated.storage import SimulatedStorage
from sysvm.store import tables
from sysvm.wire import link
from tests.orchestrator.tale import Tale, registered, status, tell


def storages(tale: Tale) -> list[SimulatedStorage]:
    """The pools of all hosts."""
    return [host.storage for host in tale.cloud.earth.hosts.values()]


async def images(tale: Tale) -> list[tuple[str, ...]]:
    """What is on each host."""
    return [await storage.images(("/pool",)) for storage in storages(tale)]


def test_a_prepared_template_is_on_every_host_and_goes_with_the_template():
    """Asked for before it was downloaded; a second call changes nothing."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        template = await registered(tale)
        await tale.ask("prepareTemplate", templateid=template["id"], zoneid=zone["id"])
        await status(tale, template, ends=("Download Complete",))
        await tale.ask("prepareTemplate", templateid=template["id"], zoneid=zone["id"])
        table = tables.pool_image
        await tale.until(lambda tx: [("ready",), ("ready",)] == tx.sql("select state from pool_image"))
        (row,) = await tale.rows(tables.template, tables.template.c.uuid == template["id"])
        assert [(f"/pool/{row.sha256}",)] * 2 == await images(tale)
        await tale.ask("updateConfiguration", name="storage.template.cleanup.enabled", value="false")
        await tale.job("deleteTemplate", id=template["id"])
        await tale.cloud.clock.sleep(600)
        assert [(f"/pool/{row.sha256}",)] * 2 == await images(tale)
        await tale.ask("updateConfiguration", name="storage.template.cleanup.enabled", value="true")
        await tale.until(lambda tx: not tx.sql("select 1 from pool_image"))
        assert [()] * 2 == await images(tale)
        assert [] == await tale.rows(table)

    tell(story, hosts=2)


def test_the_disk_of_an_expunged_guest_goes():
    """The host is told, once it has nothing of the guest any more."""

    async def story(tale: Tale) -> None:
        zone, offering, network = await tale.one("listZones"), await tale.offering(), await tale.network()
        asked: list[link.HostTaskBody] = []
        (storage,) = storages(tale)
        perform = storage.perform

        async def listen(body, progress):
            asked.append(body)
            return await perform(body, progress)

        storage.perform = listen
        guest = await tale.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"],
                               networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001")  # fmt: skip
        (volume,) = await tale.rows(tables.volume)
        storage._volumes[f"/pool/{volume.uuid}"] = 1  # a simulated guest has none
        await tale.job("destroyVirtualMachine", id=guest["id"], expunge=True)
        await tale.until(lambda tx: not tx.sql("select 1 from turn where kind = 'volume'"))
        assert [link.RemoveVolume(pool="/pool", volume=volume.uuid, format="qcow2")] == asked
        assert () == await storage.volumes(("/pool",))

    tell(story, guests_only=True)
