"""Image stores of each kind: who is handed what, in which runtime, and what is told when one cannot be used."""

from typing import Any

import msgspec
import pytest

from sysvm.orchestrator.turns import placing
from sysvm.store import tables
from sysvm.store.queries import image_stores
from sysvm.store.store import Tx
from sysvm.wire.channel import StoreSeen, StoresReport
from sysvm.wire.machines import Runtime
from sysvm.wire.nfs import NfsShare
from tests.api.stage import ApiError
from tests.orchestrator.tale import Tale, tell

URL = "nfs://server/export?vers=4.1"


async def add(tale: Tale, url: str = URL, name: str = "share") -> dict[str, Any]:
    zone = await tale.one("listZones")
    return await tale.ask("addImageStore", zoneid=zone["id"], provider="NFS", name=name, url=url)


async def worker(tale: Tale) -> Any:
    (row,) = await tale.rows(tables.machine, tables.machine.c.kind == "secstorage", tables.machine.c.removed.is_(None))
    return row


def test_a_share_is_in_the_document_and_a_directory_is_handed_over():
    """The host knows nothing of the share; the version comes from the setting where the url names none."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        store = await add(tale, "nfs://server/export")
        await tale.ask("updateConfiguration", name="secstorage.nfs.version", value="4.2", imagestoreuuid=store["id"])
        zone = tale.zone_id
        served = await tale.cloud.store.read(lambda tx: image_stores.to_serve(tx, zone, tale.cloud.vault))
        assert [None, NfsShare(server="server", path="/export", options=("vers=4.2",))] == [each.nfs for each in served]
        await tale.job("rebootSystemVm", id=(await worker(tale)).uuid)
        (life,) = [life for host in tale.cloud.earth.hosts.values() for life in host.driver.lives() if life.spec.stores]
        assert ["/store"] == [mount.path for mount in life.spec.stores]

    tell(story)


def test_a_share_alone_is_enough_for_a_secondary_storage_vm():
    """A zone without a directory gets one."""

    async def story(tale: Tale) -> None:
        for row in await tale.rows(tables.image_store):
            await tale.ask("deleteImageStore", id=row.uuid)
        for machine in await tale.rows(tables.machine, tables.machine.c.kind == "secstorage"):
            await tale.ask("destroySystemVm", id=machine.uuid)
        await add(tale)
        found = await tale.system_vms(2)
        assert {"consoleproxy", "secondarystoragevm"} == {row["systemvmtype"] for row in found}

    tell(story)


RUNTIMES = {
    "no share": ("auto", False, ("LXC", "KVM"), Runtime.CONTAINER, "KVM does not work here"),
    "a share": ("auto", True, ("LXC", "KVM"), Runtime.VM, "share is NFS, which a container cannot mount; emulated"),
    "a share against the setting": ("container", True, ("LXC", "KVM"), Runtime.VM, "share is NFS"),
    "the setting already says so": ("vm", True, ("LXC", "KVM"), Runtime.VM, "the setting systemvm.runtime"),
    "no host for it": ("auto", True, ("LXC",), Runtime.CONTAINER, "KVM does not work here"),
}


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_secondary_storage_vm_of_a_share_is_a_machine_with_a_kernel(name: str):
    """Where a host can run one; why so is in the machine's details."""
    setting, share, hypervisors, runtime, why = RUNTIMES[name]

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        if share:
            await add(tale)
        await tale.ask("updateConfiguration", name="systemvm.runtime", value=setting)
        row = await worker(tale)

        def chosen(tx: Tx) -> tuple[str, str]:
            host = tx.get(tables.host, row.host_id)
            assert host is not None
            for each in tx.rows(tables.host, "removed is null"):
                tx.update(tables.host, each.id, facts={**each.facts, "hypervisors": list(hypervisors)})
            tx.update(tables.machine, row.id, hypervisor="KVM")
            machine, host = tx.get(tables.machine, row.id), tx.get(tables.host, row.host_id)
            assert machine is not None and host is not None
            return placing.runtime_on(tx, machine, host)

        got, said = await tale.cloud.store.run(chosen)
        assert (runtime, True) == (got, why in said), said

    tell(story)


@pytest.mark.parametrize(
    ("setting", "others", "anew"), [("auto", 0, True), ("container", 0, True), ("vm", 0, False), ("auto", 1, False)]
)
def test_after_the_last_share_the_secondary_storage_vm_is_what_it_would_be_without(setting: str, others: int, anew: bool):
    """By its next incarnation, as it became a VM."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        stores = [await add(tale, f"nfs://filer/{number}", f"s{number}") for number in range(1 + others)]
        await tale.ask("updateConfiguration", name="systemvm.runtime", value=setting)
        row = await worker(tale)

        def becomes_a_vm(tx: Tx) -> None:
            tx.update(tables.machine, row.id, hypervisor="KVM", runtime=Runtime.VM)
            for each in tx.rows(tables.host, "removed is null"):
                tx.update(tables.host, each.id, facts={**each.facts, "hypervisors": ["LXC", "KVM"]})

        await tale.cloud.store.run(becomes_a_vm)
        before = await worker(tale)
        await tale.ask("deleteImageStore", id=stores[0]["id"])
        assert anew == ((await worker(tale)).incarnation > before.incarnation)

    tell(story)


def test_what_a_secondary_storage_vm_tells_of_a_store_is_shown_and_alerted_once():
    """Sizes are in the listing; a server that is dead is an alert, and its return an event."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        store, machine = await add(tale), (await worker(tale)).uuid

        async def said(**facts: Any) -> dict[str, Any]:
            report = StoresReport(stores=(StoreSeen(store=store["id"], **facts), StoreSeen(store="unknown", why="x")))
            again = msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=StoresReport)
            await tale.cloud.store.run(lambda tx: image_stores.heard(tx, machine, again))
            (row,) = await tale.ask("listImageStores", id=store["id"])
            return row

        fine = await said(total=1000, used=10)
        assert (1000, 10, None) == (fine["disksizetotal"], fine["disksizeused"], fine.get("message"))
        for _ in range(2):
            dead = await said(why="server does not answer", remedy="look at it")
        assert (1000, "server does not answer: look at it") == (dead["disksizetotal"], dead["message"])
        assert 1 == len([text for text in await tale.alerts() if "server does not answer" in text])
        assert "message" not in await said(total=1000, used=11)
        assert 1 == len([text for text in await tale.told() if "share can be used again" in text])

    tell(story)


def test_a_zone_whose_hosts_run_containers_only_is_told_so():
    """At the adding, in words; and where the hosts that could have gone since, by an alert."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)

        def containers_only(tx: Tx) -> None:
            for each in tx.rows(tables.host, "removed is null"):
                tx.update(tables.host, each.id, facts={**each.facts, "hypervisors": ["LXC"]})

        await add(tale)
        await tale.cloud.store.run(containers_only)
        with pytest.raises(ApiError, match="none of them runs virtual machines"):
            await add(tale, "nfs://server/another")
        row = await worker(tale)

        def placed(tx: Tx) -> None:
            tx.update(tables.machine, row.id, hypervisor="KVM", incarnation=row.incarnation + 7)
            placing.place(tx, tale.cloud.server_now.context, row.id)

        await tale.cloud.store.run(placed)
        (text,) = [text for text in await tale.alerts() if "Image store share cannot be used" in text]
        assert "no host of the zone runs virtual machines" in text

    tell(story)
