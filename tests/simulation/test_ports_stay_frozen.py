"""While connections are copied for the last time nobody is heard, however long that takes."""

import asyncio

import msgspec
import pytest

from sysvm.basics.clock import VirtualClock
from sysvm.hosts.moves.carrying import FREEZE_S, carry
from sysvm.wire.channel import AgentCallBody
from sysvm.wire.handover import Connections, Taken, TellConnections, Which
from tests.simulation.loop import run


class Ports:
    """Gates that note when they were frozen."""

    def __init__(self) -> None:
        self.frozen: list[float] = []

    async def is_open(self, machine: str, incarnation: int) -> bool:
        """The one that comes is shut."""
        return False

    async def freeze(self, machine: str, incarnation: int, seconds: float) -> None:
        """Noted."""
        self.frozen.append(asyncio.get_running_loop().time())


class SlowAgents:
    """Each takes its time; the last pass has three parts."""

    def __init__(self, clock: VirtualClock, ports: Ports, takes_s: float) -> None:
        self._clock = clock
        self._ports = ports
        self._takes_s = takes_s
        self._parts = 3

    async def call(self, machine: str, incarnation: int, body: AgentCallBody) -> msgspec.Struct:
        """A table that is told in parts once the ports are frozen."""
        if not isinstance(body, TellConnections):
            return Taken(taken=1)
        if not self._ports.frozen:
            return Connections()
        await self._clock.sleep(self._takes_s)
        self._parts -= 1
        assert body.which in (Which.CHANGED, Which.MORE)
        return Connections(entries=(b"x",), more=self._parts > 0)


@pytest.mark.parametrize(("takes_s", "times"), [(0.1, 1), (FREEZE_S / 2 + 0.1, 4)])
def test_ports_are_frozen_anew_when_half_of_the_time_is_over(takes_s: float, times: int):
    """A pass of milliseconds freezes once; a slow one before each part is taken."""
    clock, ports = VirtualClock(), Ports()
    run(clock, carry(ports, SlowAgents(clock, ports, takes_s), "m", 1, 2))  # type: ignore[arg-type]  # what it asks of gates
    assert times == len(ports.frozen)
    assert all(later - earlier < FREEZE_S for earlier, later in zip(ports.frozen, ports.frozen[1:], strict=False))
