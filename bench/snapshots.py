"""Snapshots of a running guest, for real: snapshot.incremental_s, its bytes, what the guest notices; and guest.deploy_s.

The demo of a state folder of its own is brought up. A data disk is attached to its first guest and filled through the guest's
own QEMU, so that what is measured does not depend on how fast an emulated guest writes. Times are what a caller of the API
waits for: until the snapshot is on the image store, with its SHA-256.
"""

import random
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import real
from bench.measure import median
from bench.rows import Row, failed, row
from sysvm.cli.client import ApiError
from sysvm.cli.demo import places
from sysvm.hosts.layout import Layout

NAMES = ("snapshot.incremental_s", "snapshot.incremental_bytes_ratio", "snapshot.pause_ms", "guest.deploy_s")
NEEDS = real.NEEDS
MB = 1 << 20
PIECE = 16  # MB that are written at once
DEVICE = "/machine/peripheral/virtio-disk1/virtio-backend"


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as above:
        state = Path(above) / "demo"
        try:
            ground = real.demo(state)
            try:
                yield from _snapshots(ground, full=64 if tiny else 1024, changed=8 if tiny else 50)
                yield _deploy(ground, 64 if tiny else 2048, 1 if tiny else 3)
            except (ApiError, OSError, RuntimeError, LookupError) as error:
                for name in NAMES:
                    yield failed(name, f"{type(error).__name__}: {error}")
        finally:
            subprocess.run([real.SYSVM, "down", "--state", str(state)], check=False, capture_output=True)


# ---------------------------------------------------------------- snapshots
def _snapshots(ground: real.Ground, full: int, changed: int) -> list[Row]:
    volume = _disk(ground)
    _write(ground, volume, [(at, PIECE) for at in range(0, full, PIECE)])
    began = time.perf_counter()
    _snapshot(ground, volume)
    whole = time.perf_counter() - began
    times, ratios, gaps = [], [], []
    quiet = _longest_silence(ground, lambda: time.sleep(whole))
    sizes: list[int] = []
    for turn in range(3):
        # All over the disk, a megabyte here and there.
        _write(ground, volume, [((turn + at * (full // changed)) % full, 1) for at in range(changed)])
        began = time.perf_counter()
        gaps.append(_longest_silence(ground, lambda: sizes.append(_snapshot(ground, volume))))
        times.append(time.perf_counter() - began)
        ratios.append(sizes[-1] / (changed * MB))
    note = f"createSnapshot to the end of its job, guest running; {changed} MB of {full} MB changed"
    note += f"; the first one, whole, took {whole:.2f} s"
    return [
        row("snapshot.incremental_s", median(times), "s", note=note),
        row(
            "snapshot.incremental_bytes_ratio",
            median(ratios),
            "x",
            note="bytes on the store by bytes that were changed",
        ),
        row(
            "snapshot.pause_ms",
            1e3 * median(gaps),
            "ms",
            note=f"longest time in which the guest took no new connection; {1e3 * quiet:.0f} ms without a snapshot",
        ),
    ]


def _disk(ground: real.Ground) -> str:
    call = ground.client.call
    offering = call("createDiskOffering", name="bench", displaytext="bench", disksize=1)["diskoffering"]["id"]
    made = ground.client.job("createVolume", name="bench", zoneid=ground.zone, diskofferingid=offering)["volume"]
    ground.client.job("attachVolume", id=made["id"], virtualmachineid=ground.guest)
    return str(made["id"])


def _snapshot(ground: real.Ground, volume: str) -> int:
    """Its bytes on the store."""
    return int(ground.client.job("createSnapshot", volumeid=volume)["snapshot"]["physicalsize"])


def _write(ground: real.Ground, volume: str, pieces: list[tuple[int, int]]) -> None:
    """MB that the guest's QEMU writes, at and so many."""
    import libvirt
    import libvirt_qemu

    connection = libvirt.open(f"qemu+unix:///system?socket={Layout.of(ground.state).run}/libvirt/libvirt-sock")
    (guest,) = [one for one in connection.listAllDomains() if volume in one.XMLDesc(0)]
    for at, size in pieces:
        words = f'qemu-io -d {DEVICE} "write -q -P {1 + at % 250} {at}M {size}M"'
        said = libvirt_qemu.qemuMonitorCommand(guest, words, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
        if said:
            raise RuntimeError(said)
    connection.close()


def _longest_silence(ground: real.Ground, work: Callable[[], object]) -> float:
    """The longest time, while `work` is done, in which the guest took no new connection."""
    over, longest = threading.Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not over.is_set():
            if real.passes(ground.public, 80):
                now = time.perf_counter()
                longest[0], last = max(longest[0], now - last), now
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return longest[0]


# ---------------------------------------------------------------- guests
def _deploy(ground: real.Ground, size_mb: int, times: int) -> Row:
    """deployVirtualMachine to the start of its boot, with the template on its host and the network there."""
    client, template = ground.client, _template(ground, size_mb)
    (size, *_) = client.rows("listServiceOfferings", "serviceoffering", issystem="false")
    found = []
    for at in range(times + 1):
        began = time.perf_counter()
        guest = client.job("deployVirtualMachine", name=f"bench{at}", serviceofferingid=size["id"], zoneid=ground.zone,
                           templateid=template, networkids=ground.network)["virtualmachine"]  # fmt: skip
        found.append(time.perf_counter() - began)
        client.job("destroyVirtualMachine", id=guest["id"], expunge="true")
    note = f"deployVirtualMachine to the end of its job: the guest boots; template of {size_mb} MB that its host has"
    return row("guest.deploy_s", median(found[1:]), "s", note=f"{note}; {found[0]:.1f} s when it has to fetch it")


def _template(ground: real.Ground, size_mb: int) -> str:
    """The demo's guest with so many megabytes behind its own, none of them empty, by the import folder of the image store."""
    own = next(iter(ground.client.rows("listTemplates", "template", templatefilter="self", id=ground.template)))
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as name:
        raw, known = Path(name) / "large.raw", places.of(ground.state)
        urllib.request.urlretrieve(f"{known.image_url}/tiny.qcow2", f"{name}/tiny.qcow2")
        subprocess.run(["qemu-img", "convert", "-O", "raw", f"{name}/tiny.qcow2", str(raw)], check=True)
        noise = random.Random(1).randbytes(MB)
        with raw.open("ab") as file:
            for at in range(size_mb):
                file.write(at.to_bytes(8, "big") + noise[8:])
        folder = ground.state / "secondary/import"
        folder.mkdir(exist_ok=True)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / "large.qcow2")], check=True)
    made = ground.client.call(
        "registerTemplate", name="large", displaytext="large", format="QCOW2", hypervisor="KVM", zoneid=ground.zone,
        ostypeid=own["ostypeid"], url="file:///large.qcow2",
    )["template"][0]  # fmt: skip
    ready = {"templatefilter": "self", "id": made["id"]}
    real.until(lambda: bool(ground.client.rows("listTemplates", "template", **ready)[0]["isready"]), "the large template")
    return str(made["id"])
