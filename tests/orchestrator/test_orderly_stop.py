"""A server that is told to stop stops, whatever its workers are doing in that moment."""

import asyncio

import pytest

from sysvm.orchestrator.engine import Engine
from sysvm.orchestrator.session import Sessions
from sysvm.store.queries import sessions, turns
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run

LAPS = range(40)  # of the event loop: more than an engine needs from waking up to its next rest


async def laps(count: int) -> None:
    """So many."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ends(task: "asyncio.Task[None]") -> bool:
    """Whether it does when it is told once. One that goes on is told until it does."""
    told = 0
    while not task.done():
        task.cancel()
        told += 1
        await asyncio.wait((task,), timeout=1)
    return task.cancelled() and told == 1


@pytest.mark.parametrize("lap", LAPS)
def test_an_engine_that_is_told_to_stop_as_it_wakes_up_stops(lap: int):
    cloud = Cloud()

    async def story() -> None:
        async with cloud.world():
            begun = await cloud._begin(alone=True)
            working = asyncio.ensure_future(Engine(begun.context, {}, seed=1).run())
            await cloud.clock.sleep(1)
            await cloud.store.run(lambda tx: turns.wish(tx, "unknown", 1, after=60.0))
            await laps(lap)
            assert await ends(working)

    run(cloud.clock, story())


@pytest.mark.parametrize("lap", LAPS)
def test_a_server_that_is_told_to_stop_as_it_loses_its_session_begins_no_other(lap: int):
    cloud = Cloud()

    async def story() -> None:
        async with cloud.world():
            begun = await cloud._begin(alone=True)
            ours = Sessions(begun.context, sessions.Server("server", "server", "", "test"), (), seed=1)
            working = asyncio.ensure_future(ours.run())
            await cloud.store.run(lambda tx: turns.close_session(tx, begun.context.session))
            await cloud.clock.sleep(turns.SESSION_BEAT_S)
            await laps(lap)
            assert await ends(working)

    run(cloud.clock, story())
