"""Snapshots of whole guests, with QEMU and libvirt: volumes at one instant, memory, and what a killed agent or QEMU leaves. The
guest's kernel does nothing; its disks are written through its QEMU."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sysvm.basics import edge
from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Broken, NotYet
from sysvm.hosts.storage import checkpoints
from sysvm.hosts.storage.pools import volume_file
from sysvm.hosts.storage.qmp import Line
from sysvm.hosts.storage.volumes import NoGuests
from sysvm.wire.link import ForgetGuest, KeepGuest, RevertGuest, VolumeAt
from sysvm.wire.machines import Kind, MachineSpec, Power
from tests.hosts.progress import until
from tests.hosts_kvm.disks import MIB, a_disk, reads_as, take, write
from tests.hosts_kvm.stage import KvmStage

pytestmark = pytest.mark.root
NAMES = ("root", "data")


async def two_disks(pool: str) -> tuple[VolumeAt, ...]:
    """A root disk and a data disk with something in them."""
    for device, name in enumerate(NAMES):
        await a_disk(pool, name, 8 * MIB, device)
        write(pool, name, "write -P 1 0 4M")
    return tuple(VolumeAt(pool=pool, volume=name) for name in NAMES)


async def a_guest(stage: KvmStage, pool: str, number: int) -> tuple[MachineSpec, tuple[VolumeAt, ...]]:
    """Running on two disks."""
    volumes = await two_disks(pool)
    disks = tuple([await a_disk(pool, name, 8 * MIB, device) for device, name in enumerate(NAMES)])
    spec = stage.spec(number, kind=Kind.GUEST, disks=disks)
    await stage.driver.ensure_running(spec)
    return spec, volumes


def entries(pool: str, name: str) -> list[str]:
    """Of a volume, whoever has it open."""
    words = ["qemu-img", "info", "-U", "--output=json", str(volume_file(pool, name, "qcow2"))]
    said = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return [one["name"] for one in said.get("snapshots", ())]


async def write_live(stage: KvmStage, pool: str, name: str, pattern: int) -> None:
    """As the guest would, through its QEMU."""
    said = await (await line(stage, pool, name)).ask(
        "human-monitor-command",
        **{
            "command-line": f"qemu-io -d /machine/peripheral/virtio-disk{NAMES.index(name)}/virtio-backend"
            f' "write -P {pattern} 0 4M"'
        },
    )
    assert "" == said


async def line(stage: KvmStage, pool: str, name: str) -> Line:
    found = await stage.driver.line_to(volume_file(pool, name, "qcow2"))
    assert found is not None
    return found


def holds(pool: str, pattern: int) -> list[bool]:
    """Whether both volumes, which nobody has open, hold it."""
    return [reads_as(volume_file(pool, name, "qcow2"), f"read -P {pattern} 0 4M") for name in NAMES]


async def test_a_stopped_guest_goes_back(tmp_path: Path):
    pool = str(tmp_path / "pool")
    volumes = await two_disks(pool)
    for _ in range(2):
        await checkpoints.keep_guest(KeepGuest(volumes=volumes, snapshot="k1"), NoGuests())
    assert [["k1"], ["k1"]] == [entries(pool, name) for name in NAMES]
    for name in NAMES:
        write(pool, name, "write -P 2 0 4M")
    await checkpoints.keep_guest(KeepGuest(volumes=volumes, snapshot="k2"), NoGuests())
    for snapshot, pattern in (("k1", 1), ("k2", 2), ("k1", 1)):
        for _ in range(2):
            await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot=snapshot), NoGuests())
        assert [True, True] == holds(pool, pattern)
    for _ in range(2):
        await checkpoints.forget_guest(ForgetGuest(volumes=volumes, snapshot="k1"), NoGuests())
    assert [["k2"], ["k2"]] == [entries(pool, name) for name in NAMES]
    with pytest.raises(Broken, match="has no snapshot k1"):
        await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot="k1"), NoGuests())


@pytest.mark.parametrize("point", ["checkpoint.volume", "checkpoint.reverted"])
async def test_an_agent_killed_between_two_volumes_goes_on(tmp_path: Path, point: str):
    pool = str(tmp_path / "pool")
    volumes = await two_disks(pool)
    keep, revert = KeepGuest(volumes=volumes, snapshot="k1"), RevertGuest(volumes=volumes, snapshot="k1")

    class Killed(BaseException):
        pass

    async def strike(name: str) -> None:
        if name == point:
            raise Killed

    async def do() -> None:
        await checkpoints.keep_guest(keep, NoGuests())
        for name in NAMES:
            write(pool, name, "write -P 2 0 4M")
        await checkpoints.revert_guest(revert, NoGuests())

    edge.install(strike)
    try:
        with pytest.raises(Killed):
            await do()
    finally:
        edge.install(None)
    if point == "checkpoint.volume":
        assert [["k1"], []] == [entries(pool, name) for name in NAMES]
        await do()
    await checkpoints.revert_guest(revert, NoGuests())
    assert [True, True] == holds(pool, 1)


async def test_disks_of_a_running_guest_are_kept_at_one_instant(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec, volumes = await a_guest(stage, pool, 80)
    await take(stage, pool, "s1", live=True)
    keep = KeepGuest(volumes=volumes, snapshot="k1", live=True, quiesce=True)
    # An earlier try that only one volume knows of is taken away.
    node = (await line(stage, pool, "root")).node
    ask = (await line(stage, pool, "root")).ask
    await ask("blockdev-snapshot-internal-sync", device=node, name="k1")
    for name in NAMES:
        await write_live(stage, pool, name, 3)
    for _ in range(2):
        await checkpoints.keep_guest(keep, stage.driver)
    for name in NAMES:
        await write_live(stage, pool, name, 4)
    assert "s1" == (await take(stage, pool, "s2", "s1", live=True)).parent, "the marks of snapshots stay"
    with pytest.raises(NotYet, match="stop it first"):
        await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot="k1"), stage.driver)
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot="k1"), stage.driver)
    assert [True, True] == holds(pool, 3)
    assert "" == (await take(stage, pool, "s3", "s2")).parent, "what has changed since then is not known any more"
    with pytest.raises(NotYet, match="does not run"):
        await checkpoints.keep_guest(KeepGuest(volumes=volumes, snapshot="k2", live=True), stage.driver)


async def test_a_guest_goes_on_from_its_memory(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec, volumes = await a_guest(stage, pool, 81)
    await take(stage, pool, "s1", live=True)
    ask = (await line(stage, pool, "root")).ask
    keep = KeepGuest(volumes=volumes, snapshot="k1", live=True, memory=True)
    for _ in range(2):
        await checkpoints.keep_guest(keep, stage.driver)
    for name in NAMES:
        await write_live(stage, pool, name, 5)
    status = await ask("query-status")
    assert "running" == status["status"]
    pid = stage.pid_of(spec)
    await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot="k1", memory=True), stage.driver)
    (looked,) = await stage.driver.look(spec.machine)
    assert (Power.RUNNING, pid, "") == (looked.power, stage.pid_of(spec), looked.why)
    # In another life of the guest, too: a killed QEMU takes nothing with it.
    os.kill(pid, signal.SIGKILL)
    async for _ in until(SystemClock(), "the guest is stopped"):
        if (await stage.driver.look(spec.machine))[0].power is Power.STOPPED:
            break
    await stage.driver.ensure_running(spec)
    for name in NAMES:
        await write_live(stage, pool, name, 6)
    await checkpoints.revert_guest(RevertGuest(volumes=volumes, snapshot="k1", memory=True), stage.driver)
    await checkpoints.forget_guest(ForgetGuest(volumes=volumes, snapshot="k1"), stage.driver)
    assert [[], []] == [entries(pool, name) for name in NAMES]
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    assert [True, True] == holds(pool, 1)
