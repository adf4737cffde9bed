"""A router's life with a server that is killed, or paused and woken late, at every fault point of it: one after another,
all of them. Whatever happens, the story comes to its end, nothing is doubled and nothing is left."""

import pytest

from tests.simulation.cloud import Cloud
from tests.simulation.faults import Counter, crash, mortal_server
from tests.simulation.life import live
from tests.simulation.loop import run


def tell(due: int | None) -> tuple[int, int]:
    """Lives the life with a server that dies at fault point `due`: how many it passed, how often it died."""
    cloud = Cloud()
    counter = Counter(due, crash)

    async def main() -> int:
        async with cloud.world(), mortal_server(cloud, counter) as mortal:
            await live(cloud)
            return mortal.deaths

    return len(counter.passed), run(cloud.clock, main())


def test_without_faults_there_are_many_fault_points():
    """The story passes enough of them to be worth killing at."""
    counter = Counter()
    cloud = Cloud()

    async def main() -> None:
        async with cloud.world(), mortal_server(cloud, counter):
            await live(cloud)

    run(cloud.clock, main())
    kinds = set(counter.passed)
    assert len(counter.passed) > 100
    assert {"placement before act", "placement after act", "host.call.sent", "machine before release"} <= kinds


def fault_points() -> int:
    """How many fault points the story without faults has."""
    counter = Counter()
    cloud = Cloud()

    async def main() -> None:
        async with cloud.world(), mortal_server(cloud, counter):
            await live(cloud)

    run(cloud.clock, main())
    return len(counter.passed)


@pytest.mark.parametrize("tenth", range(10))
def test_a_server_killed_at_any_fault_point_loses_nothing(tenth: int):
    """Every fault point once, a tenth of them in each case."""
    for due in range(tenth + 1, fault_points() + 1, 10):
        _, deaths = tell(due)
        assert 1 == deaths, f"it should have died at fault point {due}"
