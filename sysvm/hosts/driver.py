"""The contract between the host agent and what runs machines: LXC, libvirt, the simulator.

Every `ensure_*` may be repeated and ends in the state that it names, whatever was there before. A driver is called for
one machine at a time (the host agent serializes), for different machines at once. It decides nothing: fences, epochs
and who may ask are the host agent's.

"I cannot look" is `DriverUnavailable`, never an empty answer: absence is proved or not said.

What else the host agent expects of its neighbours is here too, so that it is agreed in one place:
`Storage` (pools, volumes, images: hosts/storage/volumes.py), and by name only
`hosts/relay/process.py` (`async ensure_relay(layout, document)`, `async stop_relay(layout)`) and
`hosts/kvm/down.py` (`async remove_everything(layout)`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from sysvm.basics.errors import Broken
from sysvm.wire.link import EnsureLanding, EnsureSent, HostTaskBody
from sysvm.wire.machines import Disk, MachineSeen, MachineSpec

Changed = Callable[[str], None]
Progress = Callable[[float], None]


class DriverUnavailable(Broken):
    """The driver cannot look or act now (daemon down, kernel refuses): what it runs is unknown, not absent."""


@dataclass(frozen=True, slots=True)
class ListenAt:
    """The host agent listens on this unix socket and the system VM's agent dials it (containers)."""

    socket: Path
    owner: int = 0  # uid and gid on the host of the machine's root user


@dataclass(frozen=True, slots=True)
class DialTo:
    """The host agent connects to this unix socket; bytes of an earlier life may come first (virtio-serial)."""

    socket: Path


ChannelEnd = ListenAt | DialTo


@dataclass(frozen=True, slots=True)
class VncSocket:
    """RFB is spoken on this unix socket."""

    socket: Path


@dataclass(frozen=True, slots=True)
class TextCommand:
    """A text console: run this in a pseudo-terminal."""

    argv: tuple[str, ...]


Console = VncSocket | TextCommand


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do on this host."""

    hypervisor: str  # "KVM", "LXC", "Simulator"
    accelerated: bool = False
    why: str = ""  # why not accelerated, or why it cannot be used
    usable: bool = True


class Driver(Protocol):
    """Runs machines of one runtime."""

    async def capabilities(self) -> Capabilities:
        """What this driver can do here; found out once, then remembered."""
        ...

    async def look(self, machine: str) -> tuple[MachineSeen, ...]:
        """Every incarnation of the machine that this driver has; empty means proved absent.

        `agent`, `fence` and `operations` are filled in by the host agent. `spec` is `wire.machines.spec_digest`.
        Raises DriverUnavailable when nobody can look.
        """
        ...

    async def look_all(self) -> tuple[MachineSeen, ...]:
        """All machines of this state folder."""
        ...

    async def ensure_created(self, spec: MachineSpec) -> None:
        """Root, ports and boot data exist; nothing runs. A running incarnation is left alone."""
        ...

    async def ensure_running(self, spec: MachineSpec) -> None:
        """It runs, created first if need be; a stopped one gets the NICs, limits and boot data of `spec` anew."""
        ...

    async def ensure_stopped(self, machine: str, incarnation: int, grace_s: float) -> None:
        """It does not run. It is asked first when `grace_s` > 0, and killed when that time is over."""
        ...

    async def ensure_removed(self, machine: str, incarnation: int, kept_network: bool) -> None:
        """Nothing is left but volumes; killed if it runs. `kept_network` spares a router's pinned namespaces."""
        ...

    async def ensure_nics(self, spec: MachineSpec) -> None:
        """Guard, rate and allowed addresses of the ports are those of `spec`; hot."""
        ...

    async def ensure_disks(self, spec: MachineSpec) -> None:
        """Disks and the image in the drive of a running machine are those of `spec`; hot, where the runtime has disks.
        From then on a look says that it is of this spec: this is the last step of a change."""
        ...

    async def watch(self, changed: Changed) -> None:
        """Runs until cancelled; calls `changed(machine)` when a machine starts or ends without being asked."""
        ...

    def channel(self, machine: str, incarnation: int) -> ChannelEnd | None:
        """How the host agent meets the agent inside; None for guests and for what does not exist."""
        ...

    def console(self, machine: str) -> Console | None:
        """The console of the machine's newest incarnation."""
        ...


class Mover(Protocol):
    """Moves machines between hosts while they run, beside the driver of the same runtime, whose looks tell how it goes."""

    async def begin_landing(self, order: EnsureLanding) -> None:
        """It is written down, before anything is made for it, that the incarnation shall be taken in, with which volumes."""
        ...

    async def ensure_landing(self, order: EnsureLanding) -> None:
        """The incarnation can be taken in. Its volumes are there by then."""
        ...

    async def ensure_sent(self, order: EnsureSent) -> None:
        """It is on its way, has left, or has failed to; returns at once. An attempt is made once, whoever dies meanwhile."""
        ...

    def landing(self, machine: str, incarnation: int) -> tuple[Disk, ...]:
        """The volumes made here for an incarnation that was to be taken in and has not been told to run."""
        ...


class Storage(Protocol):
    """Pools of a host (hosts/storage/volumes.py)."""

    async def perform(self, body: HostTaskBody, progress: Progress) -> msgspec.Struct | None:
        """Does a host task from begin to end; may be repeated after a crash at any point. The task's result."""
        ...

    async def images(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """The complete images, as "<pool>/<sha256>"."""
        ...

    async def volumes(self, pools: tuple[str, ...]) -> tuple[str, ...]:
        """The volumes, as "<pool>/<volume>"."""
        ...
