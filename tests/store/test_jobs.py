"""Jobs are done when each of their parts is, once, and never before. The same on both databases."""

import json

import sqlalchemy as sa

from sysvm.basics.ids import SystemIds
from sysvm.store import seed, tables
from sysvm.store.queries import jobs, settings
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.queries.jobs import NewJob, Part
from sysvm.store.secrets import Vault
from sysvm.store.store import Row
from tests.store.conftest import Stage


async def sown(stage: Stage) -> None:
    """Jobs belong to somebody."""
    await stage.store.run(lambda tx: seed.sow(tx, SystemIds(), Vault(b"k" * 32), version="test", admin_password_hash=seed.LOCKED))


async def open_job(stage: Stage, *parts: Part, **more: object) -> str:
    """A job that waits for these."""
    new = NewJob(
        command="startRouter", actor=SYSTEM, parts=parts, params={"id": 1}, about=About("DomainRouter", 1, "u", "r"),
        event_type="ROUTER.START", description="starting router", **more,
    )  # type: ignore[arg-type]  # fmt: skip
    return await stage.store.run(lambda tx: jobs.open_job(tx, new))


async def job(stage: Stage, uuid: str) -> Row:
    """The job's row."""
    row = await stage.store.read(lambda tx: tx.one(sa.select(tables.job).where(tables.job.c.uuid == uuid)))
    assert row is not None
    return row


async def status(stage: Stage, uuid: str) -> int:
    """0 pending, 1 done, 2 failed."""
    return int((await job(stage, uuid)).status)


async def settle(stage: Stage, id_: int, wish: int, outcome: str) -> None:
    """A machine has come to an outcome."""
    await stage.store.run(lambda tx: jobs.settle(tx, "machine", id_, wish, outcome))


async def test_a_job_waits_for_all_its_parts(stage: Stage):
    """The last one ends it."""
    await sown(stage)
    uuid = await open_job(stage, Part("machine", 1, 1, "running"), Part("machine", 2, 4, "stopped"))
    await settle(stage, 1, 1, "running")
    assert jobs.PENDING == await status(stage, uuid)
    await settle(stage, 2, 3, "stopped")  # an older wish: not what this job waits for
    assert jobs.PENDING == await status(stage, uuid)
    await settle(stage, 2, 5, "stopped")
    assert jobs.DONE == await status(stage, uuid)


async def test_many_jobs_are_ended_a_few_at_a_time(stage: Stage):
    """Oldest first; who settles is told whether some are left."""
    await sown(stage)
    uuids = [await open_job(stage, Part("machine", 1, wish, "live")) for wish in (1, 2, 3)]
    whole = [await stage.store.run(lambda tx: jobs.settle(tx, "machine", 1, 3, "live", most=2)) for _ in range(2)]
    assert [False, True] == whole
    assert [jobs.DONE] * 3 == [await status(stage, uuid) for uuid in uuids]


async def test_a_job_without_parts_is_done_at_once(stage: Stage):
    """Nothing has to become true."""
    await sown(stage)
    assert jobs.DONE == await status(stage, await open_job(stage))


async def test_another_outcome_supersedes(stage: Stage):
    """The older job fails and says so; the newer one is done."""
    await sown(stage)
    older = await open_job(stage, Part("machine", 1, 1, "running"))
    newer = await open_job(stage, Part("machine", 1, 2, "stopped"))
    await settle(stage, 1, 2, "stopped")
    assert (jobs.FAILED, jobs.DONE) == (await status(stage, older), await status(stage, newer))
    result = json.loads((await job(stage, older)).result)
    assert {"errorcode": 530, "errortext": "superseded: it is now stopped, not running"} == result


async def test_what_is_gone_ends_newer_jobs_too(stage: Stage):
    """It was wished away between a turn's claim and its look; there is no further turn that could end them."""
    await sown(stage)
    destroy = await open_job(stage, Part("machine", 1, 2, "gone"))
    start = await open_job(stage, Part("machine", 1, 3, "running"))
    await settle(stage, 1, 1, "gone")
    assert (jobs.DONE, jobs.FAILED) == (await status(stage, destroy), await status(stage, start))
    assert "it is now gone, not running" in (await job(stage, start)).result


async def test_a_running_machine_serves_who_waited_for_its_document(stage: Stage):
    """But a stopped one does not."""
    await sown(stage)
    live = await open_job(stage, Part("machine", 1, 1, "live"))
    await settle(stage, 1, 1, "running")
    assert jobs.DONE == await status(stage, live)


async def test_a_thing_that_is_given_up_fails_all_that_wait(stage: Stage):
    """With the reason; and a job that has failed stays failed."""
    await sown(stage)
    first = await open_job(stage, Part("machine", 1, 1, "running"), Part("machine", 2, 1, "running"))
    other = await open_job(stage, Part("machine", 2, 1, "running"))
    await stage.store.run(lambda tx: jobs.fail(tx, "machine", 1, "the disk is full"))
    assert (jobs.FAILED, jobs.PENDING) == (await status(stage, first), await status(stage, other))
    completed = (await job(stage, first)).completed
    await settle(stage, 2, 1, "running")
    assert jobs.FAILED == await status(stage, first)
    assert completed == (await job(stage, first)).completed
    assert "the disk is full" in (await job(stage, first)).result


async def test_events_tell_the_job_once(stage: Stage):
    """Scheduled, started, completed; settling again adds nothing."""
    await sown(stage)
    await open_job(stage, Part("machine", 1, 1, "running"))
    for _ in range(3):
        await settle(stage, 1, 1, "running")
    states = await stage.store.read(
        lambda tx: tx.all(sa.select(tables.event.c.state).where(tables.event.c.type == "ROUTER.START"))
    )
    assert ["Scheduled", "Started", "Completed"] == [row.state for row in states]


async def test_overdue_jobs_are_found(stage: Stage):
    """After the time that they are given when they are opened, while they are pending."""
    await sown(stage)
    await given(stage, jobs.DEADLINE, 1)
    late = await open_job(stage, Part("machine", 1, 1, "running"))
    await given(stage, jobs.DEADLINE, 2)
    await open_job(stage, Part("machine", 2, 1, "running"))
    assert [] == await stage.store.read(jobs.overdue)
    await stage.pass_time(61)
    assert [late] == [row.uuid for row in await stage.store.read(jobs.overdue)]
    await settle(stage, 1, 1, "running")
    assert [] == await stage.store.read(jobs.overdue)


async def given(stage: Stage, name: str, minutes: int) -> None:
    """A setting of so many minutes."""
    setting = settings.find(name)
    assert setting is not None
    await stage.store.run(lambda tx: settings.store(tx, setting, str(minutes)))


async def test_what_an_old_job_said_is_forgotten(stage: Stage):
    """Whatever it was: a password, say."""
    await sown(stage)
    uuid = await open_job(stage)
    assert jobs.DONE == await status(stage, uuid)
    found = []
    for minutes in (10, 1):
        await given(stage, jobs.EXPIRES, minutes)
        await stage.store.run(lambda tx: tx.sql("update job set completed = completed - 90"))
        await stage.store.run(jobs.forget_old)
        row = await job(stage, uuid)
        found.append((row.removed is not None, row.result is not None))
    assert [(False, True), (True, False)] == found
