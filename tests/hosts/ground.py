"""A host to test on: its own state folder, namespace and a template made of busybox. Removed also on failure."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sysvm.hosts.down import remove_everything
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.system.runfolder import ensure_run_folder
from sysvm.images.agentlayer import layer_digest
from sysvm.wire.machines import Kind, MachineSpec, Nic, Runtime, Segment, Traffic

_INIT = """#!/bin/sh
trap 'exit 0' PWR
echo up > /sysvm/state/started
while :; do sleep 1 & wait $!; done
"""
_APPLETS = ("sh", "sleep", "cat", "ip", "ping", "id", "ls", "mount", "touch", "ps", "nc")


def is_root() -> bool:
    """These tests make namespaces, mounts and containers."""
    return os.geteuid() == 0


def make_template(cache: Path, version: str = "busybox") -> str:
    """A root that has an init which stops on SIGPWR, and nothing else; its version."""
    root = cache / "templates" / version / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "run", "var", "sysvm", "usr/lib/sysvm", "sbin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for file in ("/bin/busybox", *_libraries("/bin/busybox")):
        place = root / file.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    for applet in _APPLETS:
        (root / "bin" / applet).unlink(missing_ok=True)
        (root / "bin" / applet).symlink_to("busybox")
    # An agent layer of nothing, under the name that the host agent looks for: else it would make a real one.
    layer = cache / "agents" / layer_digest()
    (layer / "root").mkdir(parents=True, exist_ok=True)
    (layer / "agent.squashfs").touch()
    init = root / "usr/lib/sysvm/init"
    init.write_text(_INIT)
    init.chmod(0o755)
    return version


def _libraries(program: str) -> list[str]:
    """What it is linked with; nothing when it is static."""
    return re.findall(r"(/\S+) \(0x", sh("ldd", program, check=False))


@asynccontextmanager
async def host(folder: Path) -> AsyncIterator[tuple[Layout, HostNetwork]]:
    """An empty host with a network; everything of it is gone afterwards."""
    before = os.environ.get("SYSVM_CACHE")
    os.environ["SYSVM_CACHE"] = str(folder / "cache")
    layout = Layout.of(folder / "state")
    layout.host.mkdir(parents=True)
    make_template(layout.cache)
    network = HostNetwork(layout)
    try:
        ensure_run_folder(layout)
        await network.ensure()
        yield layout, network
    finally:
        await remove_everything(layout)
        if before is None:
            del os.environ["SYSVM_CACHE"]
        else:
            os.environ["SYSVM_CACHE"] = before


def segment(key: str = "net-1", traffic: Traffic = Traffic.GUEST, **more: object) -> Segment:
    """A segment of one host."""
    return Segment(key=key, traffic=traffic, **more)  # type: ignore[arg-type]


def nic(number: int, *, on: Segment | None = None, device: int = 0, **more: object) -> Nic:
    """The NIC of the machine with this number: 02:..:<number>, 10.1.1.<number>/24."""
    values: dict[str, object] = {"addresses": (f"10.1.1.{number}/24",), "gateway": "10.1.1.1"}
    values.update(more)
    return Nic(device=device, mac=f"02:00:00:00:{device:02x}:{number:02x}", segment=on or segment(), **values)  # type: ignore[arg-type]


def spec(number: int = 10, *, kind: Kind = Kind.CONSOLE_PROXY, incarnation: int = 1, **more: object) -> MachineSpec:
    """A system VM."""
    nics = (nic(number, is_router=kind is Kind.ROUTER),)
    values: dict[str, object] = {
        "nics": nics,
        "runtime": Runtime.CONTAINER,
        "template": "busybox",
        "state_key": "a secret",
    }
    values.update(more)
    machine = f"00000000-0000-4000-8000-{number:012d}"
    return MachineSpec(
        machine=machine,
        incarnation=incarnation,
        name=f"v-{number}-VM",
        kind=kind,
        hostname=f"v-{number}-vm",
        **values,  # type: ignore[arg-type]
    )


def sh(*words: str, check: bool = True) -> str:
    """The output of a command."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
    return done.stdout
