"""migrateVirtualMachine and findHostsForMigration as a client sees them; what happens on hosts is in tests/simulation and
tests/hosts_kvm."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import ApiError
from tests.orchestrator.tale import Tale, a_guest, tell


async def other_host(tale: Tale, guest: dict[str, Any]) -> dict[str, Any]:
    found = await tale.ask("listHosts", type="Routing")
    return next(host for host in found if host["id"] != guest["hostid"])


async def change(tale: Tale, table: sa.Table, uuid: str, **values: Any) -> None:
    """As something else has done it."""

    def write(tx: Tx) -> None:
        tx.change(sa.update(table).where(table.c.uuid == uuid).values(**values))

    await tale.cloud.store.run(write)


def test_a_guest_is_moved_by_name_of_the_host_and_by_choice():
    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        (there,) = await tale.ask("findHostsForMigration", virtualmachineid=guest["id"])
        assert (True, False) == (there["suitableformigration"], there["requiresStorageMotion"]), "both have the pool"
        moved = await tale.job("migrateVirtualMachine", virtualmachineid=guest["id"], hostid=there["id"])
        assert ("Running", there["id"]) == (moved["state"], (await tale.one("listVirtualMachines"))["hostid"])
        (volume,) = await tale.ask("listVolumes")
        assert "Ready" == volume["state"]
        await tale.until(lambda tx: not tx.rows(tables.volume, "move_host_id is not null"))
        await tale.until(lambda tx: 1 == len(tx.rows(tables.placement, "removed is null and machine_id in "
                                                     "(select id from machine where kind = 'guest')")))  # fmt: skip
        await tale.job("migrateVirtualMachine", virtualmachineid=guest["id"], autoselect="true")
        assert guest["hostid"] == (await tale.one("listVirtualMachines"))["hostid"]
        assert 2 == sum("while it ran" in text for text in await tale.told())

    tell(story, hosts=2, guests_only=True)


def test_a_guest_is_moved_with_its_volumes_to_storage_that_may_be_named():
    """As the web UI does it; what the host has not is refused."""

    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        host = await other_host(tale, guest)
        (volume,) = await tale.ask("listVolumes")
        wanted = {"virtualmachineid": guest["id"], "hostid": host["id"]}
        pool = volume["storageid"]
        to = {"migrateto[0].volume": volume["id"], "migrateto[0].pool": pool}
        other = await tale.ask("createStoragePool", zoneid=host["zoneid"], podid=host["podid"], clusterid=host["clusterid"],
                               name="other", url="file:///srv/other", scope="CLUSTER")  # fmt: skip
        with pytest.raises(ApiError, match="can't come to storage other"):
            await tale.ask("migrateVirtualMachineWithVolume", **wanted, **{**to, "migrateto[0].pool": other["id"]})
        with pytest.raises(ApiError, match="hostId must be passed"):
            await tale.ask("migrateVirtualMachineWithVolume", virtualmachineid=guest["id"])
        moved = await tale.job("migrateVirtualMachineWithVolume", **wanted, **to)
        assert ("Running", host["id"]) == (moved["state"], moved["hostid"])

    tell(story, hosts=2, guests_only=True)


async def stopped(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await tale.job("stopVirtualMachine", id=guest["id"])


async def nothing(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    """All is well."""


async def down(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await change(tale, tables.host, host["id"], state="Alert")


async def disabled(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await change(tale, tables.host, host["id"], resource_state="Disabled")


async def full(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await change(tale, tables.host, host["id"], memory_free_mb=100)


async def older(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await change(tale, tables.host, host["id"], facts={})


async def container(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await change(tale, tables.machine, guest["id"], hypervisor="LXC")


async def snapshots(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await tale.job("createVMSnapshot", virtualmachineid=guest["id"])


async def under_way(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    await tale.ask("migrateVirtualMachine", virtualmachineid=guest["id"], hostid=host["id"])


async def apart(tale: Tale, guest: dict[str, Any], host: dict[str, Any]) -> None:
    def write(tx: Tx) -> None:
        (row,) = tx.rows(tables.cluster, "removed is null")
        cluster = tx.insert(tables.cluster, uuid=tale.cloud.ids.uuid(), zone_id=row.zone_id, pod_id=row.pod_id, name="c2",
                            hypervisor="Simulator", created=tx.now)  # fmt: skip
        tx.change(sa.update(tables.host).where(tables.host.c.uuid == host["id"]).values(cluster_id=cluster))

    await tale.cloud.store.run(write)


@pytest.mark.parametrize(
    ("before", "params", "text"),
    [
        (nothing, {}, "Please specify a host or storage as destination"),
        (nothing, {"hostid": "there", "storageid": "pool"}, "Only one of hostId and storageId"),
        (nothing, {"storageid": "pool"}, "migrateVolume"),
        (nothing, {"hostid": "here"}, "VM is already present on this host"),
        (stopped, {"hostid": "there"}, "VM is not Running, unable to migrate"),
        (down, {"hostid": "there"}, "is not Up"),
        (disabled, {"hostid": "there"}, "is not Enabled"),
        (full, {"hostid": "there"}, "has 100 MB of memory free and the VM needs 128 MB"),
        (full, {"autoselect": "true"}, "No suitable host to migrate"),
        (older, {"hostid": "there"}, "cannot take running guests in"),
        (apart, {"hostid": "there"}, "is in another cluster"),
        (apart, {"autoselect": "true"}, "its cluster has no other host"),
        (container, {"hostid": "there"}, "Unsupported Hypervisor Type for VM migration"),
        (snapshots, {"hostid": "there"}, "VM Snapshots"),
        (under_way, {"hostid": "there"}, "is being migrated already"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_is_refused_with_the_reason(before, params, text):
    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        host = await other_host(tale, guest)
        await before(tale, guest, host)
        (pool, *_) = await tale.ask("listStoragePools")
        named = {"there": host["id"], "here": guest["hostid"], "pool": pool["id"], "true": "true"}
        with pytest.raises(ApiError, match=text):
            await tale.ask(
                "migrateVirtualMachine", virtualmachineid=guest["id"], **{key: named[word] for key, word in params.items()}
            )

    tell(story, hosts=2, guests_only=True)


def test_a_guest_that_moves_is_left_alone_meanwhile():
    """Its volumes and NICs are those that go along."""

    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        host = await other_host(tale, guest)
        await under_way(tale, guest, host)
        assert "Migrating" == (await tale.one("listVirtualMachines"))["state"]
        (volume,) = await tale.ask("listVolumes")
        for command, params in (
            ("createVMSnapshot", {"virtualmachineid": guest["id"]}),
            ("resizeVolume", {"id": volume["id"], "size": 99}),
            ("rebootVirtualMachine", {"id": guest["id"]}),
        ):
            with pytest.raises(ApiError, match=r"(?i)migrat|not in the running"):
                await tale.ask(command, **params)

    tell(story, hosts=2, guests_only=True)
