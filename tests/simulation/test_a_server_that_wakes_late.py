"""A server that stands still at a fault point while another one takes over, and then wakes: it must change nothing.

This is what fences are for: it still believes that its turns are its own.
"""

import pytest

from sysvm.store.queries.turns import SESSION_TTL_S
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Pause, paused_server
from tests.simulation.life import check, live
from tests.simulation.loop import run

STEP = 12  # every twelfth fault point, another one in each of the cases


def tell(at: int) -> bool:
    """Lives the life with a server that sleeps at fault point `at`; whether it got there."""
    cloud = Cloud()
    pause = Pause(at)

    async def main() -> bool:
        async with cloud.world(), paused_server(cloud, pause) as first:
            await live(cloud)
            if not pause.asleep.is_set():
                return False
            await cloud.clock.sleep(SESSION_TTL_S + 5)  # when it fell asleep at the very end
            before = await _everything(cloud)
            pause.wake()
            await cloud.clock.sleep(30)
            await check(cloud)
            assert before == await _everything(cloud)
            assert first.done(), "a server whose session is over must end itself"
            return True

    return run(cloud.clock, main())


async def _everything(cloud: Cloud) -> list[object]:
    """What hosts have and what rows say; but not who works on what."""
    hosts = [await host.inventory() for host in cloud.earth.hosts.values()]
    rows = await cloud.store.read(
        lambda tx: [tx.sql(f"select * from {name} order by id") for name in ("machine", "placement", "network", "nic")]
    )
    return [*hosts, *rows]


@pytest.mark.parametrize("offset", range(1, 7))
def test_a_server_that_wakes_late_changes_nothing(offset: int):
    """The story ends well without it, and stays ended when it wakes."""
    at = offset * 2
    while tell(at):
        at += STEP * 4
    assert at > STEP
