"""Volumes and snapshots from the API to simulated hosts and back, in virtual time."""

from sysvm.orchestrator.turns import preparation, volume
from sysvm.store import tables
from sysvm.store.queries import jobs, machines, specs, volumes
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx
from sysvm.wire.machines import DiskLimits
from tests.orchestrator.tale import Tale, tell

READY = "select 1 from template_copy c join template t on t.id = c.template_id where t.name = :name and c.state = 'DOWNLOADED'"
TEMPLATE = "5b0f2f3c-0000-4000-8000-000000000001"


async def guest(tale: Tale, **more: object) -> dict:
    """One that runs."""
    zone, offering, network = await tale.one("listZones"), await tale.offering(), await tale.network()
    given = {
        "zoneid": zone["id"],
        "serviceofferingid": offering["id"],
        "networkids": network["id"],
        "templateid": TEMPLATE,
    }
    return await tale.job("deployVirtualMachine", **{**given, **more})


async def disk_offering(tale: Tale, gib: int = 1) -> str:
    made = await tale.ask("createDiskOffering", name=f"d{gib}", displaytext="d", disksize=gib)
    return made["id"]


async def limits(tale: Tale, machine: str) -> list[DiskLimits | None]:
    """How fast its host was told that the guest's disks may be."""
    (host,) = tale.cloud.earth.hosts.values()
    (life,) = [life for life in host.driver.lives() if life.spec.machine == machine]
    return [disk.limits for disk in life.spec.disks]


def test_disks_are_as_fast_as_their_offerings_say_also_while_the_guest_runs():
    """The root disk is of the guest's offering, others have their own."""

    async def story(tale: Tale) -> None:
        size = {"displaytext": "x", "cpunumber": 1, "cpuspeed": 500, "memory": 128}
        compute = await tale.ask("createServiceOffering", name="c", **size, iopsreadrate=70)
        slow = await tale.ask("createDiskOffering", name="s", displaytext="s", disksize=1, byteswriterate=9, byteswriteratemax=12)
        one = await guest(tale, serviceofferingid=compute["id"], diskofferingid=slow["id"])
        root = DiskLimits(read_iops=70)
        assert [root, DiskLimits(write_bytes=9, write_bytes_peak=12)] == await limits(tale, one["id"])
        seen = {row["type"]: row for row in await tale.ask("listVolumes", virtualmachineid=one["id"])}
        assert (70, None) == (seen["ROOT"]["diskIopsReadRate"], seen["ROOT"].get("diskBytesWriteRate"))
        assert (None, 9) == (seen["DATADISK"].get("diskIopsReadRate"), seen["DATADISK"]["diskBytesWriteRate"])
        data = seen["DATADISK"]
        await tale.job("resizeVolume", id=data["id"], diskofferingid=await disk_offering(tale, 3))
        assert [root, None] == await limits(tale, one["id"])

    tell(story)


async def devices(tale: Tale, machine: str) -> list[int]:
    """The disks that the guest's host was last told of."""
    (host,) = tale.cloud.earth.hosts.values()
    (life,) = [life for life in host.driver.lives() if life.spec.machine == machine]
    return [disk.device for disk in life.spec.disks]


def test_disks_come_to_a_running_guest_and_go():
    """Its job ends when the host has them."""

    async def story(tale: Tale) -> None:
        offering = await disk_offering(tale)
        one = await guest(tale, diskofferingid=offering)
        zone = await tale.one("listZones")
        made = await tale.job("createVolume", name="d", zoneid=zone["id"], diskofferingid=offering)
        assert [0, 1] == await devices(tale, one["id"])
        attached = await tale.job("attachVolume", id=made["id"], virtualmachineid=one["id"])
        assert ("Ready", 2) == (attached["state"], attached["deviceid"])
        assert [0, 1, 2] == await devices(tale, one["id"])
        grown = await tale.job("resizeVolume", id=made["id"], diskofferingid=await disk_offering(tale, 3))
        assert 3 << 30 == grown["size"]
        await tale.job("detachVolume", id=made["id"])
        assert [0, 1] == await devices(tale, one["id"])
        await tale.job("resizeVolume", id=made["id"], diskofferingid=await disk_offering(tale, 4))
        await tale.ask("deleteVolume", id=made["id"])
        (host,) = tale.cloud.earth.hosts.values()
        await tale.until(lambda tx: not tx.sql("select 1 from turn where kind = 'volume'"))
        assert () == await host.storage.volumes(("/pool",))

    tell(story)


