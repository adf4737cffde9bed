"""The power button of a VM is a service that the agent links in a while after its own start."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysvm.agent.button import BUTTON, heed_power_button
from sysvm.agent.paths import Paths
from sysvm.basics.clock import VirtualClock
from sysvm.wire.machines import BootData, Kind, Runtime


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    """A machine whose s6 runs."""
    found = Paths(tmp_path)
    found.scan.mkdir(parents=True)
    supervisor = subprocess.Popen(("s6-svscan", found.scan), stderr=subprocess.DEVNULL)
    try:
        while not (found.scan / ".s6-svscan/control").exists():
            assert supervisor.poll() is None
        yield found
    finally:
        subprocess.run(("s6-svscanctl", "-t", found.scan), check=False, capture_output=True)
        assert supervisor.wait() == 0


def boot(runtime: Runtime) -> BootData:
    """A router."""
    return BootData(machine="m", incarnation=1, name="r-4-VM", kind=Kind.ROUTER, runtime=runtime, hostname="r-4-VM")


def linked(paths: Paths) -> bool:
    """Whether s6 has the service."""
    return (paths.scan / BUTTON.name / "supervise/status").exists()


async def lives(paths: Paths, runtime: Runtime) -> tuple[bool, bool]:
    """Whether the button is heard when the agent has just started, and half a minute later."""
    clock = VirtualClock()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(heed_power_button(paths, boot(runtime), clock))
        await asyncio.sleep(0)
        before = linked(paths)
        clock.advance(30)
    return before, linked(paths)


def test_a_vm_hears_its_power_button_once_its_agent_has_been_up_for_a_while(paths: Paths):
    """Whoever waits for what the agent does first does not wait for that."""
    assert asyncio.run(lives(paths, Runtime.VM)) == (False, True)
    assert (paths.scan / BUTTON.name / "run").read_text() == BUTTON.script


def test_the_next_life_of_an_agent_leaves_it_as_it_is(paths: Paths):
    """It was linked by the first."""
    asyncio.run(lives(paths, Runtime.VM))
    assert asyncio.run(lives(paths, Runtime.VM)) == (True, True)


def test_a_template_from_before_has_it_from_its_start(paths: Paths):
    """As a folder of its own in the scan directory."""
    (paths.scan / BUTTON.name).mkdir()
    assert asyncio.run(lives(paths, Runtime.VM)) == (False, False)
    assert list((paths.scan / BUTTON.name).iterdir()) == []


def test_a_container_has_no_power_button(paths: Paths):
    """Its host sends a signal."""
    assert asyncio.run(lives(paths, Runtime.CONTAINER)) == (False, False)
