"""The host agent may die between any two steps: whoever comes next finishes the work, or takes it away without a trace."""

import pytest

from sysvm.basics import edge
from sysvm.hosts.lxc import LxcDriver
from sysvm.wire.machines import Kind, Power
from tests.contract import stages
from tests.hosts import ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]

MAKING = ("lxc.specified", "lxc.pinned", "lxc.plugged", "lxc.staged", "lxc.configured", "lxc.started")
REMOVING = ("lxc.stopped", "lxc.unplugged", "lxc.removed")


class Crash(BaseException):
    """The process is gone."""


async def crash_at(name: str, work) -> None:
    """Runs `work` as far as the edge."""

    async def hook(passed: str) -> None:
        if passed == name:
            raise Crash

    edge.install(hook)
    try:
        with pytest.raises(Crash):
            await work
    finally:
        edge.install(None)


@pytest.fixture
async def stage(tmp_path):
    async with stages.lxc(tmp_path) as made:
        yield made


def next_driver(stage) -> LxcDriver:
    """The driver of the next process: it remembers nothing."""
    return LxcDriver(stage.layout, stage.network)


@pytest.mark.parametrize("kind", [Kind.ROUTER, Kind.CONSOLE_PROXY])
async def test_a_start_that_was_cut_short_is_finished_by_the_next_one(stage, kind):
    for number, name in enumerate(MAKING, 30):
        spec = ground.spec(number, kind=kind)
        await crash_at(name, next_driver(stage).ensure_running(spec))
        after = next_driver(stage)
        assert len(await after.look(spec.machine)) == 1, name
        await after.ensure_running(spec)
        assert [seen.power for seen in await after.look(spec.machine)] == [Power.RUNNING], name
        await after.ensure_removed(spec.machine, 1, kept_network=False)
    assert await stage.leftovers() == []


@pytest.mark.parametrize("kind", [Kind.ROUTER, Kind.CONSOLE_PROXY])
async def test_a_start_that_was_cut_short_can_be_taken_away(stage, kind):
    for number, name in enumerate(MAKING, 40):
        spec = ground.spec(number, kind=kind)
        await crash_at(name, next_driver(stage).ensure_running(spec))
        await next_driver(stage).ensure_removed(spec.machine, 1, kept_network=False)
        assert await stage.leftovers() == [], name


@pytest.mark.parametrize("kind", [Kind.ROUTER, Kind.CONSOLE_PROXY])
async def test_a_removal_that_was_cut_short_is_finished_by_the_next_one(stage, kind):
    for number, name in enumerate(REMOVING, 50):
        spec = ground.spec(number, kind=kind)
        await stage.driver.ensure_running(spec)
        await crash_at(name, next_driver(stage).ensure_removed(spec.machine, 1, kept_network=False))
        await next_driver(stage).ensure_removed(spec.machine, 1, kept_network=False)
        assert await stage.leftovers() == [], name


async def test_after_a_reboot_a_machine_is_made_anew_from_its_disk(stage):
    """A reboot takes namespaces, mounts and the runtime folder; spec and state stay."""
    spec = ground.spec(60, kind=Kind.ROUTER)
    await stage.driver.ensure_running(spec)
    (stage.layout.incarnation(spec.machine, 1) / "state" / "document").write_text("kept")
    await stages.forget_like_a_reboot(stage)
    after = next_driver(stage)
    assert [seen.power for seen in await after.look(spec.machine)] == [Power.STOPPED]
    await after.ensure_running(spec)
    assert [seen.power for seen in await after.look(spec.machine)] == [Power.RUNNING]
    assert (stage.layout.stage(spec.machine, 1) / "state" / "document").read_text() == "kept"
