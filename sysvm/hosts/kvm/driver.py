"""System VMs and guests as QEMU machines under the private libvirtd. Satisfies driver.Driver.

An incarnation exists from its spec.json (written first) to its removal (spec.json goes last); what a crash left in between is
finished or taken away by the next call. Each `ensure_running` of a stopped machine makes boot data, taps and the definition anew.

A host that never had a VM has no libvirtd: where neither a spec nor a definition is on disk, absence is proved without it.
Races thought of: a machine that ends while it is being stopped (libvirt's "not running" is success); a power button
pressed before the guest listens (pressed again every few seconds); two libvirtd starters (daemon.py).
"""

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sysvm.basics.clock import Clock, SystemClock
from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.hosts.agentlayer import chosen_agent
from sysvm.hosts.driver import Capabilities, Changed, ChannelEnd, Console, DialTo, DriverUnavailable, VncSocket
from sysvm.hosts.kvm import belongings, bounds, disks, domain, inside, media, moving, probe
from sysvm.hosts.kvm.connection import Connection, find, load
from sysvm.hosts.kvm.daemon import LIBVIRTD, Daemon
from sysvm.hosts.kvm.lines import GuestLine
from sysvm.hosts.kvm.marks import Marks
from sysvm.hosts.layout import Layout, image_path, volume_path
from sysvm.hosts.lxc.ids import Ids
from sysvm.hosts.network.host import HostNetwork, note_of
from sysvm.hosts.network.plans import Port
from sysvm.hosts.storage.owners import Owner
from sysvm.hosts.storage.qmp import Line
from sysvm.hosts.system.durable import remove_durably, write_durably
from sysvm.wire.machines import Kind, MachineSeen, MachineSpec, Nic, Power, Runtime, spec_digest

T = TypeVar("T")

_START_S = 60.0
_KILL_S = 40.0
_PRESS_EVERY = 5.0
_POLL = 0.2


