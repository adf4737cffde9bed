"""What is missing of a segment or a port, as lines for `ip -batch`. Pure.

`Link` is what `ip -d -j address show` says of an interface; a plan for what is already there is empty.
"""

import json
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.layout import Layout
from sysvm.wire.machines import Isolation, Nic, Segment, Traffic

VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50
FLOOD = "00:00:00:00:00:00"
MACHINE, SEGMENT = "sysvm:m:", "sysvm:segment:"  # how the aliases of ports and bridges begin


@dataclass(frozen=True, slots=True)
class Link:
    """An interface of the host's namespace."""

    name: str
    kind: str
    master: str | None
    mtu: int
    up: bool
    alias: str
    mac: str
    isolated: bool
    addresses: tuple[str, ...] = ()
    shaped: bool = False  # what goes out of it has a rate
    tracked: bool = False  # a bridge whose packets are shown to the hooks of IP (tracking.py)


@dataclass(frozen=True, slots=True)
class Port:
    """The host's end of a NIC: a tap device, or a veth whose other end is eth<device> in the namespace `inside`."""

    name: str
    nic: Nic
    note: str
    inside: Path | None = None
    shut: bool | None = None  # whether anything passes; None: as it is


def parse_links(answer: str) -> dict[str, Link]:
    """The interfaces of an answer of `ip -d -j address show`."""
    return {item["ifname"]: _link(item) for item in json.loads(answer or "[]") if item.get("ifname")}


def _link(item: dict[str, Any]) -> Link:
    info = item.get("linkinfo", {})
    return Link(
        name=item["ifname"],
        kind=info.get("info_kind", ""),
        master=item.get("master"),
        mtu=item["mtu"],
        up="UP" in item["flags"],
        alias=item.get("ifalias", ""),
        mac=item.get("address", ""),
        isolated=bool(info.get("info_slave_data", {}).get("isolated", False)),
        addresses=tuple(f"{each['local']}/{each['prefixlen']}" for each in item.get("addr_info", ())),
        shaped=item.get("qdisc") == "tbf",
        tracked=bool(info.get("info_data", {}).get("nf_call_iptables", 0)),
    )


def segment_mtu(segment: Segment) -> int:
    """VXLAN costs 50 bytes of the wire's frames."""
    return min(segment.mtu, 1500 - VXLAN_OVERHEAD) if segment.isolation is Isolation.VXLAN else segment.mtu


