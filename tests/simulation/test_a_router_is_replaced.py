"""A router's next incarnation takes over beside the one that serves. Whatever dies in the middle, in the end one serves; one
that does not come to serve costs nothing but the job."""

import sqlalchemy as sa

from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import jobs, machines
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.queries.jobs import NewJob
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import ServiceFault
from tests.simulation.cloud import Cloud, running
from tests.simulation.faults import crash, everywhere
from tests.simulation.life import check
from tests.simulation.loop import run

EDGES = ("handover.begun", "handover.rested", "handover.taken")
FAULT = ServiceFault(service="dnsmasq", why="it does not start")


async def born(cloud: Cloud, *, apart: bool = False) -> int:
    """A router that serves. `apart`: its incarnations have kernels of their own."""
    zone = await cloud.zone(hosts=1, guests_only=True)
    host_of(cloud).driver.apart = apart
    network = await cloud.network(zone)
    await cloud.until(running(await cloud.guest(network, "g1")))
    (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
    await cloud.until(running(router.id))
    return int(router.id)


async def asked(cloud: Cloud, router: int) -> Row:
    """The job of a replacement, when it is over."""

    def ask(tx: Tx) -> str:
        row = tx.get(tables.machine, router)
        assert row is not None
        about = About("DomainRouter", row.id, row.uuid, row.name)
        part = machines.replace(tx, row)
        return jobs.open_job(tx, NewJob("rebootRouter", SYSTEM, (part,), {}, about, "ROUTER.REBOOT", "again"))

    uuid = await cloud.store.run(ask)
    found = "select id from job where uuid = :uuid and status <> 0"
    ((id_,),) = await cloud.until(lambda tx: tx.sql(found, uuid=uuid))
    return await cloud.row(tables.job, id_)


def serving(cloud: Cloud, uuid: str) -> list[int]:
    """The incarnations that answer guests."""
    hosts = cloud.earth.hosts.values()
    return [number for host in hosts for number in host.driver.incarnations(uuid) if host.agents.serves(uuid, number)]


def never_two(cloud: Cloud) -> None:
    """Ends the story badly when two serve. A task of the world says it: what a hook raises is a bug to the engine, which
    lives on."""
    machines_ = {machine for host in cloud.earth.hosts.values() for machine in host.driver.machines()}
    if any(len(serving(cloud, machine)) > 1 for machine in machines_):
        cloud.later(0.0, _two_serve)


async def _two_serve() -> None:
    raise AssertionError("two incarnations serve")


async def one_serves(cloud: Cloud, router: int) -> int:
    """The incarnation that serves, alone, and is the wanted one."""
    row = await cloud.row(tables.machine, router)
    table = tables.placement
    left = sa.select(table.c.id).where(table.c.machine_id == router, table.c.removed.is_(None))
    await cloud.until(lambda tx: len(tx.all(left)) == 1)
    assert [row.incarnation] == serving(cloud, row.uuid)
    await check(cloud)
    return int(row.incarnation)


def host_of(cloud: Cloud) -> SimulatedHost:
    """The only one."""
    (host,) = cloud.earth.hosts.values()
    return host


def test_nobody_is_without_a_router_while_it_is_replaced():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            job = await asked(cloud, router)
            assert (jobs.DONE, 2) == (job.status, await one_serves(cloud, router))
            acts = [act for act, _ in host_of(cloud).driver.acts]
            assert acts.index("ensure-stopped") > len(acts) - 1 - acts[::-1].index("ensure-running")

    run(cloud.clock, main())


def test_nobody_waits_for_the_last_connections_of_the_old_one():
    """The job is done when the new one serves; the old one goes when it carries nothing any more."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            host, row = host_of(cloud), await cloud.row(tables.machine, router)
            old = host.agents.inside(row.uuid, 1)
            assert old is not None
            old.carries = True
            began = cloud.clock.now()
            assert jobs.DONE == (await asked(cloud, router)).status
            assert cloud.clock.now() - began < 10
            await cloud.clock.sleep(100)
            assert ((1, 2), [2]) == (tuple(host.driver.incarnations(row.uuid)), serving(cloud, row.uuid))
            old.carries = False
            assert 2 == await one_serves(cloud, router)

    run(cloud.clock, main())


def test_one_that_does_not_serve_gives_it_back_and_the_job_says_why():
    """The next try is another incarnation."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            host_of(cloud).agents.fault_of_taking = lambda spec: (FAULT,) if spec.incarnation > 1 else ()
            job = await asked(cloud, router)
            assert (jobs.FAILED, True) == (job.status, "dnsmasq: it does not start" in job.result)
            assert 1 == await one_serves(cloud, router)
            host_of(cloud).agents.fault_of_taking = lambda spec: ()
            assert jobs.DONE == (await asked(cloud, router)).status
            assert 3 == await one_serves(cloud, router)

    run(cloud.clock, main())


def test_one_whose_agent_never_comes_goes_when_its_time_is_over():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await born(cloud)
            host_of(cloud).agents.boot_s = 1e6
            began = cloud.clock.now()
            job = await asked(cloud, router)
            assert (jobs.FAILED, True) == (job.status, "was not replaced" in job.result)
            assert 60 < cloud.clock.now() - began < 200
            assert 1 == await one_serves(cloud, router)

    run(cloud.clock, main())


async def told(cloud: Cloud) -> None:
    """The story of these faults."""
    await replaced(cloud, await born(cloud))


async def replaced(cloud: Cloud, router: int) -> None:
    """A replacement, which may have to be asked for twice."""
    for _ in range(3):
        job = await asked(cloud, router)
        incarnation = await one_serves(cloud, router)
        if job.status == jobs.DONE:
            assert incarnation > 1
            return
    raise AssertionError("it was never replaced")


async def kill_old(cloud: Cloud, _name: str) -> None:
    """The incarnation that served dies."""
    _kill(cloud, min)


async def kill_new(cloud: Cloud, _name: str) -> None:
    """The one that comes dies."""
    _kill(cloud, max)


def _kill(cloud: Cloud, which: object) -> None:
    host = host_of(cloud)
    for machine in host.driver.machines():
        numbers = host.driver.incarnations(machine)
        if len(numbers) > 1:
            host.kill_machine(machine, which(numbers))  # type: ignore[operator]


async def restart_agent(cloud: Cloud, _name: str) -> None:
    """The host agent dies and comes back."""
    host_of(cloud).restart_agent()
    cloud.cut_link(1, 1.0)


async def reboot(cloud: Cloud, _name: str) -> None:
    """The host, with everything on it."""
    host_of(cloud).reboot()
    cloud.cut_link(1, 20.0)


def test_a_server_that_dies_in_the_middle_of_a_handover():
    assert len(EDGES) <= everywhere(told, crash, at=EDGES)


def test_an_incarnation_that_dies_in_the_middle_of_a_handover():
    for strike in (kill_old, kill_new):
        assert len(EDGES) <= everywhere(told, strike, at=EDGES)


def test_a_host_that_dies_in_the_middle_of_a_handover():
    for strike in (restart_agent, reboot):
        assert len(EDGES) <= everywhere(told, strike, at=EDGES)
