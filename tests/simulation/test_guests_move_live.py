"""A guest moves to another host while it runs, and servers, host agents, hosts and links die meanwhile: in the end it runs on one
host, with its volume, and nothing of it is on the other one. At no instant it runs on both."""

import asyncio

import pytest

from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import live_moves, machine_rows, machines
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from tests.simulation.cloud import OWNER, Cloud, add_guest, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.loop import run
from tests.simulation.volume_life import open_job, over

POINTS = ("placement before look", "placement before act", "placement after act", "host.do.received", "host.do.done")


async def a_guest(cloud: Cloud) -> int:
    """It runs on one of two hosts, each with storage of its own."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    network = await cloud.network(zone)

    def make(tx: Tx) -> int:
        for row in tx.rows(tables.host, "removed is null order by id"):
            tx.insert(
                tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=zone, host_id=row.id, name=f"p{row.id}", scope="HOST",
                path=f"/pool{row.id}", created=tx.now,
            )  # fmt: skip
        guest = add_guest(tx, cloud.ids, network, "guest")
        tx.insert(
            tables.volume, uuid=cloud.ids.uuid(), name="root", type="ROOT", zone_id=zone, machine_id=guest, device=0,
            size_bytes=10 << 20, state="Allocated", created=tx.now, **OWNER,
        )  # fmt: skip
        return guest

    guest = await cloud.store.run(make)
    await cloud.until(running(guest))
    volume = await cloud.store.read(lambda tx: tx.rows(tables.volume, "machine_id = :id", id=guest)[0])
    here = cloud.earth.hosts[volume.host_id]
    body = link.EnsureVolume(pool=f"/pool{volume.host_id}", volume=volume.uuid, size=10 << 20, format="qcow2")
    await here.storage.perform(body, lambda part: None)
    return guest


async def ends(cloud: Cloud, guest: int) -> tuple[int, int]:
    """Where it is, and the other host."""
    row = await cloud.row(tables.machine, guest)
    return row.host_id, next(id_ for id_ in cloud.earth.hosts if id_ != row.host_id)


async def begun(cloud: Cloud, guest: int, to: int) -> str:
    """A job that moves it there."""

    def start(tx: Tx) -> str:
        row, host = tx.get(tables.machine, guest), tx.get(tables.host, to)
        assert row is not None and host is not None
        assert "" == live_moves.why_not(tx, row) + live_moves.why_not_to(tx, row, host)
        return open_job(tx, live_moves.begin(tx, cloud.ids.uuid(), row, host))

    return await cloud.store.run(start)


def lives(cloud: Cloud, uuid: str) -> dict[int, bool]:
    """Hosts that have something of it, and whether it runs there."""
    found = ((id_, life) for id_, host in cloud.earth.hosts.items() for life in host.driver.lives())
    return {id_: life.running for id_, life in found if life.spec.machine == uuid}


async def at_rest(cloud: Cloud, guest: int) -> int:
    """The one host that has it, all of it, when nothing moves any more; and the database says so."""

    def still(tx: Tx) -> Row | None:
        row = tx.get(tables.machine, guest)
        assert row is not None
        placed = machines.placements_of(tx, guest)
        moving = tx.rows(tables.volume, "move_host_id is not null")
        rests = len(placed) == 1 and placed[0].settled >= placed[0].told and not moving and not row.migration
        return row if rests and row.power == "running" else None

    row = await cloud.until(still)
    assert {row.host_id: True} == lives(cloud, row.uuid)
    for id_, host in cloud.earth.hosts.items():
        volumes = await host.storage.volumes(())
        assert (1 if id_ == row.host_id else 0) == len(volumes), (id_, volumes)
    (volume,) = await cloud.store.read(lambda tx: tx.rows(tables.volume, "machine_id = :id", id=guest))
    assert (row.host_id, "Ready") == (volume.host_id, volume.state)
    return int(row.host_id)


async def never_two(cloud: Cloud, uuid: str) -> None:
    """Looks all the time."""
    while True:
        assert sum(lives(cloud, uuid).values()) <= 1
        await cloud.clock.sleep(0.05)


async def watched(cloud: Cloud, guest: int, act: object) -> None:
    """Waits for the job, and sees that it never runs twice."""
    row = await cloud.row(tables.machine, guest)
    watch = asyncio.ensure_future(never_two(cloud, row.uuid))
    try:
        await act  # type: ignore[misc]
    finally:
        watch.cancel()


async def moves(cloud: Cloud) -> None:
    """The whole story, which must end well."""
    guest = await a_guest(cloud)
    _, there = await ends(cloud, guest)
    await watched(cloud, guest, over(cloud, await begun(cloud, guest, there)))
    assert there == await at_rest(cloud, guest)


async def moves_or_stays(cloud: Cloud) -> None:
    """The same where it may fail: what counts is that it runs once, whole."""
    guest = await a_guest(cloud)
    _, there = await ends(cloud, guest)
    job = await begun(cloud, guest, there)
    await watched(cloud, guest, cloud.until(lambda tx: tx.rows(tables.job, "uuid = :u and status != 0", u=job)))
    await at_rest(cloud, guest)


def test_a_guest_moves_and_leaves_nothing_behind():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            guest = await a_guest(cloud)
            here, there = await ends(cloud, guest)
            job = await begun(cloud, guest, there)
            await cloud.until(lambda tx: machine_rows.state_of(tx.rows(tables.machine, "id = :id", id=guest)[0]) == "Migrating")
            await watched(cloud, guest, over(cloud, job))
            assert there == await at_rest(cloud, guest)
            row = await cloud.row(tables.machine, guest)
            assert ("Running", here) == (machine_rows.state_of(row), row.last_host_id)
            assert [0] == [life.starts for life in cloud.earth.hosts[there].driver.lives() if life.spec.machine == row.uuid]
            await watched(cloud, guest, over(cloud, await begun(cloud, guest, here)))
            assert here == await at_rest(cloud, guest), "and back"

    run(cloud.clock, main())


def test_a_server_killed_anywhere_in_a_move_changes_nothing():
    assert everywhere(moves, crash, at=POINTS, every=2) > 10


def agents_killed(cloud: Cloud) -> None:
    for id_, host in cloud.earth.hosts.items():
        host.restart_agent()
        cloud.cut_link(id_, 1.0)


def hosts_rebooted(cloud: Cloud) -> None:
    for id_, host in cloud.earth.hosts.items():
        host.reboot()
        cloud.cut_link(id_, 20.0)


def answers_lost(cloud: Cloud) -> None:
    for host in cloud.earth.hosts.values():
        host.lose_answers = 1


@pytest.mark.parametrize("befall", [agents_killed, hosts_rebooted, answers_lost])
def test_whatever_befalls_the_hosts_it_runs_once(befall):
    async def strike(cloud: Cloud, _name: str) -> None:
        befall(cloud)

    assert everywhere(moves_or_stays, strike, at=POINTS, every=2) > 10


def failing(host: SimulatedHost, other: SimulatedHost) -> None:
    host.mover.failure = "the wire is cut"


def not_taken_in(host: SimulatedHost, other: SimulatedHost) -> None:
    other.driver.failures["ensure-landing"] = Refused("no room for it")


def later(host: SimulatedHost, other: SimulatedHost) -> None:
    other.driver.failures["ensure-landing"] = NotYet(1, "the tap is not there yet")
    host.driver.failures["ensure-sent"] = NotYet(1, "libvirt is busy")


def left_alone(host: SimulatedHost, other: SimulatedHost) -> None:
    host.mover.unfinished = True


@pytest.mark.parametrize(
    ("fault", "status"),
    [(failing, 2), (not_taken_in, 1), (later, 1), (left_alone, 1)],
    ids=["cut", "refused once", "later", "nobody lets it run there"],
)
def test_a_fault_ends_in_one_guest(fault, status):
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            guest = await a_guest(cloud)
            here, there = await ends(cloud, guest)
            fault(cloud.earth.hosts[here], cloud.earth.hosts[there])
            job = await begun(cloud, guest, there)
            ended = None

            async def wait() -> None:
                nonlocal ended
                ended = await over(cloud, job, status=status)

            await watched(cloud, guest, wait())
            assert (there if status == 1 else here) == await at_rest(cloud, guest)
            if status == 2:
                assert ended is not None and "the wire is cut" in ended.result
            row = await cloud.row(tables.machine, guest)
            assert 1 == sum(life.starts for host in cloud.earth.hosts.values() for life in host.driver.lives()
                            if life.spec.machine == row.uuid) or status == 1  # fmt: skip

    run(cloud.clock, main())


@pytest.mark.parametrize("after", [0.0, 1.0, 2.9, 3.5])
def test_a_guest_that_is_stopped_on_its_way_is_stopped_once(after):
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            guest = await a_guest(cloud)
            _, there = await ends(cloud, guest)
            await begun(cloud, guest, there)
            await cloud.clock.sleep(after)

            def stop(tx: Tx) -> str:
                row = tx.get(tables.machine, guest)
                assert row is not None
                return open_job(tx, machines.want(tx, row, "stopped"))

            await over(cloud, await cloud.store.run(stop))
            await cloud.until(lambda tx: len(machines.placements_of(tx, guest)) == 1)
            await cloud.until(lambda tx: not tx.rows(tables.volume, "move_host_id is not null"))
            row = await cloud.row(tables.machine, guest)
            assert {row.host_id: False} == lives(cloud, row.uuid)
            assert [row.host_id] == [id_ for id_, host in cloud.earth.hosts.items() if await host.storage.volumes(())]

    run(cloud.clock, main())
