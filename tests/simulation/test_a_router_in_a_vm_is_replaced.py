"""Like test_a_router_is_replaced.py, where incarnations have kernels and ports of their own: in the end one is heard, with the
connections of the one before it, whatever dies in the middle; at no fault point two are."""

import sqlalchemy as sa

from sysvm.orchestrator.turns import placing
from sysvm.store import tables
from sysvm.store.queries import jobs
from sysvm.store.store import Tx
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Strike, crash, everywhere
from tests.simulation.loop import run
from tests.simulation.test_a_router_is_replaced import (
    FAULT,
    asked,
    born,
    host_of,
    kill_new,
    kill_old,
    never_two,
    one_serves,
    reboot,
    replaced,
    restart_agent,
    serving,
)

EDGES = ("handover.begun", "handover.copied", "handover.frozen", "handover.rested", "handover.taken")


async def apart(cloud: Cloud) -> int:
    """A router in a VM that serves, with a connection that its kernel tracks."""
    router = await born(cloud, apart=True)
    row = await cloud.row(tables.machine, router)
    inside = host_of(cloud).agents.inside(row.uuid, 1)
    assert inside is not None
    inside.connections = {b"a stream"}
    return router


def test_nobody_is_without_a_router_while_it_is_replaced():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await apart(cloud)
            host, row = host_of(cloud), await cloud.row(tables.machine, router)
            job = await asked(cloud, router)
            assert (jobs.DONE, 2) == (job.status, await one_serves(cloud, router))
            inside = host.agents.inside(row.uuid, 2)
            assert inside is not None and inside.connections == {b"a stream"}
            acts = [act for act, _ in host.driver.acts]
            assert acts.index("ensure-stopped") > len(acts) - 1 - acts[::-1].index("ensure-running")

    run(cloud.clock, main())


def test_one_that_does_not_serve_gives_it_back_and_the_job_says_why():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await apart(cloud)
            host_of(cloud).agents.fault_of_taking = lambda spec: (FAULT,) if spec.incarnation > 1 else ()
            job = await asked(cloud, router)
            assert (jobs.FAILED, True) == (job.status, "dnsmasq: it does not start" in job.result)
            assert 1 == await one_serves(cloud, router)

    run(cloud.clock, main())


def test_one_whose_predecessor_is_dead_begins_as_the_only_one():
    """There is nobody to take over from; what its ports were shut for is over."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            router = await apart(cloud)
            host, row = host_of(cloud), await cloud.row(tables.machine, router)
            host.agents.boot_s = 30.0
            cloud.later(5.0, lambda: _dies(cloud, row.uuid))
            assert jobs.DONE == (await asked(cloud, router)).status
            assert 2 == await one_serves(cloud, router)

    run(cloud.clock, main())


async def _dies(cloud: Cloud, machine: str) -> None:
    assert [1] == serving(cloud, machine)
    host_of(cloud).kill_machine(machine, 1)


def test_a_vm_has_its_next_incarnation_beside_it_where_its_host_has_memory_for_two():
    """Not one that becomes a container, nor one for whose host there is no second one's memory."""
    cloud = Cloud()

    def beside(tx: Tx, router: int, runtime: str, free_mb: int) -> bool:
        host = tx.all(sa.select(tables.host))[0]
        facts = {**host.facts, "hypervisors": ["KVM", "LXC"]}
        tx.update(tables.host, host.id, memory_free_mb=free_mb, hypervisor="KVM", facts=facts)
        tx.update(tables.machine, router, hypervisor="", runtime="vm")
        tx.sql("delete from setting where name = 'systemvm.runtime'")
        tx.insert(tables.setting, scope="global", scope_id=0, name="systemvm.runtime", value=runtime, updated=tx.now)
        row = tx.get(tables.machine, router)
        assert row is not None
        return placing.has_room_beside(tx, row, host.id)

    async def main() -> None:
        async with cloud.world():
            async with cloud.running_server():
                router = await born(cloud)
            found = [
                await cloud.store.run(lambda tx, case=case: beside(tx, router, *case))  # type: ignore[misc]
                for case in (("vm", 4096), ("vm", 100), ("container", 4096))
            ]
            assert [True, False, False] == found

    run(cloud.clock, main())


async def told(cloud: Cloud) -> None:
    """The story of these faults."""
    await replaced(cloud, await apart(cloud))


def alone(strike: Strike) -> Strike:
    """The fault, and at its instant at most one is heard."""

    async def struck(cloud: Cloud, name: str) -> None:
        never_two(cloud)
        await strike(cloud, name)
        never_two(cloud)

    return struck


def test_a_server_that_dies_in_the_middle_of_a_handover():
    assert len(EDGES) <= everywhere(told, alone(crash), at=EDGES)


def test_an_incarnation_that_dies_in_the_middle_of_a_handover():
    for strike in (kill_old, kill_new):
        assert len(EDGES) <= everywhere(told, alone(strike), at=EDGES)


def test_a_host_that_dies_in_the_middle_of_a_handover():
    for strike in (restart_agent, reboot):
        assert len(EDGES) <= everywhere(told, alone(strike), at=EDGES)
