"""One incarnation of a router after another serves, whatever dies in between, and never two of them at once."""

import contextlib

import msgspec
import pytest

from sysvm.basics import edge
from sysvm.basics.digest import digest
from sysvm.basics.errors import NotYet, Unreachable
from sysvm.basics.tasks import Tasks
from sysvm.hosts.moves.handover import DurableJournal, Entry
from sysvm.wire import channel, link
from sysvm.wire.machines import MachineSeen, Power, ServiceFault
from tests.hosts.test_simulated_host import DOCUMENT, SPEC, Stage

NEXT = msgspec.structs.replace(SPEC, incarnation=2)
EDGES = ("handover.begun", "handover.rested", "handover.taken", "handover.returning")


class Killed(BaseException):
    """The host agent ends here."""


class Pair(Stage):
    """A host on which incarnation 1 serves, and 2 stands by with its document."""

    async def warm(self) -> None:
        await self.do(link.EnsureRunning(spec=SPEC))
        await self.pass_time(0.5)
        await self.tell(1)
        await self.do(link.EnsureRunning(spec=NEXT))
        await self.pass_time(0.5)
        await self.tell(2)

    async def tell(self, incarnation: int) -> None:
        apply = channel.Apply(document=DOCUMENT)
        await self.host.call(
            link.ToAgent(machine=SPEC.machine, incarnation=incarnation, fence=1, body=apply), channel.AgentReport
        )

    async def hand_over(self) -> MachineSeen:
        await self.do(link.EnsureHandover(spec=NEXT))
        return self.of(await self.looked(), 2)

    def of(self, looked: link.Looked, incarnation: int) -> MachineSeen:
        return next(seen for seen in looked.incarnations if seen.incarnation == incarnation)

    def serving(self) -> list[int]:
        return [number for number in (1, 2) if self.host.agents.serves(SPEC.machine, number)]


@pytest.fixture
async def pair():
    async with Tasks() as tasks:
        made = Pair(tasks)
        await made.warm()
        yield made
        tasks.stop()


async def test_the_next_one_stands_by_with_its_document_until_it_is_handed_the_service(pair):
    looked = await pair.looked()
    first, second = (pair.of(looked, number).agent for number in (1, 2))
    assert (first.live, first.standby) == (digest(DOCUMENT), False)
    assert (second.live, second.standby, second.ready) == ("", True, digest(DOCUMENT))
    for _ in range(2):
        seen = await pair.hand_over()
        assert (seen.agent.live, seen.agent.standby, seen.returned) == (digest(DOCUMENT), False, "")
        assert [2] == pair.serving()
    assert pair.of(await pair.looked(), 1).power is Power.RUNNING


async def test_one_that_is_not_ready_is_not_handed_anything(pair):
    pair.host.agents.inside(SPEC.machine, 2).ready = ""
    with pytest.raises(NotYet):
        await pair.hand_over()
    assert [1] == pair.serving()


async def test_one_that_does_not_serve_gives_the_service_back_and_says_why(pair):
    fault = ServiceFault(service="dnsmasq", why="it does not start")
    pair.host.agents.fault_of_taking = lambda spec: (fault,) if spec.incarnation == 2 else ()
    for _ in range(2):  # it has had its try: asked again it is not tried again
        seen = await pair.hand_over()
        assert (seen.agent.standby, seen.returned) == (True, "dnsmasq: it does not start")
        assert [1] == pair.serving()
    assert digest(DOCUMENT) == pair.of(await pair.looked(), 1).agent.live
    await pair.do(link.EnsureRemoved(incarnation=2, kept_network=True))
    assert [1] == pair.serving()


async def test_a_holder_that_does_not_answer_is_ended(pair):
    pair.host.agents.inside(SPEC.machine, 1).connected = False
    assert not (await pair.hand_over()).agent.standby
    assert ([2], Power.STOPPED) == (pair.serving(), pair.of(await pair.looked(), 1).power)


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("lost", ["nobody", "old", "new", "everybody"])
async def test_a_host_agent_that_is_killed_in_the_middle_leaves_one_that_serves(pair, name: str, lost: str):
    """Its next life finishes, or takes back, without being asked; containers may have died with it."""
    if name == "handover.returning":
        fault = ServiceFault(service="dnsmasq", why="no")
        pair.host.agents.fault_of_taking = lambda spec: (fault,) if spec.incarnation == 2 else ()

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
    for _ in range(300):
        await pair.pass_time(0.02)
        assert len(pair.serving()) < 2
    if lost == "nobody":
        assert 1 == len(pair.serving())
    pair.welcome(1)
    if lost == "everybody":  # a server starts again what it wants; here the one that the journal names
        entry = pair.host.journal.entry(SPEC.machine)
        await pair.do(link.EnsureRunning(spec=SPEC if entry is None or entry.holder == 1 else NEXT))
        for _ in range(300):
            await pair.pass_time(0.02)
    elif lost != "nobody":
        left = 2 if lost == "old" else 1
        await pair.do(link.EnsureRemoved(incarnation=3 - left, kept_network=True))
        await pair.do(link.EnsureHandover(spec=SPEC if left == 1 else NEXT))
    assert 1 == len(pair.serving())


async def test_an_agent_that_comes_back_with_a_wrong_idea_is_told(pair):
    await pair.hand_over()
    pair.host.kill_machine(SPEC.machine, 2)
    inside = pair.host.agents.inside(SPEC.machine, 1)
    inside.told = inside.held = True  # as if it had never heard of it
    pair.host.kill_agent(SPEC.machine, 1)
    await pair.pass_time(1.0)
    assert [] == pair.serving()
    await pair.do(link.EnsureRunning(spec=NEXT))
    await pair.pass_time(1.0)
    assert [2] == pair.serving()


async def test_removing_the_holder_leaves_the_service_to_the_next_one(pair):
    await pair.do(link.EnsureRemoved(incarnation=1, kept_network=True))
    pair.host.kill_agent(SPEC.machine, 2)  # its hello is when it is told
    await pair.pass_time(1.0)
    assert [2] == pair.serving()
    await pair.do(link.EnsureRemoved(incarnation=2))
    assert pair.host.journal.machines() == ()


async def test_a_lost_link_in_the_middle_is_no_reason_to_stop(pair):
    async def cut(at: str) -> None:
        if at == "handover.rested":
            pair.host.link_up = False

    edge.install(cut)
    with pytest.raises(Unreachable):
        await pair.hand_over()
    edge.install(None)
    assert [2] == pair.serving()


def test_the_journal_is_on_disk(tmp_path):
    entry = Entry(holder=3, comes=4, returned={2: "it did not serve"})
    DurableJournal(tmp_path).write("m", entry)
    (tmp_path / ".half").write_bytes(b"{")
    again = DurableJournal(tmp_path)
    assert (entry, ("m",)) == (again.entry("m"), again.machines())
    again.write("m", None)
    again.write("m", None)
    assert () == DurableJournal(tmp_path).machines()
