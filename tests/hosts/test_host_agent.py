"""The host agent as a process, with a small server on the other end and real containers below."""

import asyncio
import hashlib
import os
import signal
import ssl
import sys

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.digest import digest
from sysvm.basics.errors import NotYet, Refused, Stale
from sysvm.hosts.down import processes_of, remove_everything
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc.containers import Containers
from sysvm.wire import channel, link
from sysvm.wire.documents import HostDocument, RouterDocument
from sysvm.wire.machines import Kind, MachineSpec, Power, Segment, Traffic
from sysvm.wire.peer import Peer
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts.server import Server, server

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]


class Agent:
    """A host agent of our own, to be killed at will."""

    def __init__(self, layout: Layout, srv: Server, *more: str) -> None:
        self.layout = layout
        self._server = srv
        self._more = more
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        words = (
            "-m",
            "sysvm.hosts",
            "run",
            "--state",
            str(self.layout.state),
            "--server",
            f"127.0.0.1:{self._server.port}",
        )
        trust = ("--token", "token", "--ca-file", str(self._server.ca_file), "--name", "host-1")
        self.process = await asyncio.create_subprocess_exec(sys.executable, *words, *trust, *self._more)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


class Inside:
    """An agent in a system VM, as far as the host sees it: it dials the socket that is mounted into its container."""

    def __init__(self, layout: Layout, spec: MachineSpec) -> None:
        self._socket = layout.channel(spec.machine, spec.incarnation) / "host.sock"
        self._spec = spec
        self.live = ""
        self.peer: Peer | None = None

    async def run(self) -> None:
        async for _ in until(SystemClock(), "the host listens"):
            if self._socket.exists():
                break
        reader, writer = await asyncio.open_unix_connection(self._socket)
        self.peer = Peer(reader, writer, serve=self._serve, hear=self._hear)
        async with asyncio.TaskGroup() as group:
            from sysvm.basics.tasks import Tasks

            async def link_() -> None:
                async with Tasks() as tasks:
                    assert self.peer is not None
                    await self.peer.run(tasks)
                    tasks.stop()

            group.create_task(link_())
            await self.peer.notify(self.hello())

    def hello(self) -> channel.AgentHello:
        spec = self._spec
        return channel.AgentHello(
            protocol=1, machine=spec.machine, incarnation=1, kind=spec.kind, version="1", boot="b", live=self.live
        )

    async def _serve(self, raw: msgspec.Raw) -> msgspec.Struct:
        match msgspec.msgpack.decode(raw, type=channel.AgentCallBody):
            case channel.Apply() as apply:
                self.live = digest(apply.document)
                return channel.AgentReport(boot="b", live=self.live)
            case channel.Report():
                return channel.AgentReport(boot="b", live=self.live)
            case channel.Greet():
                assert self.peer is not None
                await self.peer.notify(self.hello())
        return link.Nothing()

    async def _hear(self, raw: msgspec.Raw) -> None:
        del raw


@pytest.fixture
async def stage(tmp_path, monkeypatch):
    """A server, and a host agent that has joined it."""
    monkeypatch.setenv("SYSVM_CACHE", str(tmp_path / "cache"))
    ground.make_template(tmp_path / "cache")
    layout = Layout.of(tmp_path / "state")
    async with server(tmp_path) as srv:
        agent = Agent(layout, srv)
        try:
            await agent.start()
            await srv.linked()
            yield srv, agent
        finally:
            await agent.kill()
            await remove_everything(layout)


async def do(srv: Server, spec: MachineSpec, act: link.ActBody, fence: int = 1) -> tuple[Power, ...]:
    """Does an act and says what is there then."""
    done = await srv.call(link.Do(machine=spec.machine, fence=fence, act=act), link.Done)
    return tuple(seen.power for seen in done.seen.incarnations)


async def test_a_host_joins_says_hello_and_makes_its_document_true(stage):
    srv, agent = stage
    hello = await srv.linked()
    assert (hello.host, hello.cloud) == ("host-1", "cloud")
    assert "LXC" in hello.facts.hypervisors
    assert len(srv.joins) == 1
    segments = (
        Segment(key="control", traffic=Traffic.CONTROL, gateway="169.254.0.1/16"),
        Segment(key="management", traffic=Traffic.MANAGEMENT),
    )
    document = HostDocument(host="host-1", cloud="cloud", segments=segments, management_address="10.2.0.1/24")
    for _ in range(2):
        report = await srv.call(link.ApplyHost(document=document), link.HostReport)
        assert (digest(document), ()) == (report.live, report.faults)
    shown = ground.sh("ip", "-n", agent.layout.namespace, "-br", "addr")
    assert "169.254.0.1/16" in shown
    assert "10.2.0.1/24" in shown


async def test_a_machine_lives_and_goes_by_acts_with_fences(stage):
    srv, _ = stage
    spec = ground.spec(10)
    assert await do(srv, spec, link.EnsureCreated(spec=spec), 5) == (Power.STOPPED,)
    assert await do(srv, spec, link.EnsureRunning(spec=spec), 5) == (Power.RUNNING,)
    with pytest.raises(Stale):
        await do(srv, spec, link.EnsureStopped(incarnation=1, grace_s=0), 4)
    looked = await srv.call(link.Look(machine=spec.machine), link.Looked)
    assert [(seen.power, seen.fence) for seen in looked.incarnations] == [(Power.RUNNING, 5)]
    assert await do(srv, spec, link.EnsureStopped(incarnation=1), 6) == (Power.STOPPED,)
    assert await do(srv, spec, link.EnsureRemoved(incarnation=1), 6) == ()
    assert (await srv.call(link.LookAll(), link.LookedAll)).machines == ()


