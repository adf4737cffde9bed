"""A guest of the demo is kept whole and goes back: with its memory, and with its disks alone."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress

import libvirt
import libvirt_qemu
import pytest

from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]
DISK = "/machine/peripheral/virtio-disk1/virtio-backend"


@pytest.fixture
def volume(demo: World) -> Iterator[str]:
    """A data disk of the first guest; none in the end."""
    client, zone = demo.client, demo.machine("one")["zoneid"]
    offering = client.call("createDiskOffering", name="back", displaytext="back", disksize=1)["diskoffering"]["id"]
    made = client.job("createVolume", name="back", zoneid=zone, diskofferingid=offering)["volume"]
    client.job("attachVolume", id=made["id"], virtualmachineid=demo.uuid("one"))
    yield str(made["id"])
    for left in client.rows("listVMSnapshot", "vmsnapshot", virtualmachineid=demo.uuid("one")):
        client.job("deleteVMSnapshot", vmsnapshotid=left["id"])
    client.job("detachVolume", id=made["id"])
    client.call("deleteVolume", id=made["id"])
    client.call("deleteDiskOffering", id=offering)


def through_qemu(demo: World, volume: str, words: str) -> str:
    """What the QEMU of the guest with that disk says of qemu-io's words."""
    connection = libvirt.open(f"qemu+unix:///system?socket={demo.layout.run}/libvirt/libvirt-sock")
    try:
        (guest,) = [one for one in connection.listAllDomains() if volume in one.XMLDesc(0)]
        command = f'qemu-io -d {DISK} "{words}"'
        return str(libvirt_qemu.qemuMonitorCommand(guest, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP))
    finally:
        connection.close()


def write(demo: World, volume: str, pattern: int) -> None:
    assert "" == through_qemu(demo, volume, f"write -q -P {pattern} 5M 1M")


def reads(demo: World, volume: str, pattern: int) -> bool:
    """From outside: what the monitor shows of a read does not tell."""
    through_qemu(demo, volume, "flush")
    (file,) = demo.state.glob(f"*/volumes/{volume}.qcow2")
    words = ["qemu-io", "-U", "-r", "-f", "qcow2", "-c", f"read -P {pattern} 5M 1M", str(file)]
    return "verification failed" not in subprocess.run(words, check=False, capture_output=True, text=True).stdout


def serves(demo: World) -> bool:
    with suppress(OSError):
        return "tiny guest one" in answers(str(demo.machine("router")["publicip"]), 80)
    return False


def test_a_guest_goes_back_to_what_it_was(demo: World, volume: str):
    client, guest = demo.client, demo.uuid("one")
    write(demo, volume, 1)
    kept = client.job("createVMSnapshot", virtualmachineid=guest, snapshotmemory="true")["vmsnapshot"]
    assert ("Ready", "DiskAndMemory") == (kept["state"], kept["type"])
    write(demo, volume, 2)
    client.job("revertToVMSnapshot", vmsnapshotid=kept["id"])
    assert "Running" == demo.machine("one")["state"]
    assert reads(demo, volume, 1) and not reads(demo, volume, 2)
    demo.until(lambda: serves(demo) or None, "the guest that went back serves")

    write(demo, volume, 3)
    disks = client.job("createVMSnapshot", virtualmachineid=guest, snapshotmemory="false")["vmsnapshot"]
    assert ("Ready", "Disk") == (disks["state"], disks["type"])
    write(demo, volume, 4)
    client.job("stopVirtualMachine", id=guest, forced="true")
    client.job("revertToVMSnapshot", vmsnapshotid=disks["id"])
    client.job("startVirtualMachine", id=guest)
    assert reads(demo, volume, 3) and not reads(demo, volume, 4)
    for one in (disks, kept):
        client.job("deleteVMSnapshot", vmsnapshotid=one["id"])
    assert [] == client.rows("listVMSnapshot", "vmsnapshot", virtualmachineid=guest)
