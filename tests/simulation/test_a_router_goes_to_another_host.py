"""A router goes to another host while it serves: in the end one serves, with the connections of the one before it, whatever dies
in the middle, and at no fault point two do. One that cannot go costs nothing but the job."""

from collections.abc import Callable

import sqlalchemy as sa

from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import jobs, machines, turns
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.queries.jobs import NewJob
from sysvm.store.store import Row, Tx
from sysvm.systemvms import maintenance
from tests.simulation.cloud import Cloud, running
from tests.simulation.faults import Strike, crash, everywhere
from tests.simulation.loop import run
from tests.simulation.test_a_router_is_replaced import FAULT, never_two, one_serves, serving

EDGES = (
    "handover.begun", "handover.copied", "handover.frozen", "handover.shut", "handover.silent", "handover.rested",
    "handover.taken", "handover.answered",
)  # fmt: skip


async def born(cloud: Cloud, *, apart: bool = False) -> int:
    """A router that serves on one of two hosts, with a connection that its kernel tracks."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    for host in cloud.earth.hosts.values():
        host.driver.apart = apart
    network = await cloud.network(zone)
    await cloud.until(running(await cloud.guest(network, "g1")))
    (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
    await cloud.until(running(router.id))
    row = await cloud.row(tables.machine, router.id)
    inside = cloud.earth.hosts[row.host_id].agents.inside(row.uuid, 1)
    assert inside is not None
    inside.connections = {b"a stream"}
    return int(router.id)


async def asked(cloud: Cloud, router: int) -> Row:
    """The job of a move to the host that it is not on, when it is over."""

    def ask(tx: Tx) -> str:
        row = tx.get(tables.machine, router)
        assert row is not None
        other = next(host for host in tx.all(sa.select(tables.host)) if host.id != row.host_id)
        part = machines.replace(tx, row, host_id=other.id)
        about = About("DomainRouter", row.id, row.uuid, row.name)
        return jobs.open_job(tx, NewJob("migrateSystemVm", SYSTEM, (part,), {}, about, "ROUTER.MIGRATE", "away"))

    uuid = await cloud.store.run(ask)
    found = "select id from job where uuid = :uuid and status <> 0"
    ((id_,),) = await cloud.until(lambda tx: tx.sql(found, uuid=uuid))
    return await cloud.row(tables.job, id_)


async def hosts_of(cloud: Cloud, router: int) -> tuple[SimulatedHost, SimulatedHost]:
    """The one that has it, and the other one."""
    row = await cloud.row(tables.machine, router)
    (other,) = [host for id_, host in cloud.earth.hosts.items() if id_ != row.host_id]
    return cloud.earth.hosts[row.host_id], other


async def nothing_is_left(cloud: Cloud, router: int) -> None:
    """One serves, on the host that its row names; nothing of it is on the other one, not even a note."""
    await one_serves(cloud, router)
    row = await cloud.row(tables.machine, router)
    here, other = await hosts_of(cloud, router)
    assert ({row.incarnation}, set()) == (set(here.driver.incarnations(row.uuid)), set(other.driver.incarnations(row.uuid)))
    assert (None, False) == (other.journal.entry(row.uuid), other.driver.keeps_network_of(row.uuid))
    table = tables.control_ip
    held = sa.select(table.c.host_id).where(table.c.machine_id == router)
    assert [row.host_id] == [one.host_id for one in await cloud.store.read(lambda tx: tx.all(held))]


def test_nobody_is_without_a_router_while_it_goes_to_another_host():
    """It serves there before the old one is stopped, knows its connections, and its job is done."""
    for apart in (False, True):
        cloud = Cloud()

        async def main(cloud: Cloud = cloud, apart: bool = apart) -> None:
            async with cloud.server():
                router = await born(cloud, apart=apart)
                old, new = await hosts_of(cloud, router)
                assert jobs.DONE == (await asked(cloud, router)).status
                await nothing_is_left(cloud, router)
                assert (new, old) == await hosts_of(cloud, router)
                row = await cloud.row(tables.machine, router)
                inside = new.agents.inside(row.uuid, 2)
                assert inside is not None and inside.connections == {b"a stream"}

        run(cloud.clock, main())


def test_a_host_goes_into_maintenance_and_its_router_serves_all_the_time():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            row = await cloud.row(tables.machine, router)
            silent = 0.0
            await cloud.store.run(lambda tx: _maintain(tx, row.host_id))
            while (await cloud.row(tables.host, row.host_id)).resource_state != maintenance.DONE:
                served = serving(cloud, row.uuid)
                assert len(served) < 2
                silent += 0.0 if served else 0.1
                await cloud.clock.sleep(0.1)
            assert silent <= 0.2
            await nothing_is_left(cloud, router)

    run(cloud.clock, main())


def _maintain(tx: Tx, host_id: int) -> None:
    tx.update(tables.host, host_id, resource_state=maintenance.PREPARING)
    turns.wish(tx, "maintenance", host_id)


def test_one_that_does_not_serve_there_gives_it_back_and_the_job_says_why():
    """The next try is another incarnation."""
    for apart in (False, True):
        cloud = Cloud()

        async def main(cloud: Cloud = cloud, apart: bool = apart) -> None:
            async with cloud.server():
                router = await born(cloud, apart=apart)
                old, new = await hosts_of(cloud, router)
                new.agents.fault_of_taking = lambda spec: (FAULT,)
                job = await asked(cloud, router)
                assert (jobs.FAILED, True) == (job.status, "dnsmasq: it does not start" in job.result)
                await nothing_is_left(cloud, router)
                assert (old, new) == await hosts_of(cloud, router)
                new.agents.fault_of_taking = lambda spec: ()
                assert jobs.DONE == (await asked(cloud, router)).status
                await nothing_is_left(cloud, router)

        run(cloud.clock, main())


def test_one_whose_host_cannot_be_reached_by_the_other_stays():
    """It is the hosts' own way that is broken; each has its link to the server."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            old, _ = await hosts_of(cloud, router)
            old.unreached = "no route to host"
            job = await asked(cloud, router)
            assert (jobs.FAILED, True) == (job.status, "no route to host" in job.result)
            await nothing_is_left(cloud, router)

    run(cloud.clock, main())


