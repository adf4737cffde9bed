"""The simulated host: the host agent's own service, on a virtual clock."""

import asyncio

import msgspec
import pytest

from sysvm.basics.clock import VirtualClock
from sysvm.basics.digest import digest
from sysvm.basics.errors import NotYet, Refused, Stale, Unreachable
from sysvm.basics.tasks import Tasks
from sysvm.hosts.simulator import SimulatedHost, World
from sysvm.wire import channel, link
from sysvm.wire.documents import HostDocument, RouterDocument
from sysvm.wire.machines import Kind, OperationState, Power, Runtime
from tests.hosts import ground

SPEC = ground.spec(10, kind=Kind.ROUTER, runtime=Runtime.SIMULATED)
DOCUMENT = RouterDocument(machine=SPEC.machine, name=SPEC.name)


class Stage:
    """One host, its server's ear, and time."""

    def __init__(self, tasks: Tasks) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock)
        self.host = SimulatedHost(self.world, "h1", tasks)
        self.heard: list[link.HostNoticeBody] = []
        self.host.attach(self.heard.append)
        self.welcome(1)

    def welcome(self, epoch: int) -> None:
        self.host.welcome(link.Welcome(protocol=1, session="s", epoch=epoch, cloud="c"))

    async def do(self, act: link.ActBody, fence: int = 1) -> tuple[Power, ...]:
        done = await self.host.call(link.Do(machine=SPEC.machine, fence=fence, act=act), link.Done)
        return tuple(seen.power for seen in done.seen.incarnations)

    async def to_agent(self, body: channel.AgentCallBody, answer: type) -> object:
        return await self.host.call(link.ToAgent(machine=SPEC.machine, incarnation=1, fence=1, body=body), answer)

    async def looked(self) -> link.Looked:
        return await self.host.call(link.Look(machine=SPEC.machine), link.Looked)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.run_due()
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def stage():
    async with Tasks() as tasks:
        yield Stage(tasks)
        tasks.stop()


async def test_an_agent_connects_a_while_after_the_start_and_makes_its_document_live(stage):
    assert await stage.do(link.EnsureRunning(spec=SPEC)) == (Power.RUNNING,)
    with pytest.raises(NotYet):
        await stage.to_agent(channel.Report(), channel.AgentReport)
    await stage.pass_time(0.5)
    assert link.MachineChanged(machine=SPEC.machine) in stage.heard
    report = await stage.to_agent(channel.Apply(document=DOCUMENT), channel.AgentReport)
    assert report.live == digest(DOCUMENT)
    agents = [seen.agent for seen in (await stage.looked()).incarnations]
    assert [agent.live for agent in agents if agent] == [digest(DOCUMENT)]


async def test_a_stopped_machine_has_no_agent_and_comes_back_with_its_document(stage):
    await stage.do(link.EnsureRunning(spec=SPEC))
    await stage.pass_time(0.5)
    await stage.to_agent(channel.Apply(document=DOCUMENT), channel.AgentReport)
    await stage.do(link.EnsureStopped(incarnation=1))
    assert [seen.agent for seen in (await stage.looked()).incarnations] == [None]
    await stage.do(link.EnsureRunning(spec=SPEC))
    await stage.pass_time(0.5)
    seen = (await stage.looked()).incarnations[0]
    assert (seen.agent.live, seen.agent.boot) == (digest(DOCUMENT), f"{SPEC.machine}.1-2")


async def test_a_lower_fence_changes_nothing(stage):
    await stage.do(link.EnsureRunning(spec=SPEC), 9)
    with pytest.raises(Stale):
        await stage.do(link.EnsureRemoved(incarnation=1), 8)
    assert [(seen.power, seen.fence) for seen in (await stage.looked()).incarnations] == [(Power.RUNNING, 9)]


async def test_fences_survive_the_host_agent_and_machines_do_too(stage):
    await stage.do(link.EnsureRunning(spec=SPEC), 9)
    await stage.pass_time(0.5)
    stage.host.restart_agent()
    stage.welcome(1)
    with pytest.raises(Stale):
        await stage.do(link.EnsureStopped(incarnation=1), 8)
    assert [(seen.power, seen.agent) for seen in (await stage.looked()).incarnations] == [(Power.RUNNING, None)]
    await stage.pass_time(0.0)
    assert (await stage.looked()).incarnations[0].agent is not None


async def test_a_reboot_stops_everything_and_shows_in_the_boot_id(stage):
    await stage.do(link.EnsureRunning(spec=SPEC))
    before = stage.host.hello().boot
    stage.host.reboot()
    assert before != stage.host.hello().boot
    assert [seen.power for seen in (await stage.looked()).incarnations] == [Power.STOPPED]


async def test_an_unavailable_driver_means_unknown_and_never_absent(stage):
    await stage.do(link.EnsureRunning(spec=SPEC))
    stage.host.driver.unavailable = "the daemon is down"
    seen = (await stage.looked()).incarnations
    assert [(each.power, each.why) for each in seen] == [(Power.UNKNOWN, "the daemon is down")]
    stage.host.driver.unavailable = ""
    assert [each.power for each in (await stage.looked()).incarnations] == [Power.RUNNING]


