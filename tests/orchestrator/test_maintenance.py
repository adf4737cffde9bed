"""Maintenance of a host: machines move, or stop where their disks are; the host is empty, or it is said why not."""

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.store import Tx
from sysvm.systemvms.maintenance import DONE, FAILED, PREPARING, Evacuation, Resident, plan_evacuation
from tests.orchestrator.tale import Tale, a_guest, tell
from tests.simulation.cloud import running


def resident(id_: int, **given: object) -> Resident:
    """A running machine that could go anywhere."""
    facts = {"name": f"r-{id_}-VM", "wanted": "running", "off": False, "leaving": False, "bound": False, "stuck": ""}
    return Resident(id=id_, **{**facts, **given})


@pytest.mark.parametrize(
    ("residents", "expected"),
    [
        ((), Evacuation(DONE)),
        ((resident(1),), Evacuation(PREPARING, move=(1,), why="1 machines are leaving")),
        ((resident(1, leaving=True),), Evacuation(PREPARING, why="1 machines are leaving")),
        ((resident(1, bound=True),), Evacuation(PREPARING, stop=(1,), why="1 machines are leaving")),
        ((resident(1, bound=True, wanted="stopped"),), Evacuation(PREPARING, why="1 machines are leaving")),
        ((resident(1, bound=True, wanted="stopped", off=True),), Evacuation(DONE)),
        ((resident(1, wanted="stopped", off=True),), Evacuation(PREPARING, move=(1,), why="1 machines are leaving")),
        ((resident(1, wanted="gone"),), Evacuation(PREPARING, why="1 machines are leaving")),
        ((resident(1, bound=True, wanted="running", off=True),), Evacuation(PREPARING, stop=(1,), why="1 machines are leaving")),
    ],
)  # fmt: skip
def test_what_leaves_and_how(residents: tuple[Resident, ...], expected: Evacuation):
    """A stopped guest may stay where its volumes are; all else goes."""
    assert expected == plan_evacuation("h", True, residents)


def test_one_that_has_nowhere_to_go_stays_and_is_named():
    """The others go all the same."""
    step = plan_evacuation("h", True, (resident(1), resident(2, stuck="no host has 512 MB of memory free")))
    assert (FAILED, (1,)) == (step.state, step.move)
    assert "r-2-VM has nowhere to go: no host has 512 MB" in step.why


def test_nothing_is_taken_from_a_host_that_cannot_be_spoken_to():
    """It would be neither here nor there."""
    step = plan_evacuation("h", False, (resident(1),))
    assert (FAILED, (), ()) == (step.state, step.move, step.stop)
    assert "deleteHost with forced=true" in step.why


def test_only_so_many_move_at_a_time():
    """Those that are leaving count."""
    many = (*(resident(n, leaving=True) for n in range(6)), *(resident(n) for n in range(10, 20)))
    assert (10, 11) == plan_evacuation("h", True, many).move


# ---------------------------------------------------------------- whole stories
async def busy_host(tale: Tale) -> int:
    """A network with a guest that has no disk (it can go anywhere); the host of its router."""
    network = await tale.cloud.network(tale.zone_id)
    guest = await tale.cloud.guest(network, "g")
    await tale.until(running(guest))
    (router,) = await tale.cloud.store.read(lambda tx: machines.routers_of(tx, network))
    await tale.until(running(router.id))
    return (await tale.cloud.row(tables.machine, router.id)).host_id


