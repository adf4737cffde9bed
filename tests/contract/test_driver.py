"""One suite for all drivers: what the host agent may rely on, whoever runs the machines.

Every call is made twice; what there is is looked at after each. A driver that cannot be tried on this machine fails, unless
the machine lacks root altogether.
"""

import msgspec
import pytest

from sysvm.wire.machines import Kind, MachineSeen, MachineSpec, Power, spec_digest
from tests.contract.stages import STAGES, Stage
from tests.hosts import ground

pytestmark = pytest.mark.root


@pytest.fixture(params=sorted(STAGES))
async def stage(request, tmp_path):
    """A driver with its surroundings, removed afterwards."""
    if request.param != "simulator" and not ground.is_root():
        pytest.skip("needs root")
    async with STAGES[request.param](tmp_path) as made:
        yield made


def seen(spec: MachineSpec, power: Power) -> tuple[MachineSeen, ...]:
    """What looking must say of one incarnation."""
    return (MachineSeen(machine=spec.machine, incarnation=spec.incarnation, power=power, spec=spec_digest(spec)),)


async def test_what_was_never_made_is_proved_absent(stage: Stage):
    assert await stage.driver.look("nobody") == ()
    assert await stage.driver.look_all() == ()


async def test_a_machine_is_created_started_stopped_and_removed_each_step_twice(stage: Stage):
    driver, spec = stage.driver, stage.spec(10)
    for _ in range(2):
        await driver.ensure_created(spec)
        assert seen(spec, Power.STOPPED) == await driver.look(spec.machine)
    for _ in range(2):
        await driver.ensure_running(spec)
        assert seen(spec, Power.RUNNING) == await driver.look(spec.machine)
    assert seen(spec, Power.RUNNING) == await driver.look_all()
    for _ in range(2):
        await driver.ensure_stopped(spec.machine, 1, stage.grace_s)
        assert seen(spec, Power.STOPPED) == await driver.look(spec.machine)
    for _ in range(2):
        await driver.ensure_removed(spec.machine, 1, kept_network=False)
        assert await driver.look(spec.machine) == ()
    assert await stage.leftovers() == []


async def test_running_creates_first_and_removing_stops_first(stage: Stage):
    driver, spec = stage.driver, stage.spec(11)
    await driver.ensure_running(spec)
    assert seen(spec, Power.RUNNING) == await driver.look(spec.machine)
    await driver.ensure_created(spec)
    assert seen(spec, Power.RUNNING) == await driver.look(spec.machine)
    await driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert await driver.look_all() == ()
    assert await stage.leftovers() == []


async def test_a_machine_that_died_is_stopped_and_starts_again(stage: Stage):
    driver, spec = stage.driver, stage.spec(12)
    await driver.ensure_running(spec)
    await stage.kill(spec)
    assert seen(spec, Power.STOPPED) == await driver.look(spec.machine)
    await driver.ensure_running(spec)
    assert seen(spec, Power.RUNNING) == await driver.look(spec.machine)


async def test_two_incarnations_are_told_apart(stage: Stage):
    driver, old = stage.driver, stage.spec(13)
    new = msgspec.structs.replace(old, incarnation=2)
    await driver.ensure_running(old)
    await driver.ensure_created(new)
    assert seen(old, Power.RUNNING) + seen(new, Power.STOPPED) == await driver.look(old.machine)
    await driver.ensure_removed(old.machine, 1, kept_network=False)
    assert seen(new, Power.STOPPED) == await driver.look(old.machine)
    await driver.ensure_removed(old.machine, 2, kept_network=False)
    assert await stage.leftovers() == []


async def test_stopping_and_removing_what_is_not_there_is_harmless(stage: Stage):
    await stage.driver.ensure_stopped("nobody", 1, 0)
    await stage.driver.ensure_removed("nobody", 1, kept_network=False)
    assert await stage.leftovers() == []


