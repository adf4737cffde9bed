"""A router's life with a server that is killed at every fault point of it, one after another, all of them. Whatever happens,
the story comes to its end, nothing is doubled and nothing is left."""

from tests.simulation.cloud import Cloud
from tests.simulation.faults import Counter, crash, everywhere, mortal_server
from tests.simulation.life import live
from tests.simulation.loop import run


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


def test_a_server_killed_at_any_fault_point_loses_nothing():
    """At each instant of it."""
    assert everywhere(live, crash) > 50
