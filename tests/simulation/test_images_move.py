"""Images move between the stores of a zone, while their secondary storage VM comes and goes."""

import msgspec
import pytest

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.store.queries import jobs, machines, storage_pools, templates
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from tests.simulation.cloud import OWNER, Cloud
from tests.simulation.loop import run


async def images(cloud: Cloud, count: int) -> int:
    """A zone whose first store has so many images, and a second store; the second store's id."""
    zone = await cloud.zone()

    def register(tx: Tx) -> int:
        for number in range(count):
            template = tx.insert(
                tables.template, uuid=cloud.ids.uuid(), name=f"t{number}", format="QCOW2", url=f"http://x/{number}",
                created=tx.now, **OWNER,
            )  # fmt: skip
            templates.want_copy(tx, template, zone)
        return tx.insert(
            tables.image_store, uuid=cloud.ids.uuid(), zone_id=zone, name="s2", url="file:///s2", protocol="file", created=tx.now
        )

    second = await cloud.store.run(register)
    await cloud.until(lambda tx: all(copy.state == "DOWNLOADED" for copy in copies(tx)))
    return second


def copies(tx: Tx) -> list[Row]:
    """Every copy of ours that is there; the system VMs' own template came with the hosts."""
    return tx.rows(tables.template_copy, "removed is null and state != 'BYPASSED' order by id")


async def move(cloud: Cloud, store: int) -> str:
    """A job that moves everything to the store."""

    def start(tx: Tx) -> str:
        parts = tuple(storage_pools.move_image(tx, copy.id, store) for copy in copies(tx))
        return jobs.open_job(tx, jobs.NewJob("m", SYSTEM, parts, {}, About("ImageStore", 1, "u"), "", ""))

    return await cloud.store.run(start)


async def ended(cloud: Cloud, uuid: str) -> Row:
    """The job when it is over."""
    (job,) = await cloud.until(lambda tx: tx.rows(tables.job, "uuid = :uuid and status != 0", uuid=uuid))
    return job


def heard(cloud: Cloud) -> list[msgspec.Struct]:
    """What the agents are asked to work on from now on."""
    asked: list[msgspec.Struct] = []
    for host in cloud.earth.hosts.values():

        def outcome(body: channel.TaskBody) -> msgspec.Struct:
            asked.append(body)
            return usual_outcome(body)

        host.agents.outcome = outcome
    return asked


def test_images_are_copied_then_deleted_where_they_were():
    """The job is done when all are where they shall be."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            second = await images(cloud, 3)
            asked = heard(cloud)
            job = await ended(cloud, await move(cloud, second))
            assert 1 == job.status, job.result
            rows = await cloud.store.read(copies)
            assert [(second, None, None)] * 3 == [(r.store_id, r.wanted_store_id, r.left_store_id) for r in rows]
            one = [type(body).__name__ for body in asked if body.image == asked[0].image]
            assert ["CopyImage", "DeleteImage"] == one

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_copy_that_fails_leaves_the_image_where_it_is():
    """The job says why; the image is not deleted anywhere."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            second = await images(cloud, 1)
            asked: list[msgspec.Struct] = []

            def refuse(body: channel.TaskBody) -> msgspec.Struct:
                asked.append(body)
                raise Refused("the image store is full")

            for host in cloud.earth.hosts.values():
                host.agents.outcome = refuse
            job = await ended(cloud, await move(cloud, second))
            assert (2, True) == (job.status, "the image store is full" in job.result)
            ((copy,), (alert,)) = await cloud.store.read(lambda tx: (copies(tx), tx.rows(tables.alert, "type = 12")))
            assert (1, None, "DOWNLOADED") == (copy.store_id, copy.wanted_store_id, copy.state)
            assert "could not be moved to image store s2" in alert.subject
            assert ["CopyImage"] == [type(body).__name__ for body in asked]

    cloud = Cloud()
    run(cloud.clock, main(cloud))


@pytest.mark.parametrize("after", [0.0, 1.0, 2.5])
def test_a_secondary_storage_vm_that_is_replaced_meanwhile_costs_nothing(after: float):
    """Its successor takes the work up, whatever of it was done."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            second = await images(cloud, 2)
            uuid = await move(cloud, second)
            await cloud.clock.sleep(after)

            def replace(tx: Tx) -> None:
                (machine,) = tx.rows(tables.machine, "kind = 'secstorage' and removed is null")
                machines.replace(tx, machine)

            await cloud.store.run(replace)
            assert 1 == (await ended(cloud, uuid)).status
            rows = await cloud.store.read(copies)
            assert [(second, None, None)] * 2 == [(r.store_id, r.wanted_store_id, r.left_store_id) for r in rows]

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_an_image_that_is_deleted_while_it_moves_is_deleted_at_both_ends():
    """Nothing of it stays on a store."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            second = await images(cloud, 1)
            asked = heard(cloud)
            await move(cloud, second)
            await cloud.clock.sleep(1.0)

            def drop(tx: Tx) -> None:
                templates.drop_copies(tx, copies(tx)[0].template_id)

            await cloud.store.run(drop)
            await cloud.until(lambda tx: not copies(tx))
            deleted = {body.store for body in asked if isinstance(body, channel.DeleteImage)}
            assert 2 == len(deleted)

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_an_image_that_could_not_be_deleted_is_deleted_later():
    """The store was away; the agent is asked again, and does not only tell what came of it the first time."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            await images(cloud, 1)
            asked: list[msgspec.Struct] = []

            def outcome(body: channel.TaskBody) -> msgspec.Struct:
                asked.append(body)
                if len(asked) == 1:
                    raise Refused("the image store cannot be written")
                return usual_outcome(body)

            for host in cloud.earth.hosts.values():
                host.agents.outcome = outcome

            def drop(tx: Tx) -> None:
                templates.drop_copies(tx, copies(tx)[0].template_id)

            await cloud.store.run(drop)
            await cloud.until(lambda tx: not copies(tx))
            assert ["DeleteImage"] * 2 == [type(body).__name__ for body in asked]

    cloud = Cloud()
    run(cloud.clock, main(cloud))
