"""A document is on its way to the disk while it is made true. The agent without a host: calls are put to it by hand."""

import asyncio
import os
from pathlib import Path

import msgspec

from sysvm.agent.core import Agent
from sysvm.agent.documents import Documents
from sysvm.agent.line import Line
from sysvm.agent.paths import Paths
from sysvm.agent.roles import Context, Role
from sysvm.agent.seal import Seal
from sysvm.basics.clock import SystemClock
from sysvm.basics.digest import digest
from sysvm.wire.channel import AgentReport, Apply
from sysvm.wire.documents import PortForward, Ports, Protocol, SystemVmDocument
from sysvm.wire.machines import BootData, Kind, Runtime, ServiceFault
from tests.agent.documents import PUBLIC, router
from tests.boot.patience import until

BOOT = BootData(machine=router().machine, incarnation=1, name="r-1-VM", kind=Kind.ROUTER, runtime=Runtime.VM,
                hostname="r-1-VM", state_key="key")  # fmt: skip


class Gated(Role):
    """Applies when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.applied = asyncio.Event()
        self.digest = ""

    async def apply(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        """As a role."""
        await self.gate.wait()
        self.digest = digest(document)
        self.applied.set()
        return ()

    async def live(self) -> str:
        """As a role."""
        return self.digest


def agent_in(folder: Path, role: Role) -> tuple[Agent, Path]:
    """An agent, and where it keeps documents."""
    context = Context(boot=BOOT, paths=Paths(folder), clock=SystemClock(), seal=Seal("key"), line=Line())
    context.paths.state.mkdir(parents=True)
    return Agent(context, role, version="1", nonce="nonce"), context.paths.state


def applying(agent: Agent) -> "asyncio.Future[msgspec.Struct]":
    """The call, under way."""
    return asyncio.ensure_future(agent.serve(msgspec.Raw(msgspec.msgpack.encode(Apply(router())))))


def kept(state: Path) -> tuple[SystemVmDocument, ...]:
    """What the next life would begin with."""
    return Documents(state, Seal("key")).restored()


async def laps(count: int) -> None:
    """So many rounds of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_disk_does_not_wait_for_the_kernel(tmp_path: Path):
    role = Gated()
    agent, state = agent_in(tmp_path, role)
    call = applying(agent)
    await asyncio.to_thread(until, lambda: kept(state) == (router(),), "the document on the disk", lambda: list(state.iterdir()))
    assert not call.done()
    role.gate.set()
    report = await call
    assert isinstance(report, AgentReport)
    assert digest(router()) == report.ready
    assert ["good.sealed", "wanted.sealed"] == sorted(path.name for path in state.iterdir() if path.suffix == ".sealed")


async def test_nothing_is_said_before_the_document_is_kept(tmp_path: Path):
    """A pipe that nobody reads yet is a disk that takes its time."""
    role = Gated()
    agent, state = agent_in(tmp_path, role)
    os.mkfifo(slow := state / ".wanted.sealed.new")
    role.gate.set()
    call = applying(agent)
    await role.applied.wait()
    await laps(100)
    assert not call.done()
    await asyncio.to_thread(slow.read_bytes)
    assert isinstance(await call, AgentReport)


async def test_what_an_earlier_agent_kept_is_read_too(tmp_path: Path):
    """It did not compress."""
    plain = msgspec.msgpack.encode(router())
    (tmp_path / "wanted.sealed").write_bytes(Seal("key").close(plain, "document"))
    assert (router(),) == kept(tmp_path)
    Documents(tmp_path, Seal("key")).remember_wanted(many := router(port_forwards=tuple(map(forward, range(100)))))
    assert (many,) == kept(tmp_path)
    assert (tmp_path / "wanted.sealed").stat().st_size < len(msgspec.msgpack.encode(many)) / 2


async def test_what_is_no_document_is_not_used(tmp_path: Path):
    (tmp_path / "good.sealed").write_bytes(Seal("key").close(b"\x78\x01cut off", "document"))
    (tmp_path / "wanted.sealed").write_bytes(Seal("key").close(b"\x80", "document"))
    assert () == kept(tmp_path)


def forward(number: int) -> PortForward:
    """One of many."""
    return PortForward(
        rule=f"rule-{number}", public=PUBLIC, protocol=Protocol.TCP, ports=Ports(1000 + number, 1000 + number),
        private="10.1.1.5", private_ports=Ports(80, 80),
    )  # fmt: skip
