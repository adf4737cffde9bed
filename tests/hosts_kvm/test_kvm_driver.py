"""What is the KVM driver's own: its private libvirtd, sockets, events, and what `down` leaves."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.kvm import tinyboot
from sysvm.hosts.kvm.daemon import processes_of
from sysvm.hosts.kvm.down import remove_everything
from sysvm.hosts.kvm.driver import KvmDriver
from sysvm.hosts.kvm.probe import any_kernel, boot_guest
from sysvm.hosts.storage.volumes import ensure_volume
from sysvm.hosts.system import netns
from sysvm.wire.link import EnsureVolume
from sysvm.wire.machines import Disk, ImageStoreMount, Kind, Power
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm.stage import KvmStage, kvm

pytestmark = pytest.mark.root


@pytest.fixture
async def stage(tmp_path):
    """A host of its own."""
    if not ground.is_root():
        pytest.skip("needs root")
    async with kvm(tmp_path) as made:
        yield made


async def kill_daemon(stage: KvmStage, name: str) -> None:
    """kill -9, and it is gone."""
    pid = int((stage.layout.run / "libvirt" / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    async for _ in until(SystemClock(), "the daemon is gone, and its sockets with it"):
        if not is_there(pid):
            return


def is_there(pid: int) -> bool:
    """A process that has no program any more may still have its sockets; a zombie has none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def power(stage: KvmStage, machine: str) -> list[Power]:
    return [seen.power for seen in await stage.driver.look(machine)]


async def test_machines_outlive_libvirtd_and_virtlogd_and_are_found_again(stage):
    spec = stage.spec(30)
    await stage.driver.ensure_running(spec)
    pid = stage.pid_of(spec)
    for name in ("libvirtd", "virtlogd"):
        await kill_daemon(stage, name)
    async for _ in until(SystemClock(), "the driver looks again"):
        try:
            found = await power(stage, spec.machine)
        except DriverUnavailable:
            continue
        break
    assert (found, stage.pid_of(spec)) == ([Power.RUNNING], pid)
    fresh = KvmDriver(stage.layout, stage.network)
    assert [seen.power for seen in await fresh.look_all()] == [Power.RUNNING]
    fresh.close()


async def test_what_cannot_be_looked_at_is_not_absent(stage):
    spec = stage.spec(31)
    await stage.driver.ensure_created(spec)
    await kill_daemon(stage, "libvirtd")
    await stage.network.remove()
    stranger = KvmDriver(stage.layout, stage.network)
    with pytest.raises(DriverUnavailable, match="namespace"):
        await stranger.look(spec.machine)
    with pytest.raises(DriverUnavailable):
        await stranger.look_all()
    await stage.network.ensure()


async def test_a_host_without_vms_has_no_libvirtd(stage):
    assert await stage.driver.look_all() == ()
    assert list(processes_of(stage.layout)) == []


async def test_an_end_is_told_without_being_asked_for(stage):
    spec, heard = stage.spec(32), []
    watching = asyncio.ensure_future(stage.driver.watch(heard.append))
    await stage.driver.ensure_running(spec)
    async for _ in until(SystemClock(), "the start is told"):
        if heard:
            break
    heard.clear()
    os.kill(stage.pid_of(spec), signal.SIGKILL)
    async for _ in until(SystemClock(), "the end is told"):
        if heard:
            break
    assert set(heard) == {spec.machine}
    watching.cancel()


async def test_the_end_of_libvirtd_is_told_about_all_and_events_go_on(stage):
    spec, heard = stage.spec(33), []
    await stage.driver.ensure_running(spec)
    watching = asyncio.ensure_future(stage.driver.watch(heard.append))
    await stage.driver.look_all()
    await kill_daemon(stage, "libvirtd")
    async for _ in until(SystemClock(), "the loss is told"):
        if heard:
            break
    async for _ in until(SystemClock(), "libvirtd is back"):
        try:
            await stage.driver.look_all()
        except DriverUnavailable:
            continue
        break
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    heard.clear()
    await stage.driver.ensure_running(spec)
    async for _ in until(SystemClock(), "the start is told"):
        if heard:
            break
    watching.cancel()


async def test_a_guest_runs_from_its_volume_and_keeps_it(stage, tmp_path):
    pool = str(tmp_path / "pool")
    disk = Disk(volume="vol-1", pool=pool, size=1024 * 1024)
    spec = stage.spec(34, kind=Kind.GUEST, disks=(disk,))
    await ensure_volume(EnsureVolume(pool=pool, volume="vol-1", size=1024 * 1024, format="qcow2"))
    await stage.driver.ensure_running(spec)
    assert stage.driver.channel(spec.machine, 1) is None
    console = stage.driver.console(spec.machine)
    reader, writer = await asyncio.open_unix_connection(str(console.socket))
    assert await reader.readexactly(12) == b"RFB 003.008\n"
    writer.close()
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert (Path(pool) / "volumes/vol-1.qcow2").is_file()
    assert await stage.leftovers() == []


async def test_a_store_is_shared_with_a_secondary_storage_vm(stage, tmp_path):
    store = ImageStoreMount(store="99999999-2222-4333-8444-555555555555", path=str(tmp_path))
    spec = stage.spec(35, kind=Kind.SECONDARY_STORAGE, stores=(store,))
    await stage.driver.ensure_running(spec)
    assert await power(stage, spec.machine) == [Power.RUNNING]


async def test_two_hosts_on_one_machine_do_not_see_each_other(stage, tmp_path):
    spec = stage.spec(36)
    await stage.driver.ensure_running(spec)
    async with kvm(tmp_path / "other") as other:
        await other.driver.ensure_created(other.spec(37))
        assert [seen.machine for seen in await other.driver.look_all()] == [other.spec(37).machine]
        await remove_everything(other.layout)
    assert await power(stage, spec.machine) == [Power.RUNNING]


async def test_down_leaves_nothing_twice(stage):
    spec = stage.spec(38)
    await stage.driver.ensure_running(spec)
    pid = stage.pid_of(spec)
    for _ in range(2):
        await remove_everything(stage.layout)
        assert list(processes_of(stage.layout)) == []
    assert not Path(f"/proc/{pid}/exe").exists()
    assert not stage.layout.libvirt.exists()


async def test_a_socket_lives_in_the_namespace_it_was_made_in(stage):
    inside = netns.socket_in(stage.layout.namespace)
    inside.bind(("127.0.0.1", 0))
    inside.listen()
    port = inside.getsockname()[1]
    (await netns.connect_in(stage.layout.namespace, "127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        await netns.connect_in(None, "127.0.0.1", port)
    inside.close()


@pytest.mark.template
async def test_the_tiny_guest_of_the_probe_runs_its_program(tmp_path):
    kernel = any_kernel(Path("/var/cache/sysvm"))
    assert kernel is not None, "build the template first: sysvm template build"
    assert (await boot_guest(kernel, tmp_path, "tcg", None)).works


async def test_a_kernel_that_hangs_proves_nothing(stage):
    kernel = any_kernel(stage.layout.cache)
    found = await boot_guest(kernel, stage.layout.run, "tcg", 1)
    assert (found.works, "did not come up" in found.why) == (False, True)
    assert tinyboot.MARKER not in found.why
