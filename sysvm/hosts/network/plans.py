"""What is missing of a segment or a port, as lines for `ip -batch`. Pure.

`Link` is what `ip -d -j link show` says of an interface; a plan for what is already there is empty.
"""

import json
from dataclasses import dataclass
from typing import Any

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.layout import Layout
from sysvm.wire.machines import Isolation, Nic, Segment, Traffic

VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50
FLOOD = "00:00:00:00:00:00"


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


def parse_links(answer: str) -> dict[str, Link]:
    """The interfaces of an answer of `ip -d -j link show`."""
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
        lines.append(f"link set {name} alias sysvm:segment:{segment.key}")
    if name not in links or links[name].mtu != segment_mtu(segment):
        lines.append(f"link set {name} mtu {segment_mtu(segment)}")
    if name not in links or not links[name].up:
        lines.append(f"link set {name} up")
    if segment.gateway:
        lines.append(f"addr replace {segment.gateway} dev {name}")
    return lines


def plan_trunk(
    layout: Layout, segment: Segment, links: dict[str, Link], underlay: str, uplink: str | None
) -> tuple[str | None, list[str]]:
    """The device that leads to other hosts (or None), and what it lacks; says why when there can be none."""
    match segment.isolation:
        case Isolation.VXLAN if segment.peers:
            return _plan_vxlan(layout, segment, links, underlay)
        case Isolation.VLAN:
            return _plan_vlan(layout, segment, links, uplink)
        case Isolation.NONE if segment.traffic is Traffic.PUBLIC and uplink:
            return uplink, _plan_plug(layout, segment, uplink, links)
        case _:
            return None, []


def _plan_vxlan(layout: Layout, segment: Segment, links: dict[str, Link], underlay: str) -> tuple[str, list[str]]:
    if not underlay:
        text = f"network {segment.key} has other hosts, but this host has no underlay address (--underlay)"
        raise Refused(text, Why.UNAVAILABLE)
    name = layout.trunk(segment.key)
    lines = []
    if name not in links:
        options = f"id {segment.tag} local {underlay.split('/')[0]} dstport {VXLAN_PORT}"
        lines.append(f"link add {name} mtu {segment_mtu(segment)} type vxlan {options}")
    return name, [*lines, *_plan_plug(layout, segment, name, links)]


def _plan_vlan(layout: Layout, segment: Segment, links: dict[str, Link], uplink: str | None) -> tuple[str, list[str]]:
    if not uplink:
        text = f"VLAN {segment.tag} needs an uplink, and this host has none (--uplink)"
        raise Refused(text, Why.UNAVAILABLE)
    name = layout.trunk(segment.key)
    lines = [] if name in links else [f"link add link {uplink} name {name} type vlan id {segment.tag}"]
    return name, [*lines, *_plan_plug(layout, segment, name, links)]


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


def plan_port(layout: Layout, port: str, nic: Nic, links: dict[str, Link]) -> list[str]:
    """An existing interface is plugged into its segment's bridge, and up. Control ports do not see each other."""
    segment = nic.segment
    link = links.get(port)
    mtu = min(nic.mtu, segment_mtu(segment))
    lines = [] if link is not None and link.mtu == mtu else [f"link set {port} mtu {mtu}"]
    lines += [line for line in _plan_plug(layout, segment, port, links) if " master " in line]
    isolated = segment.traffic is Traffic.CONTROL
    if link is None or link.isolated != isolated:
        lines.append(f"link set {port} type bridge_slave isolated {'on' if isolated else 'off'}")
    if link is None or not link.up:
        lines.append(f"link set {port} up")
    return lines


def bridges_with_address(answer: str) -> tuple[str, ...]:
    """The bridges on which the host itself can be spoken to, from `ip -j addr show`."""
    items = (item for item in json.loads(answer or "[]") if item.get("addr_info"))
    return tuple(item["ifname"] for item in items if item["ifname"].startswith("br"))
