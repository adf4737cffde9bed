"""One incarnation of a router in a VM after another serves: its ports are the only open ones, and connections come along.

Like test_handover.py, where they share a kernel. What may die in the middle: the host agent, with either VM or both.
"""

import contextlib

import pytest

from sysvm.basics import edge
from sysvm.basics.digest import digest
from sysvm.basics.tasks import Tasks
from sysvm.hosts.moves import carrying
from sysvm.hosts.simulated.agents import Inside
from sysvm.wire import link
from sysvm.wire.handover import TakeConnections, TellConnections
from sysvm.wire.machines import Power, ServiceFault
from tests.hosts.test_handover import DOCUMENT, NEXT, SPEC, Killed, Pair

EDGES = (
    "handover.begun", "handover.copied", "handover.frozen", "handover.rested", "handover.taken", "handover.returning",
)  # fmt: skip
FAULT = ServiceFault(service="dnsmasq", why="it does not start")


class Apart(Pair):
    """Both have kernels and ports of their own, and what is in the old one's is known."""

    async def warm(self) -> None:
        self.host.driver.apart = True
        await super().warm()
        self.inside(1).connections = {b"a", b"b"}

    def inside(self, incarnation: int) -> Inside:
        found = self.host.agents.inside(SPEC.machine, incarnation)
        assert found is not None
        return found

    def is_open(self, incarnation: int) -> bool:
        return self.host.driver.is_open(SPEC.machine, incarnation)


@pytest.fixture
async def pair():
    async with Tasks() as tasks:
        made = Apart(tasks)
        await made.warm()
        yield made
        tasks.stop()


@pytest.fixture(autouse=True)
def no_hook():
    """Also after a test that failed."""
    yield
    edge.install(None)


async def test_the_next_one_is_warm_behind_shut_ports_until_it_serves(pair):
    looked = await pair.looked()
    first, second = (pair.of(looked, number).agent for number in (1, 2))
    assert (first.live, first.standby, pair.is_open(1)) == (digest(DOCUMENT), False, True)
    assert (second.live, second.standby, second.ready, pair.is_open(2)) == ("", True, digest(DOCUMENT), False)
    for _ in range(2):
        seen = await pair.hand_over()
        assert (seen.agent.live, seen.agent.standby, seen.returned) == (digest(DOCUMENT), False, "")
        assert ([2], False) == (pair.serving(), pair.is_open(1))
        old = pair.of(await pair.looked(), 1)
        assert (Power.RUNNING, "", True) == (old.power, old.agent.live, old.agent.standby)


async def test_connections_come_along_also_those_that_are_born_between_the_passes(pair):
    async def born(at: str) -> None:
        if at == "handover.copied":
            pair.inside(1).connections.add(b"born")
        if at == "handover.frozen":
            assert [] == pair.serving()

    edge.install(born)
    await pair.hand_over()
    assert {b"a", b"b", b"born"} == pair.inside(2).connections


@pytest.mark.parametrize("silent", [TellConnections, TakeConnections])
async def test_connections_that_cannot_be_copied_do_not_keep_a_router_from_being_replaced(pair, silent: type):
    pair.host.agents.unknown = (silent,)
    await pair.hand_over()
    assert ([2], set()) == (pair.serving(), pair.inside(2).connections)


async def test_one_that_does_not_serve_gives_the_service_back_and_says_why(pair):
    pair.host.agents.fault_of_taking = lambda spec: (FAULT,) if spec.incarnation == 2 else ()
    for _ in range(2):
        seen = await pair.hand_over()
        assert (seen.agent.standby, seen.returned) == (True, "dnsmasq: it does not start")
        assert ([1], False) == (pair.serving(), pair.is_open(2))
    assert digest(DOCUMENT) == pair.of(await pair.looked(), 1).agent.live
    await pair.do(link.EnsureRemoved(incarnation=2))
    assert [1] == pair.serving()


async def test_the_old_one_is_heard_again_by_itself_when_the_host_agent_dies_while_nobody_is(pair):
    """Nobody has to come: its ports were shut for seconds."""

    async def kill(at: str) -> None:
        if at == "handover.frozen":
            raise Killed

    edge.install(kill)
    with contextlib.suppress(Killed):
        await pair.hand_over()
    assert [] == pair.serving()
    await pair.pass_time(carrying.FREEZE_S)
    assert [1] == pair.serving()


async def test_one_that_does_not_answer_any_more_is_left_behind_shut_ports(pair):
    pair.inside(1).connected = False
    assert not (await pair.hand_over()).agent.standby
    assert ([2], Power.RUNNING) == (pair.serving(), pair.of(await pair.looked(), 1).power)


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("lost", ["nobody", "old", "new", "everybody"])
async def test_a_host_agent_that_is_killed_in_the_middle_leaves_one_that_serves(pair, name: str, lost: str):
    """Its next life finishes, or takes back, without being asked; VMs may have died with it."""
    if name == "handover.returning":
        pair.host.agents.fault_of_taking = lambda spec: (FAULT,) if spec.incarnation == 2 else ()

    async def kill(at: str) -> None:
        assert len(pair.serving()) < 2
        if at == name:
            raise Killed

    edge.install(kill)
    with contextlib.suppress(Killed):
        await pair.hand_over()
    edge.install(None)
    for number in {"nobody": (), "old": (1,), "new": (2,), "everybody": (1, 2)}[lost]:
        pair.host.kill_machine(SPEC.machine, number)
    pair.host.agents.fault_of_taking = lambda spec: ()
    pair.host.restart_agent()
    await passes(pair)
    if lost == "nobody":
        entry = pair.host.journal.entry(SPEC.machine)
        assert [entry.holder if entry is not None else 1] == pair.serving()
    if lost == "new":  # the old one goes on by itself
        assert [1] == pair.serving()
    pair.welcome(1)
    if lost == "everybody":  # a server starts again what it wants; here the one that the journal names
        entry = pair.host.journal.entry(SPEC.machine)
        await finished(pair, link.EnsureRunning(spec=SPEC if entry is None or entry.holder == 1 else NEXT))
        await passes(pair)
    elif lost != "nobody":
        left = 2 if lost == "old" else 1
        await finished(pair, link.EnsureRemoved(incarnation=3 - left))
        await finished(pair, link.EnsureHandover(spec=SPEC if left == 1 else NEXT))
    assert 1 == len(pair.serving())


async def passes(pair: Apart) -> None:
    """Six seconds, in which at most one serves at any time."""
    for _ in range(300):
        await pair.pass_time(0.02)
        assert len(pair.serving()) < 2


async def finished(pair: Apart, act: link.ActBody) -> None:
    """The act is done, however long it waits."""
    async with Tasks() as tasks:
        task = tasks.start(pair.do(act), "act")
        for _ in range(300):
            await pair.pass_time(0.02)
            assert len(pair.serving()) < 2
        assert task.done()


async def test_ports_that_are_made_anew_are_as_the_journal_says(pair):
    """A host that was rebooted in the middle of a handover: whichever VM is started first, one is heard."""

    async def kill(at: str) -> None:
        if at == "handover.rested":
            raise Killed

    edge.install(kill)
    with contextlib.suppress(Killed):
        await pair.hand_over()
    edge.install(None)
    pair.host.reboot()
    pair.welcome(1)
    for spec in (NEXT, SPEC):
        await finished(pair, link.EnsureRunning(spec=spec))
    await passes(pair)
    assert 1 == len(pair.serving())
    for spec in (NEXT, SPEC):
        await finished(pair, link.EnsureNics(spec=spec))
    assert 1 == len(pair.serving())