def test_snapshots_become_volumes_and_templates_and_guests():
    """Each by its command, until its job is done."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        one = await guest(tale)
        root = await tale.one("listVolumes", virtualmachineid=one["id"])
        first = await tale.job("createSnapshot", volumeid=root["id"])
        second = await tale.job("createSnapshot", volumeid=root["id"])
        assert ("BackedUp", "BackedUp") == (first["state"], second["state"])
        copy = await tale.job("createVolume", name="copy", snapshotid=second["id"], virtualmachineid=one["id"])
        assert ("Ready", 1) == (copy["state"], copy["deviceid"])
        os = (await tale.ask("listOsTypes"))[0]["id"]
        template = await tale.job("createTemplate", name="mine", ostypeid=os, snapshotid=second["id"])
        assert ("Download Complete", True, "Simulator") == (
            template["status"],
            template["isready"],
            template["hypervisor"],
        )
        two = await guest(tale, templateid=template["id"])
        assert "Running" == two["state"]
        await tale.job("stopVirtualMachine", id=one["id"])
        await tale.job("revertSnapshot", id=first["id"])
        await tale.job("startVirtualMachine", id=one["id"])
        for snapshot in (first, second):
            await tale.job("deleteSnapshot", id=snapshot["id"])
        await tale.until(lambda tx: not tx.sql("select 1 from snapshot where stored or staged"))

    tell(story)


def test_a_guest_that_is_installed_from_an_iso_boots_from_it_while_it_is_there():
    """The image comes to the host before the guest starts."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        os = (await tale.ask("listOsTypes"))[0]["id"]
        source = {"url": "http://example.org/cd.iso", "ostypeid": os, "bootable": True}
        found = await tale.ask("registerIso", name="cd", zoneid=zone["id"], **source)
        iso = found[0] if isinstance(found, list) else found
        await tale.until(lambda tx: tx.sql(READY, name="cd"))
        one = await guest(tale, templateid=iso["id"], diskofferingid=await disk_offering(tale), hypervisor="Simulator")

        def look(tx: Tx) -> tuple[list[str], bool, bool, bool]:
            machine = machines.machine_by_uuid(tx, one["id"])
            assert machine is not None
            host = tx.get(tables.host, machine.host_id)
            assert host is not None
            tx.update(tables.machine, machine.id, runtime="vm")
            machine = tx.get(tables.machine, machine.id)
            assert machine is not None
            (placement,) = machines.placements_of(tx, machine.id)
            steps = preparation.steps(tx, machine, host)
            before = specs.spec_of(tx, machine, placement, "")
            tx.sql("update pool_image set state = 'ready'")
            after = specs.spec_of(tx, machine, placement, "")
            tx.update(tables.machine, machine.id, runtime="simulated")
            named = [type(step).__name__ for step in steps]
            return named, before.iso is not None, after.iso is not None, after.boot_from_iso

        assert (["Fetch"], False, True, True) == await tale.cloud.store.run(look)
        await tale.job("detachIso", virtualmachineid=one["id"])
        machine = await tale.cloud.store.read(lambda tx: machines.machine_by_uuid(tx, one["id"]))
        assert machine.iso_id is None

    tell(story)


def test_a_volume_that_its_guests_start_has_made_meanwhile_keeps_no_job_waiting():
    """Both make it where it is not there; whoever is second finds it done."""

    async def story(tale: Tale) -> None:
        await guest(tale)
        (root,) = await tale.rows(tables.volume)

        def both(tx: Tx) -> bool:
            tx.update(tables.volume, root.id, state="Creating", template_id=None)
            part = volumes.want(tx, root)
            about = About("Volume", root.id, root.uuid, root.name)
            job = jobs.open_job(tx, jobs.NewJob("attachVolume", SYSTEM, (part,), {}, about, "", ""))
            order = volume.plan(tx, tx.rows(tables.volume, "id = :id", id=root.id)[0])
            tx.update(tables.volume, root.id, state="Ready")
            volume.made(tx, Turn("volume", root.id, fence=1, tries=0, wish=part.wish, stir=0), order)
            return bool(tx.rows(tables.job, "uuid = :uuid and status = 1", uuid=job))

        assert await tale.cloud.store.run(both)

    tell(story)
