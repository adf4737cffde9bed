"""System VMs and guests as unprivileged LXC containers. Satisfies driver.Driver.

An incarnation exists from its spec.json (written first) to its removal (spec.json goes last); whatever a crash left in
between is finished or taken away by the next call. Its parts, in the order in which they are made: id range, pinned
namespaces, NICs, boot data, root, config.

A router's pair of namespaces is called after the machine and joined by each of its incarnations; everyone else's after
the incarnation. Where another machine serves as soon as this one does not (`paired`), nothing may go on answering in a namespace
without processes: it goes when they end, however they end, before anybody is told.

What it does not do: addresses inside (the agent does), fences and order (the host agent does).
"""

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.hosts import facts
from sysvm.hosts.bootdata import boot_data
from sysvm.hosts.driver import Capabilities, Changed, ChannelEnd, Console, DriverUnavailable, ListenAt, TextCommand
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import cgroups, config, roots
from sysvm.hosts.lxc.containers import Containers
from sysvm.hosts.lxc.ids import Ids
from sysvm.hosts.lxc.pinned import Pinned
from sysvm.hosts.lxc.watch import Watch
from sysvm.hosts.network.host import HostNetwork, note_of
from sysvm.hosts.network.plans import Port
from sysvm.hosts.system.commands import attempt
from sysvm.hosts.system.durable import remove_durably, write_durably
from sysvm.wire.machines import Kind, MachineSeen, MachineSpec, Power, Runtime, spec_digest

TUN = Path("/dev/net/tun")  # a container's VPNs make their interfaces with it


