"""Snapshots of whole guests in a cloud whose server dies: kept once, gone back to, forgotten; and who waits meanwhile."""

from typing import Any

import pytest

from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import machines, vm_snapshots, volumes
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from tests.simulation.cloud import OWNER, Cloud
from tests.simulation.faults import crash, everywhere
from tests.simulation.loop import run
from tests.simulation.volume_life import a_volume, host_of, open_job, over

POINTS = tuple(
    f"vmsnapshot {what}" for what in ("claimed", "before release", "released", "before keep", "before revert", "before forget")
)


async def a_guest(cloud: Cloud, *, running: bool) -> tuple[int, int]:
    """A guest with a volume; both ids."""
    volume = await a_volume(cloud)
    zone = (await cloud.row(tables.volume, volume)).zone_id
    guest = await cloud.guest(await cloud.network(zone), "g")

    def attach(tx: Tx) -> None:
        tx.update(tables.volume, volume, machine_id=guest, device=0, type="ROOT")
        machine = tx.get(tables.machine, guest)
        assert machine is not None
        machines.want(tx, machine, "running" if running else "stopped")

    await cloud.store.run(attach)
    power = ("running",) if running else ("stopped", "absent")
    await cloud.until(lambda tx: _row(tx, guest).power in power and _row(tx, guest).wanted in (*power, "stopped"))
    return guest, volume


def _row(tx: Tx, guest: int) -> Row:
    row = tx.get(tables.machine, guest)
    assert row is not None
    return row


async def keep(cloud: Cloud, guest: int, kind: str = vm_snapshots.DISK) -> tuple[int, str]:
    """A wished snapshot, and its job."""

    def start(tx: Tx) -> tuple[int, str]:
        last = vm_snapshots.current(tx, guest)
        id_ = tx.insert(
            tables.vm_snapshot, uuid=cloud.ids.uuid(), name="k", kind=kind, zone_id=1, machine_id=guest,
            parent_id=last.id if last is not None else None, created=tx.now,
            volumes=[row.id for row in volumes.of_machine(tx, guest)], **OWNER,
        )  # fmt: skip
        return id_, open_job(tx, vm_snapshots.want(tx, id_))

    return await cloud.store.run(start)


async def wish(cloud: Cloud, do: Any) -> str:
    """A job for what `do` wishes."""
    return await cloud.store.run(lambda tx: open_job(tx, do(tx)))


def revert(id_: int) -> Any:
    def do(tx: Tx) -> Any:
        tx.update(tables.vm_snapshot, id_, state="Reverting")
        return vm_snapshots.want(tx, id_)

    return do


def drop(id_: int) -> Any:
    def do(tx: Tx) -> Any:
        row = tx.get(tables.vm_snapshot, id_)
        assert row is not None
        return vm_snapshots.drop(tx, row)

    return do


async def life(cloud: Cloud) -> None:
    """Two are kept, the guest goes back to the first, both are forgotten."""
    guest, volume = await a_guest(cloud, running=True)
    uuid = (await cloud.row(tables.volume, volume)).uuid
    first, job = await keep(cloud, guest, vm_snapshots.MEMORY)
    await over(cloud, job)
    second, job = await keep(cloud, guest)
    await over(cloud, job)
    rows = [await cloud.row(tables.vm_snapshot, id_) for id_ in (first, second)]
    assert [("Ready", False, None), ("Ready", True, first)] == [(row.state, row.current, row.parent_id) for row in rows]
    storage = host_of(cloud).storage
    assert {row.uuid for row in rows} == storage.kept[uuid]
    await over(cloud, await wish(cloud, revert(first)))
    assert {(rows[0].uuid, (uuid,))} == set(storage.reverted)
    rows = [await cloud.row(tables.vm_snapshot, id_) for id_ in (first, second)]
    assert [True, False] == [row.current for row in rows]
    for id_ in (first, second):
        await over(cloud, await wish(cloud, drop(id_)))
    assert set() == storage.kept[uuid]


def story(tell: Any) -> None:
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await tell(cloud)

    run(cloud.clock, main())


def test_a_guest_is_kept_goes_back_and_forgets():
    story(life)


def test_a_server_killed_anywhere_meanwhile_changes_nothing_of_that():
    assert everywhere(life, crash, at=POINTS) > 20


def test_what_cannot_be_kept_is_given_up_and_leaves_nothing():
    async def main(cloud: Cloud) -> None:
        guest, volume = await a_guest(cloud, running=True)
        storage = host_of(cloud).storage
        perform = storage.perform

        async def broken(body, progress):
            done = await perform(body, progress)
            if isinstance(body, link.KeepGuest):
                raise Refused("the disk is full")
            return done

        storage.perform = broken  # type: ignore[method-assign]
        id_, job = await keep(cloud, guest)
        assert "the disk is full" in (await over(cloud, job, status=2)).result
        row = await cloud.row(tables.vm_snapshot, id_)
        assert ("Error", "the disk is full") == (row.state, row.error)
        assert set() == storage.kept[(await cloud.row(tables.volume, volume)).uuid]
        (alert,) = await cloud.store.read(lambda tx: tx.rows(tables.alert, "type = 32"))
        assert "deleteVMSnapshot" in alert.subject
        await over(cloud, await wish(cloud, drop(id_)))

    story(main)


@pytest.mark.parametrize("what", ["keep", "revert"])
def test_a_stopped_guest_does_not_start_in_the_middle_of_it(what: str):
    async def main(cloud: Cloud) -> None:
        guest, _ = await a_guest(cloud, running=False)
        id_, job = await keep(cloud, guest)
        if what == "revert":
            await over(cloud, job)
            job = await wish(cloud, revert(id_))
        state = "Creating" if what == "keep" else "Reverting"
        await cloud.until(lambda tx: tx.rows(tables.vm_snapshot, "state = :state", state=state))
        assert "VM snapshot" in await cloud.store.read(lambda tx: volumes.why_wait(tx, guest))

        def start(tx: Tx) -> None:
            machines.want(tx, _row(tx, guest), "running")

        await cloud.store.run(start)
        await over(cloud, job)
        await cloud.until(lambda tx: _row(tx, guest).power == "running")

    story(main)