async def test_after_kill_9_of_the_host_agent_containers_run_on_and_channels_come_back(stage):
    srv, agent = stage
    spec = ground.spec(11, kind=Kind.ROUTER)
    await do(srv, spec, link.EnsureRunning(spec=spec), 7)
    containers = Containers(agent.layout.lxc)
    before = await containers.init(f"{spec.machine}.1")
    inside = Inside(agent.layout, spec)
    first = asyncio.ensure_future(inside.run())
    await srv.heard(link.FromAgent)
    document = RouterDocument(machine=spec.machine, name=spec.name)
    to_agent = link.ToAgent(machine=spec.machine, incarnation=1, fence=7, body=channel.Apply(document=document))
    assert digest(document) == (await srv.call(to_agent, channel.AgentReport)).live

    await agent.kill()
    await first
    await agent.start()
    await srv.linked(2)
    looked = await srv.call(link.Look(machine=spec.machine), link.Looked)
    assert [(seen.power, seen.fence, seen.agent) for seen in looked.incarnations] == [(Power.RUNNING, 7, None)]
    with pytest.raises(Stale):
        await do(srv, spec, link.EnsureStopped(incarnation=1), 6)
    with pytest.raises(NotYet):
        await srv.call(to_agent, channel.AgentReport)
    assert before == await containers.init(f"{spec.machine}.1")

    since = len(srv.notices)
    second = asyncio.ensure_future(inside.run())
    await srv.heard(link.FromAgent, since)
    looked = await srv.call(link.Look(machine=spec.machine), link.Looked)
    assert [digest(document)] == [seen.agent.live for seen in looked.incarnations if seen.agent]
    await do(srv, spec, link.EnsureRemoved(incarnation=1), 7)
    await second


async def test_a_container_that_dies_is_told_at_once(stage):
    srv, agent = stage
    spec = ground.spec(12)
    await do(srv, spec, link.EnsureRunning(spec=spec))
    init = await Containers(agent.layout.lxc).init(f"{spec.machine}.1")
    assert init is not None
    since = len(srv.notices)
    os.kill(init.pid, signal.SIGKILL)
    assert link.MachineChanged(machine=spec.machine) == await srv.heard(link.MachineChanged, since)
    async for _ in until(SystemClock(), "it is seen as stopped"):
        looked = await srv.call(link.Look(machine=spec.machine), link.Looked)
        if [seen.power for seen in looked.incarnations] == [Power.STOPPED]:
            return


async def test_a_server_with_an_older_database_may_look_and_nothing_else(stage):
    srv, _ = stage
    spec = ground.spec(13)
    srv.epoch = 2
    srv.drop()
    await srv.linked(2)
    await do(srv, spec, link.EnsureCreated(spec=spec))
    srv.epoch = 1
    srv.drop()
    await srv.linked(3)
    assert srv.hellos[-1].epoch == 2
    with pytest.raises(Refused):
        await do(srv, spec, link.EnsureRunning(spec=spec))
    looked = await srv.call(link.Look(machine=spec.machine), link.Looked)
    assert [seen.power for seen in looked.incarnations] == [Power.STOPPED]


async def test_a_certificate_is_renewed_at_a_third_of_its_life_without_dropping_the_link(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSVM_CACHE", str(tmp_path / "cache"))
    layout = Layout.of(tmp_path / "state")
    async with server(tmp_path) as srv:
        srv.certificate_s = 1200.0  # begun an hour ago: its third is over
        agent = Agent(layout, srv)
        try:
            await agent.start()
            await srv.linked()
            srv.certificate_s = 24 * 3600.0
            async for _ in until(SystemClock(), "a renewal"):
                if srv.renewals:
                    break
            assert isinstance(await srv.call(link.LookAll(), link.LookedAll), link.LookedAll)
            assert len(srv.hellos) == 1
        finally:
            await agent.kill()
            await remove_everything(layout)


async def test_a_certificate_is_renewed_when_the_server_says_so(stage):
    """Over the link that stands; the answer comes when the new one is kept."""
    srv, _ = stage
    before = srv.renewals
    assert isinstance(await srv.call(link.RenewNow(), link.Nothing), link.Nothing)
    assert (before + 1, 1) == (srv.renewals, len(srv.hellos))


async def test_the_ca_may_be_named_by_its_fingerprint(tmp_path):
    from sysvm.hosts.identity import pinned_ca

    async with server(tmp_path) as srv:
        der = ssl.PEM_cert_to_DER_cert(srv.authority.ca_pem)
        right = hashlib.sha256(der).hexdigest()
        found = await asyncio.to_thread(pinned_ca, ("127.0.0.1", srv.port), right)
        assert der == ssl.PEM_cert_to_DER_cert(found)
        with pytest.raises(Refused):
            await asyncio.to_thread(pinned_ca, ("127.0.0.1", srv.port), "00" * 32)


async def test_down_removes_everything_twice_also_after_kill_9(stage):
    srv, agent = stage
    for number in (14, 15):
        spec = ground.spec(number, kind=Kind.ROUTER)
        await do(srv, spec, link.EnsureRunning(spec=spec))
    await agent.kill()
    layout = agent.layout
    for _ in range(2):
        await remove_everything(layout)
        assert list(processes_of(layout)) == []
        assert not layout.host.exists()
        assert not layout.run.exists()
        assert not layout.namespace_path.exists()
        assert layout.hash8 not in ground.sh("cat", "/proc/mounts")