def test_one_whose_agent_never_comes_goes_when_its_time_is_over():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            old, new = await hosts_of(cloud, router)
            new.agents.boot_s = 1e6
            job = await asked(cloud, router)
            assert (jobs.FAILED, True) == (job.status, "was not replaced" in job.result)
            await nothing_is_left(cloud, router)
            assert (old, new) == await hosts_of(cloud, router)

    run(cloud.clock, main())


def test_one_that_is_asked_to_stop_in_the_middle_stops_and_starts_again():
    async def story(cloud: Cloud) -> None:
        router = await born(cloud)
        await cloud.store.run(lambda tx: _go(tx, router))
        await cloud.clock.sleep(30)
        await cloud.store.run(lambda tx: machines.want(tx, tx.get(tables.machine, router), "running"))  # type: ignore[arg-type]
        await cloud.until(running(router))
        await nothing_is_left(cloud, router)

    async def stop(cloud: Cloud, _name: str) -> None:
        await cloud.store.run(_stop_router)

    for strike in (stop, crash):
        assert len(EDGES) <= everywhere(story, alone(strike), at=EDGES)


def test_one_that_cannot_come_back_to_its_host_leaves_nothing_there():
    """It is stopped first, and begins elsewhere: what is kept of its network would go on answering for its addresses."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            old, new = await hosts_of(cloud, router)
            await cloud.store.run(lambda tx: _elsewhere(tx, router))
            await cloud.until(running(router))
            assert (new, old) == await hosts_of(cloud, router)
            await nothing_is_left(cloud, router)

    run(cloud.clock, main())


def _elsewhere(tx: Tx, router: int) -> None:
    row = tx.get(tables.machine, router)
    assert row is not None
    tx.update(tables.host, row.host_id, resource_state="Disabled")
    machines.replace(tx, row, forced=True)


def _go(tx: Tx, router: int) -> None:
    row = tx.get(tables.machine, router)
    assert row is not None
    other = next(host for host in tx.all(sa.select(tables.host)) if host.id != row.host_id)
    machines.replace(tx, row, host_id=other.id)


def _stop_router(tx: Tx) -> None:
    (row,) = tx.rows(tables.machine, "kind = 'router' and removed is null")
    machines.want(tx, row, "stopped")


# ---------------------------------------------------------------- with faults
async def told(cloud: Cloud, *, apart: bool = False) -> None:
    """The story of these faults: a move, which may have to be asked for again."""
    router = await born(cloud, apart=apart)
    for _ in range(3):
        before = (await cloud.row(tables.machine, router)).host_id
        job = await asked(cloud, router)
        await nothing_is_left(cloud, router)
        if job.status == jobs.DONE:
            assert before != (await cloud.row(tables.machine, router)).host_id
            return
        await cloud.clock.sleep(20)  # what was in the way is over by then
    raise AssertionError("it never went")


async def told_of_vms(cloud: Cloud) -> None:
    """The same, with routers in VMs."""
    await told(cloud, apart=True)


STORIES = (told, told_of_vms)


def alone(strike: Strike) -> Strike:
    """The fault, and at its instant at most one is heard."""

    async def struck(cloud: Cloud, name: str) -> None:
        never_two(cloud)
        await strike(cloud, name)
        never_two(cloud)
        cloud.later(0.0, lambda: _watch(cloud))

    return struck


async def _watch(cloud: Cloud) -> None:
    """From then on, too."""
    for _ in range(2400):
        never_two(cloud)
        await cloud.clock.sleep(0.05)


def _at(cloud: Cloud, index: int) -> tuple[SimulatedHost, int, str, int] | None:
    """Host, its id, machine and incarnation of the router's older (0) or newer (-1) incarnation."""
    found = [
        (number, id_, machine)
        for id_, host in cloud.earth.hosts.items()
        for machine in host.driver.machines()
        for number in host.driver.incarnations(machine)
        if host.agents.inside(machine, number) is not None and host.agents.inside(machine, number).ready  # type: ignore[union-attr]
    ]
    if not found:
        return None
    number, id_, machine = sorted(found)[index]
    return cloud.earth.hosts[id_], id_, machine, number