class KvmDriver:
    """Runs QEMU machines below one state folder."""

    def __init__(self, layout: Layout, network: HostNetwork, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self._layout = layout
        self._network = network
        self._ids = ids or Ids(layout.host / "ids.json", layout.hash8)
        self._clock = clock or SystemClock()
        self._daemon = Daemon(layout)
        self._libvirt = Connection(self._daemon)
        self._start_faults: dict[tuple[str, int], str] = {}
        self.marks = Marks(layout)

    async def capabilities(self) -> Capabilities:
        """QEMU and libvirt are installed; accelerated where a tiny guest has proved it."""
        for program in (domain.EMULATOR, LIBVIRTD):
            if not Path(program).exists():
                return Capabilities(hypervisor="KVM", usable=False, why=f"{program} is not installed")
        try:
            load()
        except DriverUnavailable as error:
            return Capabilities(hypervisor="KVM", usable=False, why=str(error))
        proof = await probe.proof(self._layout)
        return Capabilities(hypervisor="KVM", accelerated=proof.works, why=proof.why)

    # ------------------------------------------------------------ looking
    async def look(self, machine: str) -> tuple[MachineSeen, ...]:
        """Every incarnation that has a spec or a domain."""
        return await self._look(machine)

    async def look_all(self) -> tuple[MachineSeen, ...]:
        """All VMs of this state folder."""
        return await self._look(None)

    async def _look(self, machine: str | None) -> tuple[MachineSeen, ...]:
        specs = self._specs(machine)
        if not specs and not self._daemon.was_ever_used():
            return ()
        domains = await self._libvirt.call(lambda connection: inside.domains(connection, machine))
        # Without a domain it is half made: it exists, and does not run.
        half = {
            (spec.machine, spec.incarnation): MachineSeen(
                machine=spec.machine, incarnation=spec.incarnation, power=Power.STOPPED, spec=spec_digest(spec)
            )
            for spec in specs
        }
        found = half | {(seen.machine, seen.incarnation): seen for seen in domains}
        seen = [self._with_fault(found[key]) for key in sorted(found)]
        return tuple([await self._with_move(one) for one in seen])

    async def _with_move(self, seen: MachineSeen) -> MachineSeen:
        """What is on its way from or to another host says so."""
        key = (seen.machine, seen.incarnation)
        if self.marks.landing(key) is None and self.marks.leaving(key) is None:
            return seen
        name, leaving = domain.domain_name(*key), self.marks.leaving(key) is not None
        life = await self._libvirt.call(lambda connection: moving.life_of(connection, name, leaving=leaving))
        return self.marks.told(seen, life)

    def _with_fault(self, seen: MachineSeen) -> MachineSeen:
        fault = self._start_faults.get((seen.machine, seen.incarnation))
        if fault and seen.power is Power.STOPPED:
            return msgspec.structs.replace(seen, why=fault)
        return seen

    # ------------------------------------------------------------ acts
    async def ensure_created(self, spec: MachineSpec) -> None:
        """All parts and the definition exist; a running machine is left alone."""
        if self._moves(spec):
            return  # ensure_running knows what has become of it
        if await self._power(spec.machine, spec.incarnation) in (Power.ABSENT, Power.STOPPED):
            await self._prepare(spec)

    def _moves(self, spec: MachineSpec) -> bool:
        key = (spec.machine, spec.incarnation)
        return self.marks.landing(key) is not None or self.marks.leaving(key) is not None

    async def ensure_running(self, spec: MachineSpec) -> None:
        """It runs. One that is ending is waited for by its caller, and started again; one that has come from another host, or
        was to go there, runs on here."""
        if self._moves(spec):
            await self._end_move(spec)
        match await self._power(spec.machine, spec.incarnation):
            case Power.RUNNING:
                await self._bound(spec)
                await self.ensure_nics(spec)
                await self.ensure_disks(spec)
            case Power.ABSENT | Power.STOPPED:
                await self._prepare(spec)
                await self._start(spec)
                await self._bound(spec)
                # Volumes that were to grow while QEMU had them open grow now at the latest.
                await self._set_disks(spec)
            case power:
                raise NotYet(1, f"{spec.name} is {power}")

    async def _end_move(self, spec: MachineSpec) -> None:
        key = (spec.machine, spec.incarnation)
        await self._libvirt.call(
            lambda connection: moving.end(connection, domain.domain_name(*key), sent=self.marks.leaving(key) is not None),
            seconds=_START_S,
        )
        if key in self.marks.sending:
            raise NotYet(1, f"{spec.name} is called back from its way to another host")
        self.marks.clear(key)

    async def ensure_stopped(self, machine: str, incarnation: int, grace_s: float) -> None:
        """No QEMU of it is left."""
        if await self._power(machine, incarnation) in (Power.ABSENT, Power.STOPPED):
            return
        waits = self.marks.landing((machine, incarnation)) is not None  # nothing of it runs that could be asked
        if grace_s > 0 and not waits and await self._ask_to_stop(machine, incarnation, grace_s):
            return
        await self._domain(machine, incarnation, inside.destroy, seconds=_KILL_S)

    async def ensure_removed(self, machine: str, incarnation: int, kept_network: bool) -> None:
        """Nothing is left but volumes. Containers of that name are not touched."""
        del kept_network  # the network of a VM's router is inside the VM
        known = self._spec(machine, incarnation) is not None
        if not known and await self._power(machine, incarnation) is Power.ABSENT:
            return
        await self._domain(machine, incarnation, inside.destroy, seconds=_KILL_S)
        await self._domain(machine, incarnation, inside.undefine)
        if known:
            self._take_back(machine, incarnation)
        for port in await self._network.ports_of(f"{machine}:{incarnation}:"):
            await self._network.remove_port(port)
        await asyncio.to_thread(bounds.remove, self._layout, machine, incarnation)
        await asyncio.to_thread(self._remove_files, machine, incarnation)
        self._start_faults.pop((machine, incarnation), None)
        self.marks.places.pop((machine, incarnation), None)
        if not self._specs(machine):
            self._ids.forget(_user_key(machine))

    def owner(self, machine: str) -> Owner:
        """The user that QEMU of this machine runs as from its next start on."""
        return Owner(self._ids.base(_user_key(machine)))

    async def running_owner(self, machine: str, incarnation: int) -> Owner:
        """The user that its QEMU runs as now. NotYet when none runs."""
        name = domain.domain_name(machine, incarnation)
        try:
            return await self._with_domain(name, lambda one: Owner(domain.owner_of(one.XMLDesc(0))))
        except load().libvirtError as error:
            raise NotYet(2, f"the guest has ended meanwhile: {error}") from error

    async def ensure_nics(self, spec: MachineSpec) -> None:
        """Ports are those of `spec` in their rights; a router's are shut while another incarnation serves. A NIC more or less
        needs the machine to be stopped."""
        ports = {nic.device: self._layout.port(spec.machine, spec.incarnation, nic.device) for nic in spec.nics}
        await self._network.ensure_ports([_port(spec, nic, ports[nic.device]) for nic in spec.nics])

    async def ensure_disks(self, spec: MachineSpec) -> None:
        """Disks and drive are those of `spec`, as far as a running machine can be changed; it says so of itself then."""
        if await self._power(spec.machine, spec.incarnation) is not Power.RUNNING:
            return
        if spec.kind is Kind.GUEST:
            self._need_parts(spec, self._places(spec))
        await self._set_disks(spec)
        label = domain.label_xml(spec, self._layout.hash8)
        await self._domain(spec.machine, spec.incarnation, lambda one: inside.set_label(one, label))
        self.write_spec(spec)

    async def _set_disks(self, spec: MachineSpec) -> None:
        if spec.kind is not Kind.GUEST:
            return
        iso = self._places(spec).iso
        try:
            await self._domain(spec.machine, spec.incarnation, lambda one: disks.apply(one, spec.disks, iso), seconds=_START_S)
        except load().libvirtError as error:
            raise NotYet(2, f"{spec.name}: {error}") from error

    async def line_to(self, volume: Path) -> Line | None:
        """See qmp.Lines: the running guest that has the volume."""
        if not self._daemon.was_ever_used():
            return None
        for name in await self._libvirt.call(lambda connection: inside.holders(connection, volume)):
            line = GuestLine(volume, partial(self._with_domain, name))
            if await line.find_node():
                return line
        return None

    async def _with_domain(self, name: str, act: Callable[[Any], T]) -> T:
        def work(connection: Any) -> T:
            found = find(connection, name)
            if found is None:
                raise NotYet(2, "the guest has ended meanwhile")
            return act(found)

        return await self._libvirt.call(work, seconds=_START_S)

    async def watch(self, changed: Changed) -> None:
        """Tells of each transition. After a lost connection everything may have changed, so all are told."""

        def heard(name: str) -> None:
            label = domain.label_of_name(name)
            if label is not None:
                changed(label.machine)

        while True:
            if self._specs(None) or self._daemon.was_ever_used():
                try:
                    await self._libvirt.watch(heard)
                except DriverUnavailable:
                    await self._clock.sleep(2)
                for spec in self._specs(None):
                    changed(spec.machine)
            await self._clock.sleep(1)

    def channel(self, machine: str, incarnation: int) -> ChannelEnd | None:
        """The host's end of a system VM's virtio-serial port."""
        spec = self._spec(machine, incarnation)
        if spec is None or spec.kind is Kind.GUEST:
            return None
        return DialTo(self._places(spec).channel)

    def console(self, machine: str) -> Console | None:
        """The screen of the newest incarnation."""
        specs = self._specs(machine)
        return VncSocket(self._places(specs[-1]).vnc) if specs else None

    def close(self) -> None:
        """Lets go of libvirtd; machines go on running."""
        self._libvirt.close()

    # ------------------------------------------------------------ parts
    async def _prepare(self, spec: MachineSpec) -> None:
        places, owner = await self.make_room(spec), self.owner(spec.machine)
        if places.state is not None:
            await media.make_state_disk(places.state)
            await media.make_boot_disk(spec, self._layout.boot(spec.machine, spec.incarnation))
            await asyncio.to_thread(belongings.give_parts, places, owner)
        accelerated = (await probe.proof(self._layout)).works
        if accelerated:
            belongings.open_accelerator()

        def define(connection: Any) -> None:
            known = find(connection, domain.domain_name(spec.machine, spec.incarnation))
            uuid = known.UUIDString() if known is not None else ""  # that of the host which it has come from
            made = domain.domain_xml(spec, places, host=self._layout.hash8, accelerated=accelerated, owner=owner.label, uuid=uuid)
            connection.defineXML(made)

        await self._libvirt.call(define)

    async def make_room(self, spec: MachineSpec) -> domain.Places:
        """Its spec is written, its disks are its user's, sockets and ports are there. NotYet while parts of it are missing."""
        places, owner = self._places(spec), self.owner(spec.machine)
        self._need_parts(spec, places)
        self.write_spec(spec)
        await asyncio.to_thread(belongings.give_folder, places.sockets, owner)
        if spec.kind is Kind.GUEST:
            await asyncio.to_thread(belongings.give_disks, spec.disks, places.iso, owner)
        await self._remove_other_ports(spec)
        await self.ensure_nics(spec)
        return places

    @property
    def libvirt_socket(self) -> Path:
        """Where libvirtd listens."""
        return self._daemon.folders.socket

    async def ensure_libvirt(self) -> None:
        """libvirtd runs."""
        await self._daemon.ensure()

    def write_spec(self, spec: MachineSpec) -> None:
        """What it is made of from now on; a volume that it had and has no more is taken from its user."""
        self._take_back(spec.machine, spec.incarnation, spec)
        path = self._layout.spec(spec.machine, spec.incarnation)
        write_durably(path, msgspec.json.encode(msgspec.structs.replace(spec, state_key="")))

    def _take_back(self, machine: str, incarnation: int, *after: MachineSpec) -> None:
        before = self._spec(machine, incarnation)
        others = [spec for spec in self._specs(machine) if spec.incarnation != incarnation]
        belongings.take_back(before, (*others, *after), self.owner(machine))

    async def _start(self, spec: MachineSpec) -> None:
        key = (spec.machine, spec.incarnation)
        try:
            await self._domain(*key, inside.create, seconds=_START_S)
        except load().libvirtError as error:
            self._start_faults[key] = str(error)
            raise NotYet(5, f"{spec.name} does not start: {error}") from error
        self._start_faults.pop(key, None)

    async def _bound(self, spec: MachineSpec) -> None:
        name = domain.domain_name(spec.machine, spec.incarnation)
        number = await self._with_domain(name, lambda one: int(one.ID()))
        await asyncio.to_thread(bounds.ensure, self._layout, spec, number)

    async def _remove_other_ports(self, spec: MachineSpec) -> None:
        wanted = {self._layout.port(spec.machine, spec.incarnation, nic.device) for nic in spec.nics}
        for port in await self._network.ports_of(f"{spec.machine}:{spec.incarnation}:"):
            if port not in wanted:
                await self._network.remove_port(port)

    async def _ask_to_stop(self, machine: str, incarnation: int, grace_s: float) -> bool:
        """Presses the power button until the machine has ended (True) or the time is over."""
        now = self._clock.now()
        until, press = now + grace_s, now
        while (now := self._clock.now()) < until:
            if now >= press:
                await self._domain(machine, incarnation, inside.press_power_button)
                press = now + _PRESS_EVERY
            await self._clock.sleep(_POLL)
            if await self._power(machine, incarnation) in (Power.ABSENT, Power.STOPPED):
                return True
        return False

    def _need_parts(self, spec: MachineSpec, places: domain.Places) -> None:
        if spec.kind is Kind.GUEST:
            missing = [volume_path(disk) for disk in spec.disks if not volume_path(disk).is_file()]
            missing += [places.iso] if places.iso is not None and not places.iso.is_file() else []
            if missing:
                raise NotYet(5, f"{spec.name}: {missing[0]} is not there yet")
            return
        parts = (places.base, places.modules, places.kernel, places.initrd)
        if any(part is None or not part.is_file() for part in parts):
            raise Refused(f"system VM template {spec.template!r} is not on this host", Why.UNAVAILABLE)
        if places.agent is None:
            raise Refused(f"no agent has been built on this host ({self._layout.cache / 'agents'})", Why.UNAVAILABLE)

    def _places(self, spec: MachineSpec) -> domain.Places:
        folder = self._layout.incarnation(spec.machine, spec.incarnation)
        sockets = self._layout.channel(spec.machine, spec.incarnation)
        ports = {nic.device: self._layout.port(spec.machine, spec.incarnation, nic.device) for nic in spec.nics}
        log = folder / "console.log"
        if spec.kind is Kind.GUEST:
            iso = Path(image_path(spec.iso.pool, spec.iso.image, "iso")) if spec.iso else None
            return domain.Places(sockets=sockets, console_log=log, ports=ports, iso=iso)
        template = self._layout.cache / "templates" / spec.template
        return domain.Places(
            sockets=sockets,
            console_log=log,
            ports=ports,
            base=template / "base.squashfs",
            modules=template / "modules.squashfs",
            kernel=template / "vmlinuz",
            initrd=template / "initrd",
            agent=_agent_image(self._layout),
            boot=self._layout.boot(spec.machine, spec.incarnation) / "boot.img",
            state=folder / "state.img",
        )

    def _remove_files(self, machine: str, incarnation: int) -> None:
        folder = self._layout.incarnation(machine, incarnation)
        for gone in (self._layout.boot(machine, incarnation), self._layout.channel(machine, incarnation)):
            _remove_tree(gone)
        for file in folder.glob("*"):
            if file.name != "spec.json":
                file.unlink()
        remove_durably(folder / "spec.json")
        _remove_tree(folder)
        parent = self._layout.machine(machine)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

    # ------------------------------------------------------------ libvirt and specs
    async def _power(self, machine: str, incarnation: int) -> Power:
        seen = [one for one in await self.look(machine) if one.incarnation == incarnation]
        return seen[0].power if seen else Power.ABSENT

    async def _domain(self, machine: str, incarnation: int, act: Callable[[Any], None], *, seconds: float = 20.0) -> None:
        """Does `act` to the domain; nothing when there is none."""
        name = domain.domain_name(machine, incarnation)

        def work(connection: Any) -> None:
            found = find(connection, name)
            if found is not None:
                act(found)

        await self._libvirt.call(work, seconds=seconds)

    def _specs(self, machine: str | None) -> tuple[MachineSpec, ...]:
        """Of one machine, or of all; older incarnations first."""
        folder = self._layout.machines
        everyone = sorted(folder.iterdir()) if machine is None and folder.is_dir() else []
        folders = everyone if machine is None else [folder / machine]
        numbers = (
            (one.name, int(entry.name)) for one in folders if one.is_dir() for entry in one.iterdir() if entry.name.isdigit()
        )
        found = (self._spec(name, number) for name, number in sorted(numbers))
        return tuple(spec for spec in found if spec is not None)

    def _spec(self, machine: str, incarnation: int) -> MachineSpec | None:
        try:
            raw = self._layout.spec(machine, incarnation).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        spec = msgspec.json.decode(raw, type=MachineSpec)
        return spec if spec.runtime is Runtime.VM else None


def _port(spec: MachineSpec, nic: Nic, name: str) -> Port:
    # Two incarnations of a router have the same MACs and addresses: only the one that serves may be heard.
    shut = spec.standby if spec.kind is Kind.ROUTER else None
    return Port(name, nic, note_of(spec.machine, spec.incarnation, nic.device), shut=shut)


def _user_key(machine: str) -> str:
    """Beside the range of a container of that machine."""
    return f"vm:{machine}"


def _agent_image(layout: Layout) -> Path | None:
    folder = chosen_agent(layout)
    return None if folder is None else folder / "agent.squashfs"


def _remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
