"""What comes to a running guest, grows in it, and is copied from it, with QEMU and libvirt. The guest's kernel does nothing, so
that it never lets go of a disk; how it does is tested where guests are real (tests/boot)."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm import disks
from sysvm.hosts.layout import image_path
from sysvm.hosts.storage import snapshots
from sysvm.hosts.storage.pools import staged_file, volume_file
from sysvm.hosts.storage.qmp import chain
from sysvm.hosts.storage.volumes import ensure_volume
from sysvm.wire.link import DropSnapshot, EnsureVolume, TakeSnapshot
from sysvm.wire.machines import DiskLimits, Iso, Power, spec_digest
from tests.hosts.progress import until
from tests.hosts_kvm.disks import MIB, a_disk, a_guest, live, reads_as, take, write, write_live
from tests.hosts_kvm.stage import KvmStage

pytestmark = pytest.mark.root


async def test_disks_and_images_come_to_a_running_guest_and_it_says_so(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 60)
    pid = stage.pid_of(spec)
    data = await a_disk(pool, "data", 8 * MIB, 2)
    iso = image_path(pool, "a" * 64, "iso")
    iso.write_bytes(b"\0" * MIB)
    more = msgspec.structs.replace(spec, disks=(*spec.disks, data), iso=Iso(pool=pool, image="a" * 64))
    for _ in range(2):
        await stage.has(more)
    seen = await live(stage, spec)
    assert ({"vda", "vdc"}, str(iso)) == (set(seen.disks), seen.iso)
    (looked,) = await stage.driver.look(spec.machine)
    assert (Power.RUNNING, spec_digest(more), pid) == (looked.power, looked.spec, stage.pid_of(spec))
    without = msgspec.structs.replace(more, iso=None)
    await stage.has(without)
    assert "" == (await live(stage, spec)).iso


async def test_an_image_comes_into_a_drive_that_libvirt_takes_for_open(stage: KvmStage, tmp_path: Path):
    """It may be, or firmware has shut it since."""
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 66)
    iso = image_path(pool, "a" * 64, "iso")
    iso.write_bytes(b"\0" * MIB)
    await stage.driver._domain(spec.machine, spec.incarnation, disks.open_tray)
    async for _ in until(SystemClock(), "libvirt has heard of it"):
        if (await live(stage, spec)).tray == "open":
            break
    await stage.has(msgspec.structs.replace(spec, iso=Iso(pool=pool, image="a" * 64)))
    assert str(iso) == (await live(stage, spec)).iso


async def test_a_disk_grows_while_its_guest_runs_and_at_its_next_start(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 61)
    order = EnsureVolume(pool=pool, volume="root", size=32 * MIB, format="qcow2")
    made = await ensure_volume(order, stage.driver)
    assert 16 * MIB == made.size, "a volume in use is left to its guest's driver"
    for size, act in ((32 * MIB, stage.driver.ensure_disks), (48 * MIB, stage.driver.ensure_running)):
        if act == stage.driver.ensure_running:
            await stage.driver.ensure_stopped(spec.machine, 1, 0)
        (root,) = spec.disks
        await act(msgspec.structs.replace(spec, disks=(msgspec.structs.replace(root, size=size),)))
        line = await stage.driver.line_to(volume_file(pool, "root", "qcow2"))
        assert line is not None
        nodes = await line.ask("query-named-block-nodes", flat=True)
        assert [size] == [n["image"]["virtual-size"] for n in nodes if n["node-name"] == line.node]


async def test_a_disk_that_the_guest_holds_on_to_is_waited_for(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 62)
    data = await a_disk(pool, "data", 8 * MIB, 1)
    await stage.driver.ensure_disks(msgspec.structs.replace(spec, disks=(*spec.disks, data)))
    for _ in range(2):
        with pytest.raises(NotYet, match="has not let go of vdb"):
            await stage.driver.ensure_disks(spec)
    (looked,) = await stage.driver.look(spec.machine)
    assert looked.spec != spec_digest(spec)


def same(pool: str, names: list[str], volume: Path) -> bool:
    """Whether a chain of staged snapshots reads as the volume."""
    files = [staged_file(pool, name) for name in names]
    flat = files[0].with_name("flat.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", chain(files), str(flat)], check=True)
    done = subprocess.run(["qemu-img", "compare", str(flat), str(volume)], capture_output=True)
    return done.returncode == 0


async def test_a_running_guest_is_copied_whole_and_then_what_changed(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 63)
    volume = volume_file(pool, "root", "qcow2")
    whole = await take(stage, pool, "s1", live=True)
    line = await stage.driver.line_to(volume)
    assert line is not None
    for command in ("write -P 9 8M 1M", "write -z 1M 512k", "discard 2M 512k"):
        await write_live(line, command)
    more = await take(stage, pool, "s2", "s1", live=True)
    assert ("", "s1") == (whole.parent, more.parent)
    assert 5 * MIB < whole.size and 1 * MIB < more.size < 1.5 * MIB
    assert "" == (await take(stage, pool, "t1", live=True, mark=False)).parent
    again = await take(stage, pool, "s2", "s1", live=True)
    assert more == again
    assert more.sha256 == hashlib.sha256(staged_file(pool, "s2").read_bytes()).hexdigest()
    # Stopped in order, the volume remembers; a storage daemon goes on where the guest's QEMU was.
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    assert same(pool, ["s1", "s2"], volume)
    write(pool, "root", "write -P 3 9M 1M")
    third = await take(stage, pool, "s3", "s2")
    assert "s2" == third.parent, "the copy for a template has left the marks alone"
    assert same(pool, ["s1", "s2", "s3"], volume)


async def test_after_a_killed_qemu_the_next_snapshot_is_whole(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 64)
    await take(stage, pool, "s1", live=True)
    os.kill(stage.pid_of(spec), signal.SIGKILL)
    async for _ in until(SystemClock(), "the guest is stopped"):
        if (await stage.driver.look(spec.machine))[0].power is Power.STOPPED:
            break
    with pytest.raises(NotYet, match="does not run"):
        await take(stage, pool, "s2", "s1", live=True)
    found = await take(stage, pool, "s2", "s1")
    assert "" == found.parent
    assert same(pool, ["s2"], volume_file(pool, "root", "qcow2"))
    await ensure_volume(EnsureVolume(pool=pool, volume="root", size=20 * MIB, format="qcow2"), stage.driver)


async def test_a_copy_that_nobody_waited_for_is_found_again_and_can_be_dropped(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    await a_guest(stage, pool, 65)
    volume = volume_file(pool, "root", "qcow2")
    line = await stage.driver.line_to(volume)
    assert line is not None
    order = TakeSnapshot(pool=pool, volume="root", snapshot="s1", live=True)
    begun = snapshots._Copying(order, line, staged_file(pool, "s1"), lambda part: None)
    await begun._begin()  # and here the agent dies
    await write_live(line, "write -P 5 12M 1M")
    await take(stage, pool, "s1", live=True)
    assert reads_as(staged_file(pool, "s1"), "read -P 0 12M 1M"), "what was written after it had begun is in the copy"
    other = TakeSnapshot(pool=pool, volume="root", snapshot="s2", parent="s1", live=True)
    await snapshots._Copying(other, line, staged_file(pool, "s2"), lambda part: None)._begin()
    drop = DropSnapshot(pool=pool, volume="root", snapshot="s2", kept=False)
    async for _ in until(SystemClock(), "the copy is dropped"):
        try:
            await snapshots.drop_snapshot(drop, stage.driver)
            break
        except NotYet:
            continue
    nodes = await line.ask("query-named-block-nodes", flat=True)
    (node,) = [node for node in nodes if node["node-name"] == line.node]
    assert ["snapshot-s1"] == [bitmap["name"] for bitmap in node["dirty-bitmaps"]]
    assert [] == await line.ask("query-jobs")
    assert "s1" == (await take(stage, pool, "s3", "s1", live=True)).parent


async def test_limits_of_a_disk_are_qemus_and_change_while_it_runs(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 66)
    data = await a_disk(pool, "data", MIB, 1)
    steps = [
        ({}, {}),
        ({"read_bytes": 1000, "read_bytes_peak": 2000, "read_bytes_seconds": 3}, {"bps_rd": 1000, "bps_rd_max": 2000}),
        ({"write_iops": 50}, {"iops_wr": 50}),
        ({}, {}),
    ]
    for number, (limits, wanted) in enumerate(steps):
        limited = msgspec.structs.replace(data, limits=DiskLimits(**limits) if limits else None)
        (root,) = spec.disks
        both = (msgspec.structs.replace(root, limits=DiskLimits(write_bytes=5000)), limited)
        await stage.driver.ensure_disks(msgspec.structs.replace(spec, disks=both))
        assert {"bps_wr": 5000} == await throttled(stage, pool, "root")
        assert wanted == await throttled(stage, pool, "data"), number
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    await stage.driver.ensure_running(msgspec.structs.replace(spec, disks=both[:1]))
    assert {"bps_wr": 5000} == await throttled(stage, pool, "root"), "from its start"


async def throttled(stage: KvmStage, pool: str, volume: str) -> dict[str, int]:
    """What QEMU says of the device."""
    file = volume_file(pool, volume, "qcow2")
    line = await stage.driver.line_to(file)
    assert line is not None
    (found,) = [one["inserted"] for one in await line.ask("query-block") if one.get("inserted", {}).get("node-name") == line.node]
    return {name: value for name, value in found.items() if name.startswith(("bps", "iops")) and value and "length" not in name}