def _on(index: int, act: Callable[[Cloud, tuple[SimulatedHost, int, str, int]], None]) -> Strike:
    """What befalls the host of an incarnation, if there is one."""

    async def strike(cloud: Cloud, _name: str) -> None:
        if found := _at(cloud, index):
            act(cloud, found)

    return strike


def kill(index: int) -> Strike:
    """An incarnation dies."""
    return _on(index, lambda _cloud, found: found[0].kill_machine(found[2], found[3]))


def restart_agent(index: int) -> Strike:
    """The agent of a host dies and comes back."""
    return _on(index, lambda cloud, found: (found[0].restart_agent(), cloud.cut_link(found[1], 1.0))[1])


def reboot(index: int) -> Strike:
    """A host, with everything on it."""
    return _on(index, lambda cloud, found: (found[0].reboot(), cloud.cut_link(found[1], 20.0))[1])


def cut(index: int) -> Strike:
    """A host's link to the server."""
    return _on(index, lambda cloud, found: cloud.cut_link(found[1], 15.0))


async def part(cloud: Cloud, _name: str) -> None:
    """The way between the hosts, for good: whoever tries again tries in vain, until it is mended."""
    for host in cloud.earth.hosts.values():
        host.unreached = "no route to host"
    cloud.later(15.0, lambda: _mend(cloud))


async def _mend(cloud: Cloud) -> None:
    for host in cloud.earth.hosts.values():
        host.unreached = ""


def test_a_server_that_dies_in_the_middle():
    for story in STORIES:
        assert len(EDGES) <= everywhere(story, alone(crash), at=EDGES)


def test_an_incarnation_that_dies_in_the_middle():
    for story in STORIES:
        for index in (0, -1):
            assert len(EDGES) <= everywhere(story, alone(kill(index)), at=EDGES)


def test_a_host_that_dies_in_the_middle():
    for story in STORIES:
        for index in (0, -1):
            for strike in (restart_agent, reboot):
                assert len(EDGES) <= everywhere(story, alone(strike(index)), at=EDGES)


def test_ways_that_are_cut_in_the_middle():
    for strike in (cut(0), cut(-1), part):
        assert len(EDGES) <= everywhere(told, alone(strike), at=EDGES)
