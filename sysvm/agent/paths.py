"""Every path that the agent touches, below one root, so that a test runs it in a folder of its own.

Programs (`nft`, `dnsmasq`, ...) are found by PATH and are no part of this.
"""

from pathlib import Path

import msgspec


class Paths(msgspec.Struct, frozen=True):
    """The places of one machine; `Paths(Path("/"))` inside a system VM."""

    root: Path

    @property
    def boot_data(self) -> Path:
        """Who the machine is (BootData, JSON)."""
        return self.root / "sysvm/boot/boot.json"

    @property
    def host_socket(self) -> Path:
        """A container's way to its host."""
        return self.root / "sysvm/host/host.sock"

    @property
    def state(self) -> Path:
        """The small persistent disk."""
        return self.root / "sysvm/state"

    @property
    def stores(self) -> Path:
        """Image stores of a secondary storage VM."""
        return self.root / "sysvm/store"

    @property
    def run(self) -> Path:
        """What lives as long as the machine's kernel (or container) does: rendered files of services."""
        return self.root / "run/sysvm"

    @property
    def scan(self) -> Path:
        """The scan directory of s6."""
        return self.root / "run/service"

    @property
    def poweroff(self) -> Path:
        """The template's program that ends the machine."""
        return self.root / "usr/lib/sysvm/poweroff"

    @property
    def virtio_ports(self) -> Path:
        """Names of virtio-serial ports."""
        return self.root / "sys/class/virtio-ports"

    @property
    def devices(self) -> Path:
        """Device nodes."""
        return self.root / "dev"
