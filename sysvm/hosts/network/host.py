"""Making the network of a host true: segments, trunks, ports, guard.

Ports are found by their alias ("sysvm:<machine>:<incarnation>:<device>"), segments by their name; nothing is remembered
between calls but the open input ports, so a host agent that died loses nothing. Two calls for one segment wait for each
other.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.hosts.commands import attempt
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import guard, plans
from sysvm.hosts.network.input import input_ruleset
from sysvm.hosts.network.namespace import Namespace
from sysvm.hosts.programs import run
from sysvm.wire.machines import Isolation, Nic, Segment


@dataclass(frozen=True, slots=True)
class Underlay:
    """How this host reaches other hosts and the world; interfaces are moved from the root namespace into ours."""

    uplink: str | None = None  # plugged into the public bridge
    link: str | None = None  # carries VXLAN
    address: str = ""  # address/prefix on `link`


class HostNetwork:
    """The network of the host that `layout` names. Satisfies driver.Network."""

    def __init__(self, layout: Layout, underlay: Underlay | None = None) -> None:
        self._layout = layout
        self._underlay = underlay or Underlay()
        self._lock = asyncio.Lock()
        self._open_ports: frozenset[int] = frozenset()
        self.namespace = Namespace(layout)

    async def ensure(self) -> None:
        """The namespace, the guard's table and the interfaces that lead outside exist."""
        async with self._lock:
            await self.namespace.ensure()
            await self.namespace.nft(guard.base_ruleset())
            await self._ensure_inside(self._underlay.uplink)
            await self._ensure_inside(self._underlay.link)
            if self._underlay.link and self._underlay.address:
                await self.namespace.ip("addr", "replace", self._underlay.address, "dev", self._underlay.link)

    async def open_input(self, ports: frozenset[int]) -> None:
        """TCP ports of the host that machines may reach on its own addresses."""
        self._open_ports = ports
        async with self._lock:
            await self._ensure_input()

    async def ensure_segment(self, segment: Segment) -> str:
        """The bridge of the segment exists, with its trunk and the host's address; its name."""
        async with self._lock:
            links = await self.links()
            bridge = self._layout.bridge(segment.key)
            lines = plans.plan_bridge(self._layout, segment, links)
            await self.namespace.ip_batch(lines)
            await self._ensure_trunk(segment, links)
            if segment.gateway:
                await self._ensure_input()
            return bridge

    async def remove_segment(self, key: str) -> None:
        """Neither bridge nor trunk is left. Raises NotYet while machines are plugged in."""
        async with self._lock:
            links = await self.links()
            bridge, trunk = self._layout.bridge(key), self._layout.trunk(key)
            if any(link.master == bridge and link.alias.startswith("sysvm:m:") for link in links.values()):
                raise NotYet(10, f"machines are plugged into segment {key}")
            await self.namespace.ip_batch([f"link del {name}" for name in (trunk, bridge) if name in links])

    async def segments(self) -> frozenset[str]:
        """The keys of the segments that are here."""
        prefix = "sysvm:segment:"
        aliases = (link.alias for link in (await self.links()).values())
        return frozenset(alias.removeprefix(prefix) for alias in aliases if alias.startswith(prefix))

    async def ensure_tap(self, port: str, nic: Nic, note: str) -> None:
        """A persistent tap device `port` exists, guarded and plugged."""
        if port not in await self.links():
            await self.namespace.ip_batch([f"tuntap add dev {port} mode tap vnet_hdr", _alias(port, note)])
        await self.ensure_port(port, nic)

    async def ensure_veth(self, port: str, nic: Nic, inside: Path, note: str) -> None:
        """A veth exists: `port` here, guarded and plugged; eth<device> with the NIC's MAC in namespace `inside`."""
        device, mtu = f"eth{nic.device}", min(nic.mtu, plans.segment_mtu(nic.segment))
        if port not in await self.links():
            peer = f"peer name {device} address {nic.mac} mtu {mtu} netns {inside}"
            await self.namespace.ip_batch([f"link add {port} mtu {mtu} type veth {peer}", _alias(port, note)])
        else:
            words = ("ip", "link", "set", device, "address", nic.mac, "mtu", str(mtu))
            await run("nsenter", f"--net={inside}", *words)
        await self.ensure_port(port, nic)

    async def ensure_port(self, port: str, nic: Nic) -> None:
        """Guard, rate and plug of an existing interface are those of `nic`. The guard comes first."""
        await self.namespace.nft(guard.base_ruleset() + guard.port_ruleset(port, nic))
        try:
            await self._plug(port, nic)
        except NotYet:
            # The bridge may have gone as an empty one between the two steps of plugging.
            await self._plug(port, nic)
        await self._ensure_rate(port, nic.rate_mbit)

    async def _plug(self, port: str, nic: Nic) -> None:
        await self.ensure_segment(nic.segment)
        await self.namespace.ip_batch(plans.plan_port(self._layout, port, nic, await self.links()))

    async def remove_port(self, port: str) -> None:
        """Neither interface nor guard of it is left."""
        if not self.namespace.exists():
            return
        if port in await self.links():
            await self.namespace.ip("link", "del", port)
        await self.namespace.nft(guard.port_removal(port))

    async def ports_of(self, note: str) -> tuple[str, ...]:
        """The ports that were made with a note of this beginning."""
        if not self.namespace.exists():
            return ()
        return tuple(link.name for link in (await self.links()).values() if link.alias.startswith(f"sysvm:m:{note}"))

    async def guard_drops(self) -> dict[str, dict[str, int]]:
        """Packets that the guard has dropped, by port and reason."""
        words = ("nft", "-j", "list", "counters", "table", *guard.TABLE.split())
        return guard.parse_drops(await self.namespace.command(*words))

    async def guarded_ports(self) -> frozenset[str]:
        """The ports that have rules."""
        answer = await self.namespace.command("nft", "-j", "list", "map", *guard.TABLE.split(), "ports")
        return guard.parse_ports(answer)

    async def links(self) -> dict[str, plans.Link]:
        """All interfaces of the namespace."""
        return plans.parse_links(await self.namespace.ip("-d", "-j", "link", "show"))

    async def remove(self) -> None:
        """Everything is gone; interfaces that were given to us go back to the root namespace or vanish."""
        await self.namespace.remove()

    async def _ensure_inside(self, name: str | None) -> None:
        if name is None or name in await self.links():
            return
        if (await attempt("ip", "link", "show", "dev", name)).code:
            raise Refused(
                f"interface {name} exists neither on this machine nor in the host's namespace", Why.UNAVAILABLE
            )
        await run("ip", "link", "set", name, "netns", self._layout.namespace)
        await self.namespace.ip("link", "set", name, "up")

    async def _ensure_trunk(self, segment: Segment, links: dict[str, plans.Link]) -> None:
        uplink = self._underlay.uplink
        trunk, lines = plans.plan_trunk(self._layout, segment, links, self._underlay.address, uplink)
        if trunk is None:
            return
        await self.namespace.nft(guard.trunk_ruleset(trunk))
        if lines and segment.isolation is Isolation.VLAN:
            await self._ensure_vlan_module(segment)
        await self.namespace.ip_batch(lines)
        if segment.isolation is Isolation.VXLAN:
            seen = plans.parse_flood(await self.namespace.bridge("-j", "fdb", "show", "dev", trunk))
            await self.namespace.bridge_batch(plans.plan_flood(trunk, seen, segment.peers))

    async def _ensure_vlan_module(self, segment: Segment) -> None:
        probe = "ip link add link lo name probe type vlan id 1"
        if (await attempt("unshare", "--net", "sh", "-c", probe)).code:
            text = f"VLAN {segment.tag}: the kernel of this host has no 802.1Q (module 8021q); use VXLAN"
            raise Refused(text, Why.UNAVAILABLE)

    async def _ensure_input(self) -> None:
        shown = await self.namespace.ip("-j", "addr", "show")
        bridges = plans.bridges_with_address(shown)
        await self.namespace.nft(input_ruleset(bridges, self._open_ports))

    async def _ensure_rate(self, port: str, mbit: int) -> None:
        # Towards the machine; what it sends is limited by the guard.
        if mbit:
            shape = ("root", "tbf", "rate", f"{mbit}mbit", "burst", f"{max(32, mbit // 2)}kb", "latency", "50ms")
            await self.namespace.command("tc", "qdisc", "replace", "dev", port, *shape)
        else:
            # Fails when there is none to delete, which is what is wanted.
            await attempt("tc", "-n", self._layout.namespace, "qdisc", "del", "dev", port, "root")


def note_of(machine: str, incarnation: int, device: int) -> str:
    """The note of a NIC's port; ports are found again by its beginning."""
    return f"{machine}:{incarnation}:{device}"


def _alias(port: str, note: str) -> str:
    return f"link set {port} alias sysvm:m:{note}"
