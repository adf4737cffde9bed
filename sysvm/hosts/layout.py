"""Where everything of one host lives, and what it is called. Pure: it touches nothing.

One state folder is one host. All names that are visible outside of it (network namespace, runtime folder, interfaces,
cgroups) carry the hash of its path, so that two hosts on one machine never meet, and `down` finds everything again
from the path alone.

    <state>/host/                      durable
        tls/ identity.json fences/ handovers/ tasks/ ids.json host.json
        machines/<machine>/<incarnation>/   spec.json, state/, upper/, work/, console.log
        libvirt/                       of the KVM driver
    /run/sysvm/<hash8>/                a tmpfs: lost at a reboot, short enough for unix socket names
        boot/<short>/boot.json         read-only in the machine, holds the state key
        chan/<short>/host.sock         the channel of a container
        lxc/<name>/config              of the containers
        stage/<short>/                 root, state and stores of a container, mounted
        ns/<key>.user, ns/<key>.net    pinned namespaces
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.digest import short_name
from sysvm.wire.machines import Disk

RUN = Path("/run/sysvm")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths and names of the host whose state folder is `state` (absolute, without symbolic links)."""

    state: Path

    @classmethod
    def of(cls, state: Path | str) -> "Layout":
        """The layout of a state folder that may be given relatively or through links."""
        return cls(Path(state).resolve())

    @property
    def hash8(self) -> str:
        """What tells this host from others on the same machine."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def namespace(self) -> str:
        """The network namespace (`ip netns`)."""
        return f"sysvm-{self.hash8}"

    @property
    def namespace_path(self) -> Path:
        """The namespace as a file, for nsenter and setns."""
        return Path("/run/netns") / self.namespace

    @property
    def cgroup(self) -> str:
        """The parent control group of all machines."""
        return f"sysvm-{self.hash8}"

    @property
    def host(self) -> Path:
        """Durable state of the host agent."""
        return self.state / "host"

    @property
    def run(self) -> Path:
        """The runtime folder, a tmpfs."""
        return RUN / self.hash8

    @property
    def names(self) -> Path:
        """Where the name server of console proxies works; beside `run`, which is the host's alone."""
        return RUN / f"{self.hash8}-names"

    @property
    def tls(self) -> Path:
        """Key, certificate and CA."""
        return self.host / "tls"

    @property
    def machines(self) -> Path:
        """One folder per machine."""
        return self.host / "machines"

    @property
    def lxc(self) -> Path:
        """lxcpath: one folder per container with its config. The root user of each walks through it."""
        return self.run / "lxc"

    @property
    def libvirt(self) -> Path:
        """State of the private libvirtd."""
        return self.host / "libvirt"

    @property
    def cache(self) -> Path:
        """Templates and agents, shared by all hosts of this machine (SYSVM_CACHE)."""
        return Path(os.environ.get("SYSVM_CACHE", "/var/cache/sysvm"))

    def machine(self, machine: str) -> Path:
        """Everything durable about a machine."""
        return self.machines / machine

    def incarnation(self, machine: str, incarnation: int) -> Path:
        """Everything durable about one incarnation."""
        return self.machines / machine / str(incarnation)

    def spec(self, machine: str, incarnation: int) -> Path:
        """The spec it was created from, without its state key."""
        return self.incarnation(machine, incarnation) / "spec.json"

    def boot(self, machine: str, incarnation: int) -> Path:
        """The folder that the machine sees at /sysvm/boot (boot.json)."""
        return self.run / "boot" / short_name("b", machine, incarnation)

    def channel(self, machine: str, incarnation: int) -> Path:
        """The folder that a container sees at /sysvm/host (host.sock); a VM's chardev socket may live here too."""
        return self.run / "chan" / short_name("c", machine, incarnation)

    def stage(self, machine: str, incarnation: int) -> Path:
        """What a container mounts, under a path that its root user may walk: root, state, store/<store>."""
        return self.run / "stage" / short_name("m", machine, incarnation)

    def port(self, machine: str, incarnation: int, device: int) -> str:
        """The interface on the host's side of a NIC (15 characters). Kept networks use incarnation 0."""
        return short_name("sv", self.hash8, machine, incarnation, device)

    def bridge(self, segment: str) -> str:
        """The bridge of a segment."""
        return short_name("br", self.hash8, segment)

    def trunk(self, segment: str) -> str:
        """The VXLAN or VLAN device of a segment."""
        return short_name("tr", self.hash8, segment)

    def template_root(self, version: str) -> Path:
        """The root tree of a system VM template."""
        return self.cache / "templates" / version / "root"


def volume_path(disk: Disk) -> Path:
    """Where a volume is in its pool: a file for qcow2 and raw, a folder for dir."""
    folder = Path(disk.pool) / "volumes"
    return folder / disk.volume if disk.format == "dir" else folder / f"{disk.volume}.{disk.format}"


def image_path(pool: str, sha256: str, image_format: str) -> Path:
    """Where an image is in its pool."""
    folder = Path(pool) / "images"
    return folder / sha256 if image_format == "dir" else folder / f"{sha256}.{image_format}"
