"""Making the network of a host true: segments, trunks, ports, guard.

Ports are found by their alias ("sysvm:<machine>:<incarnation>:<device>"), segments by their name; nothing is remembered
between calls but the host's own segments, the open input ports, and which rules were read back last: a host agent that
died loses nothing. Calls wait for each other, so that what one has looked at is still so when it acts. Few programs are
run, whatever the number of NICs: they are most of what a new machine waits for.
"""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass

from sysvm.basics.errors import Broken, NotYet, Refused, Why
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import guard, plans, security_groups
from sysvm.hosts.network.generation import ruleset_generation
from sysvm.hosts.network.input import input_ruleset
from sysvm.hosts.network.namespace import Namespace
from sysvm.hosts.network.plans import Port
from sysvm.hosts.network.tracking import tracking_ruleset
from sysvm.hosts.network.users import users_ruleset
from sysvm.hosts.system.commands import attempt
from sysvm.hosts.system.programs import run
from sysvm.hosts.system.userids import USERS
from sysvm.wire.machines import Isolation, Segment, Traffic
from sysvm.wire.security_groups import SecurityGroupsDocument


@dataclass(frozen=True, slots=True)
class Underlay:
    """How this host reaches other hosts and the world; interfaces are moved from the root namespace into ours."""

    uplink: str | None = None  # plugged into the public bridge
    management: str | None = None  # plugged into the management bridge
    link: str | None = None  # carries VXLAN
    address: str = ""  # address/prefix on `link`

    def of(self, segment: Segment) -> str | None:
        """What leads out of this host for a segment."""
        return self.management if segment.traffic is Traffic.MANAGEMENT else self.uplink


