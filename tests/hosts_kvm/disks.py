"""Disks of guests under QEMU: made, written and read, by tools or through the QEMU that has them."""

import subprocess
from pathlib import Path

from sysvm.hosts.kvm import disks
from sysvm.hosts.layout import image_path
from sysvm.hosts.storage import snapshots
from sysvm.hosts.storage.pools import volume_file
from sysvm.hosts.storage.qmp import Line
from sysvm.hosts.storage.volumes import ensure_volume
from sysvm.wire.link import EnsureVolume, SnapshotTaken, TakeSnapshot
from sysvm.wire.machines import Disk, Kind, MachineSpec
from tests.hosts_kvm.stage import KvmStage

MIB = 1024 * 1024


async def a_disk(pool: str, name: str, size: int, device: int) -> Disk:
    await ensure_volume(EnsureVolume(pool=pool, volume=name, size=size, format="qcow2"))
    return Disk(volume=name, pool=pool, size=size, device=device)


async def a_guest(stage: KvmStage, pool: str, number: int) -> MachineSpec:
    """Running, with a root disk of 16 MiB that stands on a template and in which there is something."""
    make_template(pool)
    order = EnsureVolume(pool=pool, volume="root", size=16 * MIB, format="qcow2", template="b" * 64)
    await ensure_volume(order)
    root = Disk(volume="root", pool=pool, size=16 * MIB, device=0, template="b" * 64)
    write(pool, "root", "write -P 7 0 4M")
    spec = stage.spec(number, kind=Kind.GUEST, disks=(root,))
    await stage.driver.ensure_running(spec)
    return spec


def make_template(pool: str) -> None:
    """An image of 8 MiB with something in it."""
    template = image_path(pool, "b" * 64, "qcow2")
    template.parent.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(template), "8M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 1 6M 1M", str(template)], check=True, capture_output=True)


def write(pool: str, volume: str, *commands: str) -> None:
    """As a guest would, to a volume that nobody has open."""
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", *words, str(volume_file(pool, volume, "qcow2"))], check=True, capture_output=True)


async def write_live(line: Line, command: str) -> None:
    """As the guest would, through its QEMU: by its first disk."""
    words = f'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "{command}"'
    said = await line.ask("human-monitor-command", **{"command-line": words})
    assert "" == said


async def live(stage: KvmStage, spec: MachineSpec) -> disks.Live:
    found: list[str] = []
    await stage.driver._domain(spec.machine, spec.incarnation, lambda one: found.append(one.XMLDesc(0)))
    return disks.read(found[0])


def reads_as(file: Path, command: str) -> bool:
    """Whether a pattern is where it is said to be."""
    said = subprocess.run(["qemu-io", "-r", "-c", command, str(file)], capture_output=True, text=True, check=True)
    return "Pattern verification failed" not in said.stdout


async def take(stage: KvmStage, pool: str, snapshot: str, parent: str = "", **more: bool) -> SnapshotTaken:
    order = TakeSnapshot(pool=pool, volume="root", snapshot=snapshot, parent=parent, **more)
    return await snapshots.take_snapshot(order, stage.driver, lambda part: None)