async def test_a_lost_answer_leaves_the_act_done(stage):
    stage.host.lose_answers = 1
    with pytest.raises(Unreachable):
        await stage.do(link.EnsureRunning(spec=SPEC))
    assert [seen.power for seen in (await stage.looked()).incarnations] == [Power.RUNNING]


async def test_a_link_that_is_down_carries_nothing_either_way(stage):
    await stage.do(link.EnsureRunning(spec=SPEC))
    stage.host.link_up = False
    stage.heard.clear()
    await stage.pass_time(0.5)
    stage.host.kill_machine(SPEC.machine, 1)
    with pytest.raises(Unreachable):
        await stage.looked()
    assert stage.heard == []
    stage.host.link_up = True
    assert [seen.power for seen in (await stage.looked()).incarnations] == [Power.STOPPED]


async def test_an_older_epoch_may_look_and_nothing_else(stage):
    stage.welcome(2)
    await stage.do(link.EnsureRunning(spec=SPEC))
    stage.welcome(1)
    with pytest.raises(Refused):
        await stage.do(link.EnsureStopped(incarnation=1))
    assert [seen.power for seen in (await stage.looked()).incarnations] == [Power.RUNNING]


async def test_acts_about_one_machine_happen_one_after_another_and_a_late_worker_is_refused_in_the_queue(stage):
    await stage.do(link.EnsureRunning(spec=SPEC), 1)
    stage.host.driver.seconds["ensure-stopped"] = 5.0
    stage.host.driver.acts.clear()
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(stage.do(link.EnsureStopped(incarnation=1), 1))
        await asyncio.sleep(0)
        late = group.create_task(outcome(stage.do(link.EnsureRemoved(incarnation=1), 1)))
        newer = group.create_task(stage.do(link.EnsureRunning(spec=SPEC), 2))
        await stage.pass_time(0)
        operations = [seen.operations for seen in (await stage.looked()).incarnations]
        assert [[operation.name for operation in each] for each in operations] == [["ensure-stopped"]]
        await stage.pass_time(5.0)
    acts = [act for act, _ in stage.host.driver.acts]
    assert acts == ["ensure-stopped", "ensure-created", "ensure-running", "ensure-created"]
    assert (stopping.result(), late.result(), newer.result()) == ((Power.STOPPED,), Stale, (Power.RUNNING,))


async def outcome(call) -> object:
    """The result, or the kind of refusal."""
    try:
        return await call
    except (Stale, Refused) as error:
        return type(error)


async def test_tasks_of_agents_and_hosts_end_and_tell(stage):
    await stage.do(link.EnsureRunning(spec=SPEC))
    await stage.pass_time(0.5)
    download = channel.Download(store="s", image="i", url="http://x/", format="QCOW2")
    started = await stage.to_agent(channel.RunTask(name="d", body=download), link.OperationSeen)
    assert started.state is OperationState.RUNNING
    fetch = link.FetchImage(
        pool="/p", sha256="ab", size=1, format="qcow2", address="a", port=1, store="s", image="i", ticket="t", ca=""
    )
    await stage.host.call(link.RunHostTask(name="f", fence=1, body=fetch), link.OperationSeen)
    await stage.pass_time(0)
    for _ in "half", "whole":
        await stage.pass_time(2.0)
    again = await stage.to_agent(channel.RunTask(name="d", body=download), link.OperationSeen)
    assert msgspec.msgpack.decode(again.result, type=channel.Downloaded).size == 1 << 20
    fetched = await stage.host.call(link.RunHostTask(name="f", fence=1, body=fetch), link.OperationSeen)
    assert fetched.state is OperationState.DONE
    assert link.HostTaskReport(task=fetched) in stage.heard
    assert (await stage.host.call(link.LookAll(), link.LookedAll)).images == ("/p/ab",)
    await stage.host.call(link.ForgetHostTask(name="f"), link.Nothing)


async def test_a_task_that_fails_says_why(stage):
    stage.host.storage.failure = Refused("the disk is full")
    body = link.EnsureVolume(pool="/p", volume="v", size=1, format="qcow2")
    await stage.host.call(link.RunHostTask(name="v", fence=1, body=body), link.OperationSeen)
    await stage.pass_time(0)
    seen = await stage.host.call(link.RunHostTask(name="v", fence=1, body=body), link.OperationSeen)
    assert (seen.state, seen.error) == (OperationState.FAILED, "the disk is full")


async def test_the_hosts_document_is_live(stage):
    document = HostDocument(host="h1", cloud="c")
    report = await stage.host.call(link.ApplyHost(document=document), link.HostReport)
    assert report.live == digest(document)


async def test_the_world_runs_by_itself_on_any_clock(stage):
    async with Tasks() as tasks:
        tasks.start(stage.world.run(), "world")
        await stage.do(link.EnsureRunning(spec=SPEC))
        for _ in range(20):
            await asyncio.sleep(0)
        stage.clock.advance(0.5)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await stage.looked()).incarnations[0].agent is not None
        tasks.stop()
