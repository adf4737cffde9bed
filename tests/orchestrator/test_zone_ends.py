"""A zone that is disabled, or whose system VMs are switched off, has none, on no host; and has them again when enabled."""

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.orchestrator.tale import Tale, tell


async def nothing_left(tale: Tale) -> None:
    """No system VM, no placement, no address of one; nothing on any host."""
    machine, ip, placement = tables.machine, tables.public_ip, tables.placement
    living = sa.select(machine.c.id).where(machine.c.removed.is_(None))
    await tale.until(lambda tx: not tx.all(living))
    assert [] == await tale.everywhere()
    assert [] == await tale.rows(ip, ip.c.state == "Allocated")
    assert [] == await tale.rows(placement, placement.c.removed.is_(None))
    assert 2 == len(await tale.rows(machine))


def test_disabling_a_zone_removes_its_system_vms_and_enabling_brings_new_ones():
    """Nothing stays on a host, no address is held."""

    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        before = {row["name"] for row in await tale.system_vms(2)}
        await tale.ask("updateZone", id=zone["id"], allocationstate="Disabled")
        await nothing_left(tale)
        await tale.traffic()
        await tale.ask("updateZone", id=zone["id"], allocationstate="Enabled")
        after = {row["name"] for row in await tale.system_vms(2)}
        assert not before & after

    tell(story)


@pytest.mark.parametrize(
    ("switch", "left"), [("enable.consoleproxy.vm", "secondarystoragevm"), ("enable.secstorage.vm", "consoleproxy")]
)
def test_a_kind_of_system_vm_is_switched_off_and_on(switch: str, left: str):
    """Only the other kind stays."""

    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        await tale.system_vms(2)
        await tale.ask("updateZone", id=zone["id"], **{"details__0__" + switch: "false"})
        (only,) = await tale.system_vms(1)
        assert left == only["systemvmtype"]
        assert [only["id"]] == [seen.machine for seen in await tale.everywhere()]
        await tale.ask("updateZone", id=zone["id"], **{"details__0__" + switch: "true"})
        assert {"consoleproxy", "secondarystoragevm"} == {row["systemvmtype"] for row in await tale.system_vms(2)}

    tell(story)


def test_a_disabled_zone_can_be_deleted_when_it_is_empty():
    """Its machines go by themselves; what an operator made, the operator removes."""

    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        await tale.system_vms(2)
        await tale.ask("updateZone", id=zone["id"], allocationstate="Disabled")
        await nothing_left(tale)
        (pool,) = await tale.ask("listStoragePools")
        await tale.job("enableStorageMaintenance", id=pool["id"])
        for noun in ("StoragePool", "Host", "ImageStore", "Cluster", "Pod", "PhysicalNetwork"):
            for row in await tale.ask(f"list{noun}s"):
                await tale.ask(f"delete{noun}", id=row["id"])
        await tale.ask("deleteZone", id=zone["id"])
        assert [] == await tale.ask("listZones")
        await tale.until(lambda tx: not tx.sql("select id from turn where kind = 'zone'"))

    tell(story)
