"""The whole way on real parts: server, host agent, container of the real template, its real agent."""

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.digest import digest
from sysvm.basics.errors import NotYet
from sysvm.hosts.down import processes_of, remove_everything
from sysvm.hosts.layout import Layout
from sysvm.images import build, cache_folder
from sysvm.images.template import list_templates
from sysvm.wire import channel, link
from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.machines import AgentSeen, Kind, MachineSpec, Power, Traffic
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts.server import Server, server
from tests.hosts.test_host_agent import Agent, do

pytestmark = [
    pytest.mark.root,
    pytest.mark.template,
    pytest.mark.skipif(not ground.is_root(), reason="needs root"),
]


def router(version: str) -> MachineSpec:
    """A router between a guest network and the public one."""
    public = ground.segment("public-1", Traffic.PUBLIC)
    nics = (
        ground.nic(1, is_router=True),
        ground.nic(2, device=1, on=public, addresses=("203.0.113.10/24",), gateway="203.0.113.1", is_router=True),
    )
    return ground.spec(1, kind=Kind.ROUTER, nics=nics, template=version, state_key="")


async def agent_of(srv: Server, spec: MachineSpec, other_than: str = "") -> AgentSeen:
    """The agent inside, once it is connected (and is another process than `other_than`)."""
    async for _ in until(SystemClock(), "the agent inside is connected"):
        for seen in (await srv.call(link.Look(machine=spec.machine), link.Looked)).incarnations:
            if seen.power is Power.RUNNING and seen.agent is not None and seen.agent.boot != other_than:
                return seen.agent
    raise AssertionError


async def test_a_router_serves_and_survives_the_death_of_either_agent(tmp_path):
    found = list_templates(cache_folder())
    spec = router((found[0] if found else build(cache_folder(), print)).version)
    document = RouterDocument(
        machine=spec.machine,
        name=spec.name,
        interfaces=tuple(
            Interface(device=f"eth{nic.device}", mac=nic.mac, role=nic.segment.traffic.value, addresses=nic.addresses)
            for nic in spec.nics
        ),
    )
    apply = link.ToAgent(machine=spec.machine, incarnation=1, fence=1, body=channel.Apply(document=document))
    layout = Layout.of(tmp_path / "state")
    async with server(tmp_path) as srv:
        agent = Agent(layout, srv)
        try:
            await agent.start()
            await srv.linked()
            assert await do(srv, spec, link.EnsureRunning(spec=spec)) == (Power.RUNNING,)
            first = await agent_of(srv, spec)
            assert (await srv.call(apply, channel.AgentReport, seconds=60)).live == digest(document)

            await agent.kill()
            await agent.start()
            await srv.linked(2)
            again = await agent_of(srv, spec)
            assert (again.boot, again.live) == (first.boot, digest(document))

            kill_agent_inside(layout, spec)
            third = await agent_of(srv, spec, other_than=first.boot)
            assert third.boot != first.boot

            assert await do(srv, spec, link.EnsureStopped(incarnation=1)) == (Power.STOPPED,)
            with pytest.raises(NotYet):
                await srv.call(apply, channel.AgentReport)
            assert await do(srv, spec, link.EnsureRemoved(incarnation=1)) == ()
        finally:
            await agent.kill()
            await remove_everything(layout)
    assert list(processes_of(layout)) == []


def kill_agent_inside(layout: Layout, spec: MachineSpec) -> None:
    """kill -9 of the agent's process in the container."""
    name = f"{spec.machine}.1"
    script = "for p in /proc/[0-9]*; do grep -q 'sysvm/start[.]pyc' $p/cmdline && kill -9 ${p#/proc/} && echo done; done; true"
    words = ("lxc-attach", "-P", str(layout.lxc), "-n", name, "--", "/bin/sh", "-c", script)
    assert "done" in ground.sh(*words)
