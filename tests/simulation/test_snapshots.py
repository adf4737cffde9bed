"""Snapshots in a cloud whose server dies: a snapshot is whole or absent, a policy's is made once, and nothing is left over."""

import pytest

from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import snapshots, templates, turns
from sysvm.store.store import Tx
from sysvm.wire import link
from tests.simulation.cloud import OWNER, Cloud
from tests.simulation.faults import crash, everywhere
from tests.simulation.loop import run
from tests.simulation.volume_life import (
    a_policy,
    a_volume,
    deleted,
    gone_from_store,
    host_of,
    live,
    newest,
    open_job,
    over,
    taken,
    there,
)

ENDS = ("claimed", "before release", "released")
MIDDLES = {"snapshot": ("before take", "before send", "before delete"), "volume": ("before task",), "policy": ()}
POINTS = tuple(f"{kind} {what}" for kind, middle in MIDDLES.items() for what in (*ENDS, *middle))


def story(tell) -> None:
    """In a cloud without faults."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await tell(cloud)

    run(cloud.clock, main())


def test_the_life_of_a_volume():
    story(live)


def test_a_server_killed_anywhere_in_a_snapshots_life_loses_and_doubles_nothing():
    assert everywhere(live, crash, at=POINTS) > 60


def test_a_policy_keeps_so_many_and_makes_up_for_what_was_missed_once():
    async def main(cloud: Cloud) -> None:
        volume = await a_volume(cloud)
        policy = await a_policy(cloud, volume)
        for number in range(4):

            def long_due(tx: Tx) -> None:
                tx.update(tables.snapshot_policy, policy, next=tx.now - 100_000)
                turns.wish(tx, "policy", policy)

            await cloud.store.run(long_due)
            await cloud.until(lambda tx, at=number: len(tx.rows(tables.snapshot, "state = 'BackedUp'")) == at + 1)
        await cloud.until(lambda tx: len(tx.rows(tables.snapshot, "removed is null")) == 2)
        rows = await cloud.store.read(lambda tx: tx.rows(tables.snapshot, "0 = 0 order by id"))
        assert [True, True, False, False] == [row.removed is not None for row in rows]
        assert [True] * 4 == [row.stored for row in rows], "the later ones hold what has changed since the earlier ones"
        assert (await there(cloud, policy, tables.snapshot_policy)).next > cloud.clock.now()

    story(main)


def test_a_chain_ends_where_the_setting_says():
    async def main(cloud: Cloud) -> None:
        volume = await a_volume(cloud)
        await cloud.store.run(
            lambda tx: tx.insert(tables.setting, scope="global", scope_id=0, name="snapshot.delta.max", value="2", updated=tx.now)
        )
        rows = [await taken(cloud, volume, f"s{number}") for number in range(5)]
        assert [None, rows[0].id, rows[1].id, None, rows[3].id] == [row.parent_id for row in rows]

    story(main)


def test_a_template_is_made_of_a_snapshot_and_outlives_it():
    async def main(cloud: Cloud) -> None:
        volume = await a_volume(cloud)
        snapshot = await taken(cloud, volume, "s")

        def start(tx: Tx) -> tuple[int, str]:
            row = tx.get(tables.volume, volume)
            assert row is not None
            template = tx.insert(tables.template, uuid=cloud.ids.uuid(), name="t", format="QCOW2", created=tx.now, **OWNER)
            tx.insert(tables.template_copy, template_id=template, zone_id=row.zone_id, created=tx.now)
            _, part = snapshots.new(tx, cloud.ids, row, "t", snapshots.TEMPLATE, template_id=template, source_id=snapshot.id)
            return template, open_job(tx, part)

        template, job = await cloud.store.run(start)
        await deleted(cloud, snapshot)
        await over(cloud, job)
        made = await there(cloud, template, tables.template)
        ((copy),) = await cloud.store.read(lambda tx: templates.copies(tx, template))
        assert (made.sha256, "DOWNLOADED") == (host_of(cloud).storage.sent[made.uuid], copy.state)
        await cloud.until(lambda tx: snapshot.uuid in gone_from_store(cloud))
        await cloud.until(lambda tx: not tx.rows(tables.snapshot, "removed is null"))
        assert made.uuid not in gone_from_store(cloud)

    story(main)


def test_a_snapshot_that_cannot_be_made_is_given_up_with_its_reason():
    async def main(cloud: Cloud) -> None:
        volume = await a_volume(cloud)
        storage = host_of(cloud).storage
        perform = storage.perform

        async def broken(body, progress):
            if isinstance(body, link.TakeSnapshot):
                raise Refused("the disk is on fire")
            return await perform(body, progress)

        storage.perform = broken  # type: ignore[method-assign]

        def start(tx: Tx) -> tuple[int, str]:
            row = tx.get(tables.volume, volume)
            assert row is not None
            id_, part = snapshots.new(tx, cloud.ids, row, "s", "MANUAL")
            return id_, open_job(tx, part)

        id_, job = await cloud.store.run(start)
        ended = await over(cloud, job, status=2)
        row = await there(cloud, id_, tables.snapshot)
        assert ("Error", True) == (row.state, "the disk is on fire" in ended.result)
        (alert,) = await cloud.store.read(lambda tx: tx.rows(tables.alert, "type = 12"))
        assert "Delete it with deleteSnapshot" in alert.subject
        await deleted(cloud, row)
        storage.perform = perform  # type: ignore[method-assign]
        assert None is (await taken(cloud, volume, "again")).parent_id

    story(main)


@pytest.mark.parametrize("after", [0.5, 1.5, 2.5])
def test_a_host_agent_that_dies_meanwhile_costs_nothing(after: float):
    async def main(cloud: Cloud) -> None:
        volume = await a_volume(cloud)

        def start(tx: Tx) -> str:
            row = tx.get(tables.volume, volume)
            assert row is not None
            return open_job(tx, snapshots.new(tx, cloud.ids, row, "s", "MANUAL")[1])

        job = await cloud.store.run(start)
        await cloud.clock.sleep(after)
        host_of(cloud).restart_agent()  # its ledger is lost as well
        cloud.cut_link(next(iter(cloud.earth.hosts)), 1.0)
        await over(cloud, job)
        assert await cloud.until(lambda tx: newest(tx, volume, "MANUAL"))

    story(main)