async def test_a_system_vm_has_a_channel_and_a_stranger_has_none(stage: Stage):
    spec = stage.spec(14)
    assert stage.driver.channel(spec.machine, 1) is None
    await stage.driver.ensure_created(spec)
    assert stage.driver.channel(spec.machine, 1) is not None
    assert stage.driver.console(spec.machine) is not None


async def test_the_state_key_is_stored_nowhere(stage: Stage):
    spec = stage.spec(15)
    await stage.driver.ensure_running(spec)
    assert stage.files_with(spec.state_key) == []


async def test_nics_of_a_running_machine_can_be_set_again(stage: Stage):
    driver, spec = stage.driver, stage.spec(16)
    await driver.ensure_running(spec)
    more = msgspec.structs.replace(spec.nics[0], allowed=("10.1.1.77",))
    changed = msgspec.structs.replace(spec, nics=(more,))
    for _ in range(2):
        await driver.ensure_nics(changed)
    assert Power.RUNNING is (await driver.look(spec.machine))[0].power


async def test_a_router_keeps_its_network_for_the_next_incarnation(stage: Stage):
    driver, spec = stage.driver, stage.spec(17, kind=Kind.ROUTER)
    if not stage.keeps_networks:
        return
    await driver.ensure_running(spec)
    before = await stage.network_of(spec)
    await driver.ensure_removed(spec.machine, 1, kept_network=True)
    assert await driver.look(spec.machine) == ()
    await driver.ensure_running(msgspec.structs.replace(spec, incarnation=2))
    assert before == await stage.network_of(spec)
    await driver.ensure_removed(spec.machine, 2, kept_network=False)
    assert await stage.leftovers() == []


async def test_capabilities_say_what_it_is(stage: Stage):
    found = await stage.driver.capabilities()
    assert (stage.hypervisor, True) == (found.hypervisor, found.usable)


async def test_the_next_incarnation_of_a_router_runs_beside_the_one_that_serves(stage: Stage):
    """In one network, where networks are kept: its ports stay as they are until it serves itself."""
    driver, old = stage.driver, stage.spec(18, kind=Kind.ROUTER)
    if not stage.keeps_networks:
        return
    new = msgspec.structs.replace(old, incarnation=2, standby=True)
    await driver.ensure_running(old)
    for _ in range(2):
        await driver.ensure_running(new)
    assert seen(old, Power.RUNNING) + seen(new, Power.RUNNING) == await driver.look(old.machine)
    assert await stage.network_of(old) == await stage.network_of(new)
    await driver.ensure_nics(msgspec.structs.replace(new, standby=False))
    await driver.ensure_removed(old.machine, 1, kept_network=True)
    assert seen(new, Power.RUNNING) == await driver.look(old.machine)
    await driver.ensure_removed(old.machine, 2, kept_network=False)
    assert await stage.leftovers() == []


async def test_a_router_that_stands_by_is_not_heard_until_the_gates_say_so(stage: Stage):
    """Where each incarnation has ports of its own. Asked again, its ports are as the host then says."""
    driver, old, gates = stage.driver, stage.spec(19, kind=Kind.ROUTER), stage.gates
    if gates is None:
        return
    new = msgspec.structs.replace(old, incarnation=2, standby=True)
    await driver.ensure_running(old)
    for _ in range(2):
        await driver.ensure_running(new)
        assert [True, False] == [await gates.is_open(old.machine, number) for number in (1, 2)]
    assert gates.has(old.machine, 2)
    for _ in range(2):
        await gates.serve(old.machine, 2)
        assert [False, True] == [await gates.is_open(old.machine, number) for number in (1, 2)]
    await driver.ensure_nics(msgspec.structs.replace(new, standby=False))
    await driver.ensure_nics(msgspec.structs.replace(old, standby=True))
    assert [False, True] == [await gates.is_open(old.machine, number) for number in (1, 2)]
    for number in (1, 2):
        await driver.ensure_removed(old.machine, number, kept_network=False)
    assert not gates.has(old.machine, 2)
    assert await stage.leftovers() == []