def test_a_host_is_emptied_and_comes_back():
    """System VMs, router and guest live on elsewhere with their addresses; nothing is left, not even a kept network."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        host_id = await busy_host(tale)
        host = await tale.cloud.row(tables.host, host_id)
        there = await tale.on(host_id)
        before = [row["publicip"] for row in await tale.ask("listSystemVms")]
        assert "Maintenance" == (await tale.job("prepareHostForMaintenance", id=host.uuid))["resourcestate"]
        assert [] == await tale.on(host_id)
        driver = tale.cloud.earth.hosts[host_id].driver
        assert [] == [machine for machine in there if driver.keeps_network_of(machine)]
        await tale.system_vms(2)
        assert before == [row["publicip"] for row in await tale.ask("listSystemVms")]
        assert any("leaves host" in text for text in await tale.told())
        back = await tale.job("cancelHostMaintenance", id=host.uuid)
        assert "Enabled" == back["resourcestate"]

    tell(story, hosts=2)


def test_a_running_guest_moves_with_its_volume():
    """It runs on, elsewhere."""

    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        assert "Maintenance" == (await tale.job("prepareHostForMaintenance", id=guest["hostid"]))["resourcestate"]
        now = await tale.one("listVirtualMachines")
        assert ("Running", True) == (now["state"], now["hostid"] != guest["hostid"])
        await tale.job("cancelHostMaintenance", id=guest["hostid"])
        assert any("while it ran" in text for text in await tale.told())

    tell(story, hosts=2, guests_only=True)


def test_a_guest_that_cannot_move_is_stopped_and_can_be_started_afterwards():
    """It has VM snapshots on its host. It cannot be started while the maintenance lasts, and says so."""

    async def story(tale: Tale) -> None:
        guest = await a_guest(tale)
        await tale.job("createVMSnapshot", virtualmachineid=guest["id"])
        assert "Maintenance" == (await tale.job("prepareHostForMaintenance", id=guest["hostid"]))["resourcestate"]
        assert "Stopped" == (await tale.one("listVirtualMachines"))["state"]
        assert any("on its local storage" in text for text in await tale.told())
        started = await tale.ask("startVirtualMachine", id=guest["id"])
        table = tables.machine
        waits = sa.select(table.c.id).where(table.c.uuid == guest["id"], table.c.note.contains("is in maintenance"))
        await tale.until(lambda tx: tx.one(waits))
        await tale.job("cancelHostMaintenance", id=guest["hostid"])
        await tale.until(lambda tx: _is_over(tx, started["jobid"]))
        assert "Running" == (await tale.one("listVirtualMachines"))["state"]

    tell(story, hosts=2, guests_only=True)


def _is_over(tx: Tx, uuid: str) -> bool:
    return bool(tx.sql("select 1 from job where uuid = :uuid and status = 1", uuid=uuid))


def test_where_nobody_else_can_take_them_maintenance_ends_with_the_reason():
    """The router stays up; another host lets it go on by itself."""

    async def story(tale: Tale) -> None:
        host_id = await busy_host(tale)
        host = await tale.cloud.row(tables.host, host_id)
        accepted = await tale.ask("prepareHostForMaintenance", id=host.uuid)
        await tale.until(lambda tx: tx.get(tables.host, host_id).resource_state == FAILED)
        over = await tale.ask("queryAsyncJobResult", jobid=accepted["jobid"])
        assert 2 == over["jobstatus"]
        assert "nowhere to go" in over["jobresult"]["errortext"]
        assert 1 == len([text for text in await tale.alerts() if "cannot go into maintenance" in text])
        assert 2 == len(await tale.on(host_id))
        await tale.cloud.store.run(lambda tx: tx.update(tables.host, other(tx, host_id), resource_state="Enabled"))
        await tale.until(lambda tx: tx.get(tables.host, host_id).resource_state == DONE)
        assert [] == await tale.on(host_id)

    def other(tx: Tx, host_id: int) -> int:
        return int(tx.value(sa.select(tables.host.c.id).where(tables.host.c.id != host_id)))

    async def lonely(tale: Tale) -> None:
        table = tables.host
        second = (await tale.rows(table))[1]
        await tale.cloud.store.run(lambda tx: tx.update(table, second.id, resource_state="Disabled"))
        await story(tale)

    tell(lonely, hosts=2, guests_only=True)
