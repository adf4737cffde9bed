"""One router's life, as a tenant makes it: born with the first guest, changed, replaced, healed, gone. And what must hold.

The same story is told to a cloud without faults, to one whose server dies at every fault point of it, and to mutants.
"""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Power
from tests.simulation.cloud import Cloud, gone, running


async def live(cloud: Cloud) -> None:
    """The whole story; raises AssertionError when something that must hold does not."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    network = await cloud.network(zone)
    guest = await cloud.guest(network, "g1")
    await cloud.until(running(guest))
    (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
    await cloud.until(running(router.id))
    await check(cloud)

    await replace(cloud, router.id)
    await check(cloud)

    await _kill(cloud, router.id)
    await cloud.until(running_again(router.id))
    await check(cloud)

    row = await cloud.row(tables.machine, guest)
    await cloud.store.run(lambda tx: machines.want(tx, row, "gone"))
    await cloud.until(gone(guest))
    await cloud.until(gone(router.id), patience_s=3000)
    await check(cloud)
    assert [] == [seen for host in cloud.earth.hosts.values() for seen in await host.driver.look_all()]


async def replace(cloud: Cloud, machine: int) -> None:
    """Until it lives its next incarnation: one that could not take over leaves the first one serving."""
    for _ in range(3):
        await cloud.store.run(lambda tx: machines.replace(tx, tx.get(tables.machine, machine)))  # type: ignore[arg-type]
        await cloud.until(lambda tx: running(machine)(tx) and len(machines.placements_of(tx, machine)) == 1)
        row = await cloud.row(tables.machine, machine)
        if row.incarnation > 1:
            return
        assert 1 == row.incarnation
    raise AssertionError("it was never replaced")


def running_again(machine: int):
    """Condition: its placement has been seen running again, with a live document."""

    def check_(tx: Tx) -> bool:
        row = tx.get(tables.machine, machine)
        return bool(row is not None and row.power == "running" and row.agent_up and row.document_live)

    return check_


async def _kill(cloud: Cloud, machine: int) -> None:
    """kill -9 of its processes; the cloud must notice by itself."""
    row = await cloud.row(tables.machine, machine)
    host = cloud.earth.hosts[row.host_id]
    before = await cloud.store.read(lambda tx: _boot(tx, machine))
    host.kill_machine(row.uuid, row.incarnation)
    await cloud.until(lambda tx: _boot(tx, machine) != before)


def _boot(tx: Tx, machine: int) -> str:
    """Which life of its agent the cloud knows."""
    table = tables.placement
    boot = sa.select(table.c.agent_boot).where(table.c.machine_id == machine, table.c.removed.is_(None))
    return str(tx.value(boot))


async def check(cloud: Cloud) -> None:
    """What must hold at rest: nothing doubled, nothing that nobody wants, nobody with another's address."""
    rows = await cloud.store.read(lambda tx: list(tx.all(sa.select(tables.machine))))
    by_uuid = {row.uuid: row for row in rows}
    alive: dict[str, int] = {}
    for host in cloud.earth.hosts.values():
        for seen in await host.driver.look_all():
            _one_machine(by_uuid[seen.machine], seen.power)
            if seen.power is Power.RUNNING:
                alive[seen.machine] = alive.get(seen.machine, 0) + 1
    assert all(count == 1 for count in alive.values()), f"doubled: {alive}"
    await cloud.store.read(_addresses)


def _one_machine(row: Row, power: Power) -> None:
    assert row.removed is None or power is Power.ABSENT, f"{row.name} is gone, but its host has it"


def _addresses(tx: Tx) -> None:
    free = tx.all(
        sa.select(tables.public_ip).where(tables.public_ip.c.state == "Free", tables.public_ip.c.network_id.is_not(None))
    )
    assert [] == list(free), "a free address belongs to a network"
    table = tables.machine
    doubles = sa.select(table.c.network_id).where(
        table.c.kind == "router",
        table.c.role != machines.INTERNAL_LB,
        table.c.removed.is_(None),
        table.c.wanted != "gone",
        table.c.redundant.is_(False),
    )
    networks = [row.network_id for row in tx.all(doubles)]
    assert len(networks) == len(set(networks)), "a network has two routers"
