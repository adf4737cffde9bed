"""A server that stands still at a fault point while another one takes over, and then wakes: it must change nothing.

This is what fences are for: it still believes that its turns are its own.
"""

from sysvm.store.queries.turns import SESSION_TTL_S
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Forks, Pause, paused_server
from tests.simulation.life import check, live
from tests.simulation.loop import run


def tell(at: tuple[str, ...] = ()) -> int:
    """Lives the life with a server that falls asleep: at each instant, or at fault points `at`. How often it did."""
    cloud = Cloud()
    pause = Pause()
    forks = Forks(cloud, pause.strike, at=at, then=pause)

    async def main() -> None:
        async with cloud.world(), paused_server(cloud, forks, pause) as first:
            await live(cloud)
            if not forks.child:
                return
            await cloud.clock.sleep(SESSION_TTL_S + 5)  # when it fell asleep at the very end
            before = await _everything(cloud)
            pause.wake()
            await cloud.clock.sleep(30)
            await check(cloud)
            assert before == await _everything(cloud)
            assert first.done(), "a server whose session is over must end itself"

    return forks.tell(lambda: run(cloud.clock, main()))


async def _everything(cloud: Cloud) -> list[object]:
    """What hosts have and what rows say; but not who works on what."""
    hosts = [await host.inventory() for host in cloud.earth.hosts.values()]
    rows = await cloud.store.read(
        lambda tx: [tx.sql(f"select * from {name} order by id") for name in ("machine", "placement", "network", "nic")]
    )
    return [*hosts, *rows]


def test_a_server_that_wakes_late_changes_nothing():
    """The story ends well without it, and stays ended when it wakes, wherever it fell asleep."""
    assert tell() > 50