class LxcDriver:
    """Runs containers below one state folder."""

    def __init__(self, layout: Layout, network: HostNetwork, ids: Ids | None = None) -> None:
        self._layout = layout
        self._network = network
        self._containers = Containers(layout.lxc)
        self._ids = ids or Ids(layout.host / "ids.json", layout.hash8)
        self._watch = Watch()
        self._letting_go = asyncio.Lock()

    async def capabilities(self) -> Capabilities:
        """LXC of version 4 or later is installed."""
        try:
            outcome = await attempt("lxc-start", "--version")
        except DriverUnavailable as error:
            return Capabilities(hypervisor="LXC", usable=False, why=str(error))
        return Capabilities(hypervisor="LXC", usable=not outcome.code, why=outcome.err.strip())

    async def look(self, machine: str) -> tuple[MachineSeen, ...]:
        """Every incarnation that has a spec."""
        return tuple([await self._seen(spec) for spec in self._specs(machine)])

    async def look_all(self) -> tuple[MachineSeen, ...]:
        """All containers of this state folder."""
        folder = self._layout.machines
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        return tuple([seen for name in names for seen in await self.look(name)])

    async def ensure_created(self, spec: MachineSpec) -> None:
        """All parts exist; a running container is left alone."""
        if await self._power(spec.machine, spec.incarnation) in (Power.ABSENT, Power.STOPPED):
            await self._prepare(spec)

    async def ensure_running(self, spec: MachineSpec) -> None:
        """It runs. A container that is ending is waited for, and started again."""
        match await self._power(spec.machine, spec.incarnation):
            case Power.RUNNING:
                await self.ensure_nics(spec)
            case Power.ABSENT | Power.STOPPED if spec.paired:
                async with self._letting_go:
                    await self._cut_when_dead(spec.machine)
                    await self._prepare(spec)
                    await self._start(spec)
            case Power.ABSENT | Power.STOPPED:
                await self._prepare(spec)
                await self._start(spec)
            case power:
                raise NotYet(1, f"container {_name(spec.machine, spec.incarnation)} is {power}")

    async def ensure_stopped(self, machine: str, incarnation: int, grace_s: float) -> None:
        """No process of it is left."""
        name = _name(machine, incarnation)
        if await self._power(machine, incarnation) in (Power.ABSENT, Power.STOPPED):
            return
        self._watch.forget(name)
        await self._containers.stop(name, grace_s)
        await self._let_go(machine)

    async def ensure_removed(self, machine: str, incarnation: int, kept_network: bool) -> None:
        """Nothing is left but volumes, and the namespaces when they are to be kept."""
        if self._runtime(machine, incarnation) not in (None, Runtime.CONTAINER):
            return
        await self.ensure_stopped(machine, incarnation, 0)
        await edge("lxc.stopped")
        last = all(spec.incarnation == incarnation for spec in self._specs(machine))
        await self._remove_network(_pin_key(machine, incarnation, shared=False), f"{machine}:{incarnation}:")
        if last and not kept_network:
            await self._remove_network(_pin_key(machine, incarnation, shared=True), f"{machine}:0:")
        await edge("lxc.unplugged")
        self._remove_files(machine, incarnation)
        await edge("lxc.removed")
        if last and not kept_network:
            self._ids.forget(machine)

    async def ensure_nics(self, spec: MachineSpec) -> None:
        """Ports are those of `spec`, in number and rights; new ones appear in the running container."""
        inside, number = self._pinned(spec).net, port_incarnation(spec)
        wanted = {self._layout.port(spec.machine, number, nic.device): nic for nic in spec.nics}
        there = await self._network.ports_of(f"{spec.machine}:{number}:")
        for port in there:
            if port not in wanted and not spec.standby:
                await self._network.remove_port(port)
        await self._network.ensure_ports(
            [
                # While another host's incarnation serves nothing passes here.
                Port(port, nic, note_of(spec.machine, number, nic.device), inside, shut=spec.apart or None)
                for port, nic in wanted.items()
                # What is there is in use by the incarnation that serves.
                if spec.apart or not (spec.standby and port in there)
            ]
        )
        self._write_boot_data(spec)

    async def ensure_disks(self, spec: MachineSpec) -> None:
        """Containers have folders, which do not come or go while they run. It is of this spec from now on."""
        if await self._power(spec.machine, spec.incarnation) is Power.RUNNING:
            self._write_spec(spec)

    async def watch(self, changed: Changed) -> None:
        """Tells of containers that end by themselves."""
        ended: asyncio.Queue[str] = asyncio.Queue()
        async with AsyncExitStack() as stack:
            stack.callback(self._watch.close)
            self._watch.tell(ended.put_nowait)
            for seen in await self.look_all():
                if seen.power is Power.RUNNING:
                    await self._watch_init(seen.machine, seen.incarnation)
                else:
                    await self._let_go(seen.machine)
            while True:
                machine = await ended.get()
                await self._let_go(machine)
                changed(machine)

    def channel(self, machine: str, incarnation: int) -> ChannelEnd | None:
        """The socket that is visible inside a system VM."""
        spec = self._spec(machine, incarnation)
        base = self._ids.known(machine)
        if spec is None or base is None or spec.kind is Kind.GUEST:
            return None
        return ListenAt(self._layout.channel(machine, incarnation) / "host.sock", base)

    def console(self, machine: str) -> Console | None:
        """A login on the first terminal, never a root shell."""
        specs = self._specs(machine)
        if not specs:
            return None
        name = _name(machine, specs[-1].incarnation)
        return TextCommand(("lxc-console", "-P", str(self._layout.lxc), "-n", name, "-t", "1", "-e", "-1"))

    # ------------------------------------------------------------ parts
    async def _let_go(self, machine: str) -> None:
        """The namespace of one of a pair is not kept without its processes."""
        specs = self._specs(machine)
        if not any(spec.paired for spec in specs):
            return
        async with self._letting_go:  # it may be started again at this very moment
            await self._cut_when_dead(machine)

    async def _cut_when_dead(self, machine: str) -> None:
        """Another incarnation may serve there, which was alone when this one began."""
        powers = [await self._power(machine, spec.incarnation) for spec in self._specs(machine)]
        if all(power in (Power.ABSENT, Power.STOPPED) for power in powers):
            await self._remove_network(_pin_key(machine, 0, shared=True), f"{machine}:0:")

    async def _prepare(self, spec: MachineSpec) -> None:
        self._write_spec(spec)
        await edge("lxc.specified")
        base = self._ids.base(spec.machine)
        pinned = self._pinned(spec)
        await pinned.ensure(base)
        await edge("lxc.pinned")
        await self.ensure_nics(spec)
        await edge("lxc.plugged")
        self._make_folders(spec, base)
        stage = roots.ensure_stage(self._layout, spec, base, pinned.user)
        await edge("lxc.staged")
        _open_to_all(TUN)
        self._write_config(spec, stage, base, pinned)
        await edge("lxc.configured")

    def _write_spec(self, spec: MachineSpec) -> None:
        path = self._layout.spec(spec.machine, spec.incarnation)
        write_durably(path, msgspec.json.encode(msgspec.structs.replace(spec, state_key="")))

    async def _start(self, spec: MachineSpec) -> None:
        folder = self._layout.incarnation(spec.machine, spec.incarnation)
        cgroups.remove(self._cgroup(spec.machine, spec.incarnation))
        await self._containers.start(_name(spec.machine, spec.incarnation), folder / "lxc.log")
        await edge("lxc.started")
        await self._watch_init(spec.machine, spec.incarnation)

    async def _watch_init(self, machine: str, incarnation: int) -> None:
        name = _name(machine, incarnation)
        init = await self._containers.init(name)
        if init is not None:
            self._watch.add(name, machine, init.pid)

    def _make_folders(self, spec: MachineSpec, base: int) -> None:
        state = self._layout.incarnation(spec.machine, spec.incarnation) / "state"
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        os.chown(state, base, base)
        # Traversable for the machine's root only through the bind mount; the socket in it belongs to the machine.
        self._layout.channel(spec.machine, spec.incarnation).mkdir(parents=True, exist_ok=True)

    def _write_boot_data(self, spec: MachineSpec) -> None:
        if spec.kind is Kind.GUEST:
            return
        base = self._ids.base(spec.machine)
        folder = self._layout.boot(spec.machine, spec.incarnation)
        folder.mkdir(parents=True, exist_ok=True)
        file, beside = folder / "boot.json", folder / ".boot.json.new"
        beside.touch(mode=0o600)
        beside.write_bytes(msgspec.json.encode(boot_data(spec)))
        os.chown(beside, base, base)
        beside.chmod(0o400)
        beside.rename(file)

    def _write_config(self, spec: MachineSpec, stage: Path, base: int, pinned: Pinned) -> None:
        folder = self._layout.incarnation(spec.machine, spec.incarnation)
        places = config.Places(
            stage=stage,
            boot=self._layout.boot(spec.machine, spec.incarnation),
            channel=self._layout.channel(spec.machine, spec.incarnation),
            user_namespace=pinned.user,
            net_namespace=pinned.net,
            console_log=folder / "console.log",
            log=folder / "lxc.log",
            cgroup=self._cgroup(spec.machine, spec.incarnation),
            base=base,
            host_mhz=facts.cpu_mhz(),
            seccomp=self._layout.lxc / _name(spec.machine, spec.incarnation) / "seccomp",
        )
        text = config.render(spec, places, unified_cgroup=cgroups.is_unified())
        file = self._layout.lxc / _name(spec.machine, spec.incarnation) / "config"
        file.parent.mkdir(parents=True, exist_ok=True)
        places.seccomp.write_text(config.seccomp(spec))
        beside = file.with_name(".config.new")
        beside.write_text(text)
        beside.rename(file)

    async def _remove_network(self, key: str, note: str) -> None:
        for port in await self._network.ports_of(note):
            await self._network.remove_port(port)
        Pinned.at(self._layout.run / "ns", key).remove()

    def _remove_files(self, machine: str, incarnation: int) -> None:
        folder = self._layout.incarnation(machine, incarnation)
        roots.remove_stage(self._layout, machine, incarnation)
        cgroups.remove(self._cgroup(machine, incarnation))
        for gone in (
            self._layout.boot(machine, incarnation),
            self._layout.channel(machine, incarnation),
            self._layout.lxc / _name(machine, incarnation),
            folder / "state",
        ):
            _remove_tree(gone)
        remove_durably(folder / "spec.json")
        _remove_tree(folder)
        parent = self._layout.machine(machine)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

    # ------------------------------------------------------------ looking
    async def _seen(self, spec: MachineSpec) -> MachineSeen:
        power = await self._power(spec.machine, spec.incarnation)
        # Without a config it is half made: it exists, and does not run.
        power = Power.STOPPED if power is Power.ABSENT else power
        return MachineSeen(machine=spec.machine, incarnation=spec.incarnation, power=power, spec=spec_digest(spec))

    async def _power(self, machine: str, incarnation: int) -> Power:
        return await self._containers.power(_name(machine, incarnation))

    def _specs(self, machine: str) -> tuple[MachineSpec, ...]:
        folder = self._layout.machine(machine)
        numbers = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()) if folder.is_dir() else []
        found = (self._spec(machine, number) for number in numbers)
        return tuple(spec for spec in found if spec is not None)

    def _spec(self, machine: str, incarnation: int) -> MachineSpec | None:
        spec = read_spec(self._layout, machine, incarnation)
        return spec if spec is not None and spec.runtime is Runtime.CONTAINER else None

    def _runtime(self, machine: str, incarnation: int) -> Runtime | None:
        spec = read_spec(self._layout, machine, incarnation)
        return None if spec is None else spec.runtime

    def _pinned(self, spec: MachineSpec) -> Pinned:
        key = _pin_key(spec.machine, spec.incarnation, shared=spec.kind is Kind.ROUTER)
        return Pinned.at(self._layout.run / "ns", key)

    def _cgroup(self, machine: str, incarnation: int) -> str:
        return f"{self._layout.cgroup}/{_name(machine, incarnation)}"


def _open_to_all(node: Path) -> None:
    """As udev leaves this node. Where there is no udev it is as the kernel makes it: root's alone, which a container's is not."""
    if node.exists() and node.stat().st_mode & 0o777 != 0o666:
        node.chmod(0o666)


def read_spec(layout: Layout, machine: str, incarnation: int) -> MachineSpec | None:
    """What the incarnation was made from, whoever made it."""
    try:
        return msgspec.json.decode(layout.spec(machine, incarnation).read_bytes(), type=MachineSpec)
    except FileNotFoundError:
        return None


def _name(machine: str, incarnation: int) -> str:
    return f"{machine}.{incarnation}"


def port_incarnation(spec: MachineSpec) -> int:
    """Ports of a router belong to the machine, because its network outlives its incarnations."""
    return 0 if spec.kind is Kind.ROUTER else spec.incarnation


def _pin_key(machine: str, incarnation: int, *, shared: bool) -> str:
    return machine if shared else f"{machine}.{incarnation}"


def _remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