class HostNetwork:
    """The network of the host that `layout` names. Satisfies driver.Network."""

    def __init__(self, layout: Layout, underlay: Underlay | None = None) -> None:
        self._layout = layout
        self._underlay = underlay or Underlay()
        self._lock = asyncio.Lock()
        self._open_ports: frozenset[int] = frozenset()
        self._own_segments: frozenset[str] | None = None  # they stay without machines; None: not known yet
        self._grouped: tuple[SecurityGroupsDocument, int] | None = None  # what the kernel has, as of which generation
        self.namespace = Namespace(layout)

    async def ensure(self) -> None:
        """The namespace, its tables and the interfaces that lead outside exist."""
        async with self._lock:
            await self.namespace.ensure()
            machines = users_ruleset(*USERS)
            await self.namespace.nft(guard.base_ruleset() + security_groups.base_ruleset() + machines)
            for link in (self._underlay.uplink, self._underlay.management, self._underlay.link):
                await self._ensure_inside(link)
            if self._underlay.link and self._underlay.address:
                await self.namespace.ip("addr", "replace", self._underlay.address, "dev", self._underlay.link)

    async def ensure_segments(self, segments: Sequence[Segment], open_ports: frozenset[int]) -> tuple[str, ...]:
        """Their bridges exist, with trunks and the host's addresses; there machines may reach `open_ports` (TCP) of the host.

        They stay without machines; all others go with their last one. What could not be made, in words; the rest is.
        """
        faults = []
        async with self._lock:
            self._open_ports = open_ports
            self._own_segments = frozenset(segment.key for segment in segments)
            links = await self.links()
            await self.namespace.nft(self._rules(segments, (), links))
            for segment in segments:
                try:
                    await self._make((segment,), (), links)
                except (Refused, NotYet, Broken) as error:
                    faults.append(f"segment {segment.key}: {error}")
            await self.namespace.ip_batch(self._removal_of_segments(links))
        return tuple(faults)

    async def ensure_ports(self, ports: Sequence[Port]) -> None:
        """They exist, guarded, plugged and shaped. All of them at once: one look, one transaction of nft, one of ip.

        The guard comes first: what has no rules yet is dark.
        """
        segments = tuple({port.nic.segment.key: port.nic.segment for port in ports}.values())
        tracked = {self._layout.bridge(port.nic.segment.key) for port in ports if port.nic.filtered}
        async with self._lock:
            links = await self.links()
            if tracked:
                await self.namespace.ensure_tracking()
            await self.namespace.nft(self._rules(segments, ports, links, tracked))
            await self._make(segments, ports, links, tracked)
            for inside, lines in plans.plan_inside(ports, links).items():
                await run("nsenter", f"--net={inside}", "ip", "-batch", "-", stdin=_text(lines))
            rates = plans.plan_rates(ports, links)
            if rates:
                await run("tc", "-n", self._layout.namespace, "-batch", "-", stdin=_text(rates))

    def _rules(
        self,
        segments: Sequence[Segment],
        ports: Sequence[Port],
        links: dict[str, plans.Link],
        new: Set[str] = frozenset(),
    ) -> str:
        """One transaction: the guard of these trunks and ports, and what may be said to the host itself."""
        trunks = (plans.trunk_of(self._layout, segment, self._underlay.of(segment)) for segment in segments)
        parts = [guard.base_ruleset(), *(guard.trunk_ruleset(trunk) for trunk in trunks if trunk is not None)]
        parts += [guard.port_ruleset(port.name, port.nic) for port in ports]
        parts.append(
            guard.switch([port.name for port in ports if port.shut is False], [port.name for port in ports if port.shut])
        )
        parts += [security_groups.port_ruleset(port.name) for port in ports if port.nic.filtered]
        bridges = plans.addressed_bridges(self._layout, segments, links)
        tracked = new | {name for name, link in links.items() if link.tracked}
        parts += [tracking_ruleset(tracked)] if new else []
        return "".join([*parts, input_ruleset(bridges, self._open_ports, tracked)])

    async def _make(
        self,
        segments: Sequence[Segment],
        ports: Sequence[Port],
        links: dict[str, plans.Link],
        new: Set[str] = frozenset(),
    ) -> None:
        underlay, lines = self._underlay, []
        for segment in segments:
            trunk = plans.plan_trunk(self._layout, segment, links, underlay.address, underlay.of(segment))
            if trunk and segment.isolation is Isolation.VLAN:
                await self._ensure_vlan_module(segment)
            lines += [*plans.plan_bridge(self._layout, segment, links), *trunk]
        lines += plans.plan_tracking(new, links)
        lines += [line for port in ports for line in plans.plan_port(self._layout, port, links)]
        await self.namespace.ip_batch(lines)
        for segment in segments:
            if segment.isolation is Isolation.VXLAN and segment.peers:
                await self._flood(self._layout.trunk(segment.key), segment.peers)

    async def _flood(self, trunk: str, peers: tuple[str, ...]) -> None:
        seen = plans.parse_flood(await self.namespace.bridge("-j", "fdb", "show", "dev", trunk))
        await self.namespace.bridge_batch(plans.plan_flood(trunk, seen, peers))

    async def remove_port(self, port: str) -> None:
        """Neither interface nor guard of it is left, nor the segment of which it was the last."""
        if not self.namespace.exists():
            return
        async with self._lock:
            links = await self.links()
            lines = [f"link del {port}"] if links.pop(port, None) else []
            await self.namespace.ip_batch([*lines, *self._removal_of_segments(links)])
            await self.namespace.nft(guard.port_removal(port) + security_groups.port_removal(port))

    def _removal_of_segments(self, links: dict[str, plans.Link]) -> list[str]:
        """Neither bridge nor trunk is left of segments that are not the host's own and into which no machine is plugged."""
        return [] if self._own_segments is None else plans.plan_removal(self._layout, self._own_segments, links)

    async def switch_ports(self, opened: Sequence[tuple[str, str]], shut: Sequence[str]) -> None:
        """In one transaction some ports (with the MACs behind them) are opened and others shut, for good.
        Frames for these MACs go to the opened ports from then on, also before anything has come from there."""
        async with self._lock:
            if opened:
                lines = [f"fdb replace {mac} dev {name} master dynamic" for name, mac in opened]
                # A port that is not there yet has nothing behind it; else the first frame from there says the same.
                words = ("bridge", "-force", "-n", self._layout.namespace, "-batch", "-")
                await attempt(*words, stdin="\n".join([*lines, ""]))
            await self._at_once(guard.switch([name for name, _ in opened], shut))

    async def freeze_ports(self, ports: Sequence[str], seconds: float) -> None:
        """They are shut for `seconds` from now on."""
        async with self._lock:
            frozen = guard.freeze(ports, seconds)
            await self._at_once(frozen, guard.thaw(ports) + frozen)

    async def _at_once(self, change: str, otherwise: str = "") -> None:
        """While somebody waits: nft stays for 13 ms longer when anything is deleted, as it is to make the table sure."""
        try:
            await self.namespace.nft(change)
        except NotYet:
            await self.namespace.nft(guard.base_ruleset() + (otherwise or change))

    async def shut_ports(self) -> frozenset[str]:
        """The ports that nothing passes now."""
        if not self.namespace.exists():
            return frozenset()
        answer = await self.namespace.command("nft", "-j", "list", "sets", "table", *guard.TABLE.split())
        return guard.parse_shut(answer)

    async def ports_of(self, note: str) -> tuple[str, ...]:
        """The ports that were made with a note of this beginning."""
        if not self.namespace.exists():
            return ()
        return tuple(link.name for link in (await self.links()).values() if link.alias.startswith(plans.MACHINE + note))

    async def guard_drops(self) -> dict[str, dict[str, int]]:
        """Packets that the guard has dropped, by port and reason."""
        words = ("nft", "-j", "list", "counters", "table", *guard.TABLE.split())
        return guard.parse_drops(await self.namespace.command(*words))

    async def guarded_ports(self) -> frozenset[str]:
        """The ports that have rules."""
        answer = await self.namespace.command("nft", "-j", "list", "map", *guard.TABLE.split(), "ports")
        return guard.parse_ports(answer)

    async def ensure_groups(self, document: SecurityGroupsDocument) -> str:
        """Ports are held to their groups as the document says; what still differs then in the kernel, in words, or nothing."""
        async with self._lock:
            generation = ruleset_generation(self._layout.namespace)
            if (document, generation) == self._grouped:
                return ""
            wanted = security_groups.render(self._layout, document)
            change = security_groups.change(await self._groups(), wanted)
            if change:
                await self.namespace.nft(security_groups.base_ruleset() + change)
                # What comes after this number is looked at again.
                generation = ruleset_generation(self._layout.namespace)
                change = security_groups.change(await self._groups(), wanted)
            self._grouped = None if change else (document, generation)
        return change

    async def _groups(self) -> security_groups.Listed:
        answer = await self.namespace.command("nft", "-j", "list", "table", *security_groups.TABLE.split())
        return security_groups.parse(answer)

    async def links(self) -> dict[str, plans.Link]:
        """All interfaces of the namespace."""
        return plans.parse_links(await self.namespace.ip("-d", "-j", "address", "show"))

    async def remove(self) -> None:
        """Everything is gone; interfaces that were given to us go back to the root namespace or vanish."""
        await self.namespace.remove()

    async def _ensure_inside(self, name: str | None) -> None:
        if name is None or name in await self.links():
            return
        if (await attempt("ip", "link", "show", "dev", name)).code:
            raise Refused(f"interface {name} exists neither on this machine nor in the host's namespace", Why.UNAVAILABLE)
        await run("ip", "link", "set", name, "netns", self._layout.namespace)
        await self.namespace.ip("link", "set", name, "up")

    async def _ensure_vlan_module(self, segment: Segment) -> None:
        probe = "ip link add link lo name probe type vlan id 1"
        if (await attempt("unshare", "--net", "sh", "-c", probe)).code:
            text = f"VLAN {segment.tag}: the kernel of this host has no 802.1Q (module 8021q); use VXLAN"
            raise Refused(text, Why.UNAVAILABLE)


def note_of(machine: str, incarnation: int, device: int) -> str:
    """The note of a NIC's port; ports are found again by its beginning."""
    return f"{machine}:{incarnation}:{device}"


def _text(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()
