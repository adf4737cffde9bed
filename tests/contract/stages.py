"""Where drivers are tried: each stage has a driver, knows how to do it harm, and looks for what it left behind."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from sysvm.basics.clock import SystemClock, VirtualClock
from sysvm.hosts.down import remove_everything
from sysvm.hosts.driver import Driver
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import LxcDriver, cgroups
from sysvm.hosts.lxc.containers import Containers
from sysvm.hosts.moves.carrying import Gates
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.simulated.gates import SimulatedGates
from sysvm.hosts.simulator import SimulatedDriver, World
from sysvm.hosts.system import mounts
from sysvm.hosts.system.runfolder import ensure_run_folder
from sysvm.wire.machines import MachineSpec, Power, Runtime
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm.stage import kvm


class Stage(Protocol):
    """A driver and its surroundings."""

    driver: Driver
    hypervisor: str
    grace_s: float
    keeps_networks: bool
    gates: Gates | None  # where incarnations of a router have ports of their own

    def spec(self, number: int, **more: Any) -> MachineSpec:
        """A machine that this driver can run."""
        ...

    async def kill(self, spec: MachineSpec) -> None:
        """It dies and the driver can know it."""
        ...

    async def leftovers(self) -> list[str]:
        """What is left of machines: mounts, ports, processes, control groups, files."""
        ...

    async def network_of(self, spec: MachineSpec) -> object:
        """The identity of its network namespace."""
        ...

    def files_with(self, text: str) -> list[Path]:
        """Durable files that contain the text."""
        ...


class SimulatorStage:
    """In memory."""

    hypervisor, grace_s, keeps_networks = "Simulator", 5.0, True

    def __init__(self) -> None:
        self.driver = SimulatedDriver(World(VirtualClock()), apart=True)
        self.gates = SimulatedGates(self.driver)

    def spec(self, number: int, **more: Any) -> MachineSpec:
        return ground.spec(number, runtime=Runtime.SIMULATED, **more)

    async def kill(self, spec: MachineSpec) -> None:
        self.driver.kill(spec.machine, spec.incarnation)

    async def leftovers(self) -> list[str]:
        return [life.spec.name for life in self.driver.lives()] + sorted(self.driver._kept)

    async def network_of(self, spec: MachineSpec) -> object:
        return self.driver.keeps_network_of(spec.machine)

    def files_with(self, text: str) -> list[Path]:
        del text
        return []


class LxcStage:
    """Containers on this machine, in a namespace of their own."""

    hypervisor, grace_s, keeps_networks, gates = "LXC", 5.0, True, None

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self.layout = layout
        self.network = network
        self.driver = LxcDriver(layout, network)

    def spec(self, number: int, **more: Any) -> MachineSpec:
        return ground.spec(number, **more)

    async def kill(self, spec: MachineSpec) -> None:
        containers, name = Containers(self.layout.lxc), f"{spec.machine}.{spec.incarnation}"
        init = await containers.init(name)
        assert init is not None
        os.kill(init.pid, signal.SIGKILL)
        async for _ in until(SystemClock(), "the container is stopped"):
            if await containers.power(name) is Power.STOPPED:
                return

    async def leftovers(self) -> list[str]:
        found = [str(point) for point in mounts.mounted_below(self.layout.state)]
        found += [str(point) for point in mounts.mounted_below(self.layout.run / "ns")]
        found += [name for name in await self.network.links() if name.startswith("sv")]
        found += sorted(await self.network.guarded_ports())
        found += map(str, cgroups.processes(self.layout.cgroup))
        for hierarchy in cgroups.hierarchies():
            found += map(str, (hierarchy / self.layout.cgroup).glob("*/"))
        for folder in (self.layout.machines, self.layout.lxc, self.layout.run):
            found += [str(path) for path in folder.rglob("*") if path.is_file() or path.is_socket()]
        found += map(str, self.layout.machines.glob("*"))
        return found

    async def network_of(self, spec: MachineSpec) -> object:
        return (self.layout.run / "ns" / f"{spec.machine}.net").stat().st_ino

    def files_with(self, text: str) -> list[Path]:
        files = (path for path in self.layout.state.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]


@asynccontextmanager
async def simulator(tmp_path: Path) -> AsyncIterator[SimulatorStage]:
    """No surroundings."""
    del tmp_path
    yield SimulatorStage()


@asynccontextmanager
async def lxc(tmp_path: Path) -> AsyncIterator[LxcStage]:
    """A host of its own below `tmp_path`."""
    async with ground.host(tmp_path) as (layout, network):
        yield LxcStage(layout, network)


async def forget_like_a_reboot(stage: LxcStage) -> None:
    """All processes, mounts and namespaces of the host are gone; its disk is not."""
    saved = stage.layout.state.with_name("saved")
    shutil.copytree(stage.layout.host, saved, ignore=shutil.ignore_patterns("lower", "upper", "work"))
    await remove_everything(stage.layout)
    saved.rename(stage.layout.host)
    ensure_run_folder(stage.layout)
    await stage.network.ensure()


STAGES: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {
    "simulator": simulator,
    "lxc": lxc,
    "kvm": kvm,
}
