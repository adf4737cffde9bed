"""The KVM driver on a host of its own, for the contract suite and for this folder's tests."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm.daemon import processes_of
from sysvm.hosts.kvm.domain import domain_name
from sysvm.hosts.kvm.driver import KvmDriver
from sysvm.hosts.kvm.probe import Proof
from sysvm.hosts.layout import Layout
from sysvm.hosts.moves.gates import PortGates
from sysvm.hosts.network import HostNetwork
from sysvm.images.places import cache_folder
from sysvm.wire.machines import MachineSpec, Power, Runtime
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm import idle

# Shared by all tests, as it is by all hosts of a machine: finding it out takes seconds.
LIBVIRT_CACHE = cache_folder() / "libvirt"


class KvmStage:
    """Emulated machines in a namespace of their own."""

    # The idle kernel hears no power button.
    hypervisor, grace_s, keeps_networks = "KVM", 0.0, False

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self.layout = layout
        self.network = network
        self.driver = KvmDriver(layout, network)
        self.gates = PortGates(layout, network)

    def spec(self, number: int, **more: Any) -> MachineSpec:
        return ground.spec(number, runtime=Runtime.VM, memory_mb=64, **more)

    async def has(self, spec: MachineSpec) -> None:
        """Disks and drive of the running machine are those of `spec`; firmware that begins may shut the drive in between."""
        async for _ in until(SystemClock(), "it has the disks and the image"):
            with contextlib.suppress(NotYet):
                await self.driver.ensure_disks(spec)
                return

    def pid_of(self, spec: MachineSpec) -> int:
        """The machine's QEMU."""
        name = f"{domain_name(spec.machine, spec.incarnation)}.pid"
        return int((self.layout.run / "libvirt/qemu" / name).read_text())

    async def kill(self, spec: MachineSpec) -> None:
        os.kill(self.pid_of(spec), signal.SIGKILL)
        async for _ in until(SystemClock(), "the machine is stopped"):
            if (await self.driver.look(spec.machine))[0].power is Power.STOPPED:
                return

    async def leftovers(self) -> list[str]:
        found = [name for name in await self.network.links() if name.startswith("sv")]
        found += sorted(await self.network.guarded_ports())
        words = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_of(self.layout)]
        found += [word[:60].decode() for word in words if b"libvirtd" not in word and b"virtlogd" not in word]
        for folder in (self.layout.machines, self.layout.run / "boot", self.layout.run / "chan"):
            found += [str(path) for path in folder.glob("*")]
        definitions = self.layout.libvirt / "etc/qemu"
        return found + [str(path) for path in definitions.glob("*.xml")]

    async def network_of(self, spec: MachineSpec) -> object:
        raise NotImplementedError(spec)

    def files_with(self, text: str) -> list[Path]:
        files = (path for path in self.layout.state.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]


@asynccontextmanager
async def kvm(tmp_path: Path) -> AsyncIterator[KvmStage]:
    """A host of its own below `tmp_path`, where KVM has been asked for and found wanting."""
    async with ground.host(tmp_path) as (layout, network):
        idle.make_template(layout.cache)
        LIBVIRT_CACHE.mkdir(parents=True, exist_ok=True)
        (layout.cache / "libvirt").symlink_to(LIBVIRT_CACHE)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (layout.host / "kvm.json").write_bytes(msgspec.json.encode(Proof(False, "not tried in tests", boot)))
        stage = KvmStage(layout, network)
        try:
            yield stage
        finally:
            stage.driver.close()
