"""What befalls a host, or the link between it and its server, at the fault points of a router's life: answers lost, calls
done twice, notices lost or out of order, the host agent or the host started again, the link down for a minute."""

from collections.abc import Callable

import pytest

from sysvm.hosts.simulator import SimulatedHost
from sysvm.wire.link import HostNoticeBody
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Strike, everywhere
from tests.simulation.life import live

Hear = Callable[[HostNoticeBody], None]


def each(befall: Callable[[Cloud, int, SimulatedHost], None]) -> Strike:
    """The same for each host, once."""

    async def strike(cloud: Cloud, _name: str) -> None:
        for id_, host in cloud.earth.hosts.items():
            befall(cloud, id_, host)

    return strike


def lose_answer(_cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """The next call is done, but nobody hears of it; so it is done again."""
    host.lose_answers = 1


def lose_answers(_cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """Three calls in a row."""
    host.lose_answers = 3


def cut(cloud: Cloud, id_: int, _host: SimulatedHost) -> None:
    """The link is down for a minute."""
    cloud.cut_link(id_, 60.0)


def restart_agent(cloud: Cloud, id_: int, host: SimulatedHost) -> None:
    """The host agent dies and comes back; machines run on."""
    host.restart_agent()
    cloud.cut_link(id_, 1.0)


def reboot(cloud: Cloud, id_: int, host: SimulatedHost) -> None:
    """Nothing runs any more."""
    host.reboot()
    cloud.cut_link(id_, 20.0)


def kill_everything(_cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """All machines die at once, and the host tells."""
    for life in host.driver.lives():
        host.kill_machine(life.spec.machine, life.spec.incarnation)


class Ear:
    """Hears `lost` notices not at all, and the rest in pairs that are turned around."""

    def __init__(self, hear: Hear, lost: int, *, turned: bool) -> None:
        self._hear = hear
        self._lost = lost
        self._turned = turned
        self._held: list[HostNoticeBody] = []

    def __call__(self, notice: HostNoticeBody) -> None:
        if self._lost:
            self._lost -= 1
            return
        self._held.append(notice)
        if self._turned and len(self._held) < 2:
            return
        while self._held:
            self._hear(self._held.pop())


def deafen(_cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """The next five notices are lost; inventories mend that."""
    if host._hear is not None:
        host.attach(Ear(host._hear, 5, turned=False), host._ask)


def turn_around(_cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """Every second notice comes before the first."""
    if host._hear is not None:
        host.attach(Ear(host._hear, 0, turned=True), host._ask)


CASES = [
    (lose_answer, 2),
    (lose_answers, 5),
    (cut, 7),
    (restart_agent, 5),
    (reboot, 7),
    (kill_everything, 5),
    (deafen, 7),
    (turn_around, 7),
]


@pytest.mark.parametrize(("befall", "every"), CASES, ids=[befall.__name__ for befall, _ in CASES])
def test_the_story_ends_well_whatever_befalls_the_hosts(
    befall: Callable[[Cloud, int, SimulatedHost], None], every: int
):
    """At every so-and-so-manieth fault point."""
    assert everywhere(live, each(befall), every=every) > 100
