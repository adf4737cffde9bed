"""What a host agent must not forget: fences, epoch, tasks."""

import asyncio

import msgspec
import pytest

from sysvm.basics.clock import VirtualClock
from sysvm.basics.errors import NotYet, Refused, Stale
from sysvm.basics.tasks import Tasks
from sysvm.hosts.memory import FORGET_S, DurableMemory
from sysvm.hosts.work import Work
from sysvm.wire import link
from sysvm.wire.machines import OperationState

BODY = link.EnsureVolume(pool="/p", volume="v", size=1, format="qcow2")


class Storage:
    """Pools whose every task waits until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.errors: list[Exception] = []

    async def perform(self, body, progress):
        self.begun += 1
        if self.errors:
            raise self.errors.pop(0)
        progress(0.5)
        await self.go.wait()
        return link.VolumeMade(size=1)

    async def images(self, pools):
        return ()

    async def volumes(self, pools):
        return ()


async def settle() -> None:
    """Everything that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_fence_survives_and_a_lower_one_is_stale(tmp_path):
    clock = VirtualClock()
    memory = DurableMemory(tmp_path, clock)
    memory.raise_fence("m", 5)
    memory.raise_fence("m", 5)
    again = DurableMemory(tmp_path, clock)
    assert (again.fence("m"), again.fence("other")) == (5, 0)
    with pytest.raises(Stale):
        again.raise_fence("m", 4)
    assert again.fence("m") == 5


def test_an_epoch_survives_and_never_falls(tmp_path):
    clock = VirtualClock()
    memory = DurableMemory(tmp_path, clock)
    for epoch in (2, 3, 1):
        memory.raise_epoch(epoch)
    assert DurableMemory(tmp_path, clock).epoch == 3


def test_fences_of_machines_that_are_long_gone_are_dropped_and_a_torn_write_is_none(tmp_path):
    memory = DurableMemory(tmp_path, VirtualClock())
    memory.raise_fence("m", 5)
    (tmp_path / ".m.new").write_text("6")
    written = (tmp_path / "m").stat().st_mtime
    assert DurableMemory(tmp_path, VirtualClock(written + FORGET_S - 1)).fence("m") == 5
    assert DurableMemory(tmp_path, VirtualClock(written + FORGET_S + 1)).fence("m") == 0


async def test_a_task_is_started_once_and_its_end_is_kept(tmp_path):
    storage, told = Storage(), []
    async with Tasks() as tasks:
        work = Work(storage, tasks, VirtualClock(), told.append, tmp_path)
        for _ in range(2):
            assert work.ensure("t", BODY).state is OperationState.RUNNING
        with pytest.raises(Refused):
            work.ensure("t", msgspec.structs.replace(BODY, size=2))
        await settle()
        assert work.ensure("t", BODY).progress == 0.5
        storage.go.set()
        await settle()
        seen = work.ensure("t", BODY)
        assert (seen.state, msgspec.msgpack.decode(seen.result, type=link.VolumeMade).size) == (OperationState.DONE, 1)
        assert storage.begun == 1
        assert [notice.task.progress for notice in told] == [0.5, 1.0]


async def test_a_task_of_a_dead_agent_is_started_again_and_a_finished_one_is_not(tmp_path):
    storage = Storage()
    async with Tasks() as tasks:
        work = Work(storage, tasks, VirtualClock(), lambda notice: None, tmp_path)
        work.ensure("unfinished", BODY)
        await settle()
        tasks.stop()
    storage.go.set()
    async with Tasks() as tasks:
        work = Work(storage, tasks, VirtualClock(), lambda notice: None, tmp_path)
        work.resume()
        await settle()
        assert work.ensure("unfinished", BODY).state is OperationState.DONE
    assert storage.begun == 2
    async with Tasks() as tasks:
        work = Work(storage, tasks, VirtualClock(), lambda notice: None, tmp_path)
        work.resume()
        assert [seen.state for seen in work.seen()] == [OperationState.DONE]
    assert storage.begun == 2


async def test_what_is_not_yet_possible_is_tried_again_and_what_is_refused_is_not(tmp_path):
    storage, clock = Storage(), VirtualClock()
    storage.go.set()
    async with Tasks() as tasks:
        work = Work(storage, tasks, clock, lambda notice: None, tmp_path)
        storage.errors = [NotYet(3, "busy"), NotYet(3, "busy")]
        work.ensure("later", BODY)
        for _ in range(3):
            await settle()
            clock.advance(3)
        await settle()
        assert (work.ensure("later", BODY).state, storage.begun) == (OperationState.DONE, 3)
        storage.errors = [Refused("no room")]
        work.ensure("never", BODY)
        await settle()
        seen = work.ensure("never", BODY)
        assert (seen.state, seen.error, storage.begun) == (OperationState.FAILED, "no room", 4)


async def test_forgetting_stops_a_task_and_takes_it_from_the_disk(tmp_path):
    storage = Storage()
    async with Tasks() as tasks:
        work = Work(storage, tasks, VirtualClock(), lambda notice: None, tmp_path)
        work.ensure("t", BODY)
        await settle()
        for _ in range(2):
            await work.forget("t")
        assert (work.seen(), list(tmp_path.iterdir())) == ((), [])