def plan_bridge(layout: Layout, segment: Segment, links: dict[str, Link]) -> list[str]:
    """The bridge of a segment, up, with the host's own address on it."""
    name = layout.bridge(segment.key)
    lines = []
    if name not in links:
        # No spanning tree and no snooping: the bridge has one trunk at most, and querying hosts do not exist.
        lines.append(f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        lines.append(f"link set {name} alias {SEGMENT}{segment.key}")
    if name not in links or links[name].mtu != segment_mtu(segment):
        lines.append(f"link set {name} mtu {segment_mtu(segment)}")
    if name not in links or not links[name].up:
        lines.append(f"link set {name} up")
    if segment.gateway and (name not in links or segment.gateway not in links[name].addresses):
        lines.append(f"addr replace {segment.gateway} dev {name}")
    return lines


def plan_tracking(names: Iterable[str], links: dict[str, Link]) -> list[str]:
    """Connections are tracked on these bridges; there are no lines for those where they are already."""
    missing = [name for name in sorted(names) if name not in links or not links[name].tracked]
    return [f"link set {name} type bridge nf_call_iptables 1 nf_call_ip6tables 1" for name in missing]


def trunk_of(layout: Layout, segment: Segment, uplink: str | None) -> str | None:
    """The device that leads to other hosts or to the world; None when there is none."""
    match segment.isolation:
        case Isolation.VXLAN if segment.peers:
            return layout.trunk(segment.key)
        case Isolation.VLAN:
            return layout.trunk(segment.key)
        case Isolation.NONE if segment.traffic in (Traffic.PUBLIC, Traffic.MANAGEMENT) or segment.outside:
            return uplink
        case _:
            return None


def plan_trunk(layout: Layout, segment: Segment, links: dict[str, Link], underlay: str, uplink: str | None) -> list[str]:
    """What the segment's trunk lacks. Raises Refused with the reason why there can be none."""
    trunk = trunk_of(layout, segment, uplink)
    if trunk is None:
        return []
    match segment.isolation:
        case Isolation.VXLAN:
            lines = _plan_vxlan(trunk, segment, links, underlay)
        case Isolation.VLAN:
            lines = _plan_vlan(trunk, segment, links, uplink)
        case _:
            lines = []
    return [*lines, *_plan_plug(layout, segment, trunk, links)]


def _plan_vxlan(name: str, segment: Segment, links: dict[str, Link], underlay: str) -> list[str]:
    if not underlay:
        text = f"network {segment.key} has other hosts, but this host has no underlay address (--underlay)"
        raise Refused(text, Why.UNAVAILABLE)
    if name in links:
        return []
    options = f"id {segment.tag} local {underlay.split('/')[0]} dstport {VXLAN_PORT}"
    return [f"link add {name} mtu {segment_mtu(segment)} type vxlan {options}"]


def _plan_vlan(name: str, segment: Segment, links: dict[str, Link], uplink: str | None) -> list[str]:
    if not uplink:
        text = f"VLAN {segment.tag} needs an uplink, and this host has none (--uplink)"
        raise Refused(text, Why.UNAVAILABLE)
    return [] if name in links else [f"link add link {uplink} name {name} type vlan id {segment.tag}"]


def _plan_plug(layout: Layout, segment: Segment, port: str, links: dict[str, Link]) -> list[str]:
    bridge = layout.bridge(segment.key)
    link = links.get(port)
    lines = []
    if link is None or link.master != bridge:
        lines.append(f"link set {port} master {bridge}")
    if link is None or not link.up:
        lines.append(f"link set {port} up")
    return lines


def plan_flood(name: str, seen: set[str], peers: tuple[str, ...]) -> list[str]:
    """Lines for `bridge -batch`: frames to nobody known go to all peers and to nobody else."""
    wanted = set(peers)
    add = [f"fdb append {FLOOD} dev {name} dst {peer}" for peer in sorted(wanted - seen)]
    return add + [f"fdb del {FLOOD} dev {name} dst {peer}" for peer in sorted(seen - wanted)]


def parse_flood(answer: str) -> set[str]:
    """The flood list of a VXLAN device, from `bridge -j fdb show`."""
    return {entry["dst"] for entry in json.loads(answer or "[]") if entry.get("mac") == FLOOD and "dst" in entry}


def plan_removal(layout: Layout, kept: Set[str], links: dict[str, Link]) -> list[str]:
    """Bridges, and what leads out of them, of segments without machines that are not `kept`."""
    used = {link.master for link in links.values() if link.alias.startswith(MACHINE)}
    bridges = {link.alias.removeprefix(SEGMENT): name for name, link in links.items() if link.alias.startswith(SEGMENT)}
    empty = {key: bridge for key, bridge in bridges.items() if key not in kept and bridge not in used}
    return [f"link del {name}" for key in empty for name in (layout.trunk(key), empty[key]) if name in links]


def plan_port(layout: Layout, port: Port, links: dict[str, Link]) -> list[str]:
    """A port exists, is plugged into its segment's bridge, and is up. Control ports do not see each other."""
    name, nic, link = port.name, port.nic, links.get(port.name)
    mtu = min(nic.mtu, segment_mtu(nic.segment))
    lines = [] if link is not None else [_new_port(port, mtu), f"link set {name} alias {MACHINE}{port.note}"]
    if link is None or link.mtu != mtu:
        lines.append(f"link set {name} mtu {mtu}")
    lines += [line for line in _plan_plug(layout, nic.segment, name, links) if " master " in line]
    isolated = nic.segment.traffic is Traffic.CONTROL
    if link is None or link.isolated != isolated:
        lines.append(f"link set {name} type bridge_slave isolated {'on' if isolated else 'off'}")
    if link is None or not link.up:
        lines.append(f"link set {name} up")
    return lines


def _new_port(port: Port, mtu: int) -> str:
    if port.inside is None:
        return f"tuntap add dev {port.name} mode tap vnet_hdr"
    peer = f"peer name eth{port.nic.device} address {port.nic.mac} mtu {mtu} netns {port.inside}"
    return f"link add {port.name} mtu {mtu} type veth {peer}"


def plan_inside(ports: Iterable[Port], links: dict[str, Link]) -> dict[Path, list[str]]:
    """By namespace: the inner ends of veths that are there already have the MAC and the MTU of their NICs."""
    found: dict[Path, list[str]] = {}
    for port in ports:
        if port.inside is not None and port.name in links:
            mtu = min(port.nic.mtu, segment_mtu(port.nic.segment))
            line = f"link set eth{port.nic.device} address {port.nic.mac} mtu {mtu}"
            found.setdefault(port.inside, []).append(line)
    return found


def plan_rates(ports: Iterable[Port], links: dict[str, Link]) -> list[str]:
    """Lines for `tc -batch`: how fast a machine is sent to. What it sends is limited by the guard."""
    lines = []
    for port in ports:
        mbit = port.nic.rate_mbit
        if mbit:
            shape = f"rate {mbit}mbit burst {max(32, mbit // 2)}kb latency 50ms"
            lines.append(f"qdisc replace dev {port.name} root tbf {shape}")
        elif port.name in links and links[port.name].shaped:
            lines.append(f"qdisc del dev {port.name} root")
    return lines


def addressed_bridges(layout: Layout, segments: Iterable[Segment], links: dict[str, Link]) -> set[str]:
    """The bridges on which the host itself can be spoken to, those of `segments` included."""
    there = {name for name, link in links.items() if name.startswith("br") and link.addresses}
    return there | {layout.bridge(segment.key) for segment in segments if segment.gateway}
