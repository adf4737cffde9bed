"""What befalls a host, or the link between it and its server, at each instant of a router's life: answers lost, calls
that come twice, notices lost or out of order, the host agent or the host started again, the link down for a minute."""

import contextlib
from collections.abc import Callable

import msgspec
import pytest

from sysvm.basics.errors import NotYet, Refused, Stale
from sysvm.hosts.simulator import Died, SimulatedHost
from sysvm.wire.link import HostCallBody, HostNoticeBody
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Strike, everywhere
from tests.simulation.life import live

Hear = Callable[[HostNoticeBody], None]
LATE_S = 0.2


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


class Twice:
    """Serves the next call twice, the second time a while after the first was answered: a message that was sent again by
    the network, when whoever sent it has gone on."""

    def __init__(self, cloud: Cloud, host: SimulatedHost) -> None:
        self._cloud = cloud
        self._host = host
        self._serve = host._service.serve

    async def __call__(self, body: HostCallBody) -> msgspec.Struct:
        self._host._service.serve = self._serve  # type: ignore[method-assign]
        answer = await self._serve(body)
        self._cloud.later(LATE_S, lambda: self._again(body))
        return answer

    async def _again(self, body: HostCallBody) -> None:
        with contextlib.suppress(Stale, NotYet, Refused, Died):  # nobody hears the answer, nor whether one came
            await self._serve(body)


def do_twice(cloud: Cloud, _id: int, host: SimulatedHost) -> None:
    """The next call comes a second time, late."""
    host._service.serve = Twice(cloud, host)  # type: ignore[method-assign]


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


ANSWERED = ("host.call.answered",)  # a lost answer is that of the next call, whenever it is decided
CASES = [
    (lose_answer, ANSWERED, 1),
    (lose_answers, ANSWERED, 3),
    (do_twice, ("host.call.sent",), 1),
    (cut, (), 5),
    (restart_agent, (), 3),
    (reboot, (), 4),
    (kill_everything, (), 3),
    (deafen, (), 5),
    (turn_around, (), 5),
]


@pytest.mark.parametrize(("befall", "at", "every"), CASES, ids=[befall.__name__ for befall, _, _ in CASES])
def test_the_story_ends_well_whatever_befalls_the_hosts(
    befall: Callable[[Cloud, int, SimulatedHost], None], at: tuple[str, ...], every: int
):
    """At every so-and-so-manieth instant of it; at each one with SIMULATION_ALL=1."""
    assert everywhere(live, each(befall), at=at, every=every) > 10
