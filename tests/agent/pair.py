"""Two routers of a pair, each with its agent, between one guest and one outside: a switch with a bridge on either side."""

import secrets
from typing import Any

import msgspec

from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.machines import BootData, Nic
from sysvm.wire.redundancy import Redundancy
from tests.agent.documents import OUTSIDE, PUBLIC, ROUTER, SECOND
from tests.agent.lab import Lab, boot_data, sh

OWN = ("10.1.1.2", "10.1.1.3")
SHARED = (f"{ROUTER}/24", f"{PUBLIC}/24", f"{SECOND}/24")


class Switch:
    """The namespaces that both routers share."""

    def __init__(self) -> None:
        mark = secrets.token_hex(3)
        self.name, self.guest, self.outside = (f"sv{mark}-{name}" for name in ("switch", "guest", "out"))

    def build(self) -> None:
        """Two bridges, a guest on one of them and a machine of the world outside on the other."""
        for name in (self.name, self.guest, self.outside):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        for side, name, address in (("guest", self.guest, "10.1.1.5/24"), ("out", self.outside, f"{OUTSIDE}/24")):
            sh("ip", "-n", self.name, "link", "add", side, "type", "bridge")
            sh("ip", "-n", self.name, "link", "set", side, "up")
            self.plug(name, "eth0", side, f"{side}0")
            sh("ip", "-n", name, "address", "add", address, "dev", "eth0")
        sh("ip", "-n", self.guest, "route", "add", "default", "via", ROUTER)

    def plug(self, namespace: str, device: str, side: str, port: str, mac: str = "") -> None:
        """A cable from a namespace into one of the bridges."""
        address = ("address", mac) if mac else ()
        sh(
            "ip", "link", "add", "name", device, *address, "netns", namespace, "type", "veth",
            "peer", "name", port, "netns", self.name,
        )  # fmt: skip
        sh("ip", "-n", self.name, "link", "set", port, "master", side, "up")
        sh("ip", "-n", namespace, "link", "set", device, "up")

    def cut(self, number: int) -> None:
        """What is plugged in for that router goes dark."""
        for side in ("guest", "out"):
            sh("ip", "-n", self.name, "link", "set", f"{side}{number}", "down")

    def remove(self) -> None:
        """Nothing is left."""
        for name in (self.guest, self.outside, self.name):
            sh("ip", "netns", "del", name)


class Half(Lab):
    """One router of the pair: the first or the second."""

    def __init__(self, switch: Switch, number: int) -> None:
        super().__init__()
        self.guest, self.outside = switch.guest, switch.outside
        self.number = number
        self._switch = switch
        self.macs = (f"02:00:0a:01:01:f{number}", f"02:00:cb:00:71:f{number}")
        self.own = OWN[number - 1]

    def build(self) -> None:
        """Its namespace with both cables, folders, s6."""
        sh("ip", "netns", "add", self.router)
        sh("ip", "-n", self.router, "link", "set", "lo", "up")
        for device, side, mac in (("eth0", "guest", self.macs[0]), ("eth2", "out", self.macs[1])):
            self._switch.plug(self.router, device, side, f"{side}{self.number}", mac)
        self._furnish(self._boot())

    def _namespaces(self) -> tuple[str, ...]:
        return (self.router,)

    def _boot(self) -> BootData:
        plain = boot_data()
        nics = tuple(Nic(device=nic.device, mac=mac, segment=nic.segment) for nic, mac in zip(plain.nics, self.macs, strict=True))
        return msgspec.structs.replace(plain, nics=nics, name=f"r-{self.number}-VM", hostname=f"r-{self.number}-VM")

    def alone(self, **sections: Any) -> RouterDocument:
        """As the only router of its network."""
        return self._document((f"{ROUTER}/24",), None, sections)

    def paired(self, *, peer: bool = True, **sections: Any) -> RouterDocument:
        """As one of the pair."""
        said = Redundancy(
            device="eth0", own=self.own, peer=OWN[2 - self.number] if peer else "", priority=101 - self.number, shared=SHARED
        )
        return self._document((f"{self.own}/24", f"{ROUTER}/24"), said, sections)

    def _document(self, inside: tuple[str, ...], said: Redundancy | None, sections: dict[str, Any]) -> RouterDocument:
        guest, public = self.macs
        plain = RouterDocument(
            machine=boot_data().machine,
            name=f"r-{self.number}-VM",
            interfaces=(
                Interface(device="eth0", mac=guest, role="guest", addresses=inside),
                Interface(device="eth2", mac=public, role="public", addresses=SHARED[1:], gateway=OUTSIDE),
            ),
            redundancy=said,
        )
        return msgspec.structs.replace(plain, **sections)
