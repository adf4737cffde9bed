"""The guard: what a port may send into its bridge, as an nft table of the `bridge` family. Pure text.

It is asked at `prerouting`, before the bridge learns the sender's MAC, so that a lie does not even move a forwarding
entry. A port without rules is dark: rules come first, the plug second. Each port has a chain of its own, found by one map
look-up, and is replaced in one transaction; its counters live on.

A port may send
- frames from its NIC's MAC, and nothing but ARP, IPv4 and IPv6 without a VLAN tag;
- ARP and neighbour advertisements for the addresses it has been given;
- IP from these addresses, and what a client needs before it has one (DHCP, duplicate address detection);
- as a router, IP from everywhere, DHCP answers and router advertisements - but still ARP only for its own addresses.
A port may be shut, for good or for some seconds: nothing comes in from it and nothing goes out to it, whatever its rules say.
So the next incarnation of a router runs beside the one that serves with the same MACs and addresses, and one transaction
(`switch`) lets the one be heard instead of the other; both at once never are.
A port on a guest network without any address (a layer-2 network) is held to its MAC, and may not be a DHCP server or a router.
"""

import ipaddress
import json
from collections.abc import Iterable, Iterator

from sysvm.wire.machines import Nic, Traffic

TABLE = "bridge sysvm_guard"
REASONS = ("mac", "arp", "nd", "ip", "dhcp", "ra", "type", "rate")
SHUT, FROZEN = "shut", "frozen"  # sets of ports: for good, and for some seconds
_FORGET = ("add", "delete")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def base_ruleset() -> str:
    """The table as it is before the first port; harmless to repeat."""
    return "\n".join(
        [
            f"add table {TABLE}",
            f"add set {TABLE} trunks {{ type ifname; }}",
            f"add map {TABLE} ports {{ type ifname : verdict; }}",
            # `shut` needs no times, but had them before there was `frozen`, and a set that is there cannot be declared otherwise.
            *(f"add set {TABLE} {name} {{ type ifname; flags timeout; }}" for name in (SHUT, FROZEN)),
            f"add counter {TABLE} unguarded",
            f"add chain {TABLE} enter {{ type filter hook prerouting priority -300; policy accept; }}",
            f"flush chain {TABLE} enter",
            *(f"add rule {TABLE} enter iifname @{name} drop" for name in (SHUT, FROZEN)),
            f"add rule {TABLE} enter iifname vmap @ports",
            f"add rule {TABLE} enter iifname @trunks accept",
            f"add rule {TABLE} enter counter name unguarded drop",
            f"add chain {TABLE} leave {{ type filter hook postrouting priority -300; policy accept; }}",
            f"flush chain {TABLE} leave",
            *(f"add rule {TABLE} leave oifname @{name} drop" for name in (SHUT, FROZEN)),
            "",
        ]
    )


def trunk_ruleset(port: str) -> str:
    """A port to the world outside of this host: what comes in was guarded there, or nobody can."""
    return f'add element {TABLE} trunks {{ "{port}" }}\n'


def port_ruleset(port: str, nic: Nic) -> str:
    """Replaces what `port` may send, in one transaction."""
    chain = _chain(port)
    head = [f"add counter {TABLE} {port}_{reason}" for reason in REASONS]
    head += [f"add chain {TABLE} {chain}", f"flush chain {TABLE} {chain}"]
    rules = [f"add rule {TABLE} {chain} {rule}" for rule in _rules(port, nic)]
    return "\n".join([*head, *rules, f'add element {TABLE} ports {{ "{port}" : goto {chain} }}', ""])


def switch(opened: Iterable[str], shut: Iterable[str]) -> str:
    """Ports that are open from now on, and ports that are shut for good."""
    lines = [line for port in opened for line in _forgotten(port)]
    lines += [f'add element {TABLE} {SHUT} {{ "{port}" }}' for port in shut]
    return "\n".join([*lines, ""])


def freeze(ports: Iterable[str], seconds: float) -> str:
    """Ports that are shut for `seconds`; an error where one is frozen already (a frozen element's time cannot be changed)."""
    timeout = f"timeout {int(seconds * 1000)}ms"
    return "".join(f'create element {TABLE} {FROZEN} {{ "{port}" {timeout} }}\n' for port in ports)


def thaw(ports: Iterable[str]) -> str:
    """They are not frozen."""
    return "".join(f'{act} element {TABLE} {FROZEN} {{ "{port}" }}\n' for port in ports for act in _FORGET)


def _forgotten(port: str) -> Iterator[str]:
    """It is neither shut nor frozen; harmless to repeat, because what is not there is added before it is deleted."""
    return (f'{act} element {TABLE} {name} {{ "{port}" }}' for name in (SHUT, FROZEN) for act in _FORGET)


def port_removal(port: str) -> str:
    """Forgets `port`; harmless to repeat, because what is not there is added before it is deleted."""
    chain = _chain(port)
    element = f'{TABLE} ports {{ "{port}" : goto {chain} }}'
    lines = [f"add chain {TABLE} {chain}", f"add element {element}", f"delete element {element}"]
    lines += [f"flush chain {TABLE} {chain}", f"delete chain {TABLE} {chain}"]
    lines += _forgotten(port)
    for reason in REASONS:
        lines += [f"add counter {TABLE} {port}_{reason}", f"delete counter {TABLE} {port}_{reason}"]
    return "\n".join([*lines, ""])


def parse_drops(answer: str) -> dict[str, dict[str, int]]:
    """Packets dropped, by port and reason, from `nft -j list counters`; ports that lost nothing are left out."""
    drops: dict[str, dict[str, int]] = {}
    for item in json.loads(answer or "{}").get("nftables", []):
        counter = item.get("counter")
        if counter is None or not counter["packets"]:
            continue
        port, _, reason = counter["name"].rpartition("_")
        drops.setdefault(port or "-", {})[reason] = counter["packets"]
    return drops


def parse_ports(answer: str) -> frozenset[str]:
    """The ports that have rules, from `nft -j list map`."""
    maps = (item["map"] for item in json.loads(answer or "{}").get("nftables", []) if "map" in item)
    return frozenset(element[0] for each in maps for element in each.get("elem", ()))


def parse_shut(answer: str) -> frozenset[str]:
    """The ports that are shut or frozen, from `nft -j list sets`."""
    sets = (item["set"] for item in json.loads(answer or "{}").get("nftables", []) if "set" in item)
    elements = (element for each in sets if each["name"] in (SHUT, FROZEN) for element in each.get("elem", ()))
    # One that is shut for a while is told with its time.
    return frozenset(each["elem"]["val"] if isinstance(each, dict) else each for each in elements)


def _chain(port: str) -> str:
    return f"p_{port}"


def _rules(port: str, nic: Nic) -> Iterator[str]:
    def drop(reason: str) -> str:
        return f"counter name {port}_{reason} drop"

    bound = bool(nic.addresses or nic.allowed) or nic.segment.traffic is not Traffic.GUEST
    yield f"ether saddr != {nic.mac} {drop('mac')}"
    if nic.rate_mbit:
        yield f"limit rate over {nic.rate_mbit * 125} kbytes/second burst {max(64, nic.rate_mbit * 12)} kbytes {drop('rate')}"
    own4, own6 = _own_addresses(nic)
    yield from _arp_rules(nic, own4, bound, drop("arp"))
    if not nic.is_router:
        yield f"ether type ip udp sport 67 udp dport 68 {drop('dhcp')}"
        yield f"ether type ip6 udp sport 547 udp dport 546 {drop('dhcp')}"
        yield f"ether type ip6 icmpv6 type {{ nd-router-advert, nd-redirect }} {drop('ra')}"
    if bound:
        # The target of an advertisement: 16 bytes at offset 8 of the ICMPv6 header.
        targets = ", ".join(_raw_ranges(own6))
        yield f"ether type ip6 icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} {drop('nd')}"
    yield from _source_rules(nic, own4, own6, bound)
    yield f"ether type {{ ip, ip6 }} {drop('ip')}"
    # RARP from its own MAC: QEMU says for a guest that has come from another host where it is now.
    yield "ether type 0x8035 accept"
    yield drop("type")


def _arp_rules(nic: Nic, own: tuple[Network, ...], bound: bool, drop: str) -> Iterator[str]:
    yield f"ether type arp arp saddr ether != {nic.mac} {drop}"
    if not bound:
        yield "ether type arp accept"
        return
    senders = ", ".join(["0.0.0.0", *map(_element, own)])
    yield f"ether type arp arp saddr ip {{ {senders} }} accept"
    yield f"ether type arp {drop}"


def _source_rules(nic: Nic, own4: tuple[Network, ...], own6: tuple[Network, ...], bound: bool) -> Iterator[str]:
    if nic.is_router or not bound:
        yield "ether type { ip, ip6 } accept"
        return
    yield "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept"
    if own4:
        yield f"ether type ip ip saddr {{ {', '.join(map(_element, own4))} }} accept"
    yield "ether type ip6 ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld2-listener-report } accept"
    yield f"ether type ip6 ip6 saddr {{ {', '.join(map(_element, own6))} }} accept"


def _own_addresses(nic: Nic) -> tuple[tuple[Network, ...], tuple[Network, ...]]:
    meant = [_meant(text) for text in (*nic.addresses, *nic.allowed)]
    four = [network for network in meant if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in meant if isinstance(network, ipaddress.IPv6Network)]
    six.append(ipaddress.IPv6Network(link_local(nic.mac)))
    return tuple(ipaddress.collapse_addresses(four)), tuple(ipaddress.collapse_addresses(six))


def _meant(text: str) -> Network:
    """ "10.1.1.5/24" is the address, "10.1.1.0/24" the whole network."""
    interface = ipaddress.ip_interface(text)
    if interface.ip == interface.network.network_address:
        return interface.network
    return ipaddress.ip_network(interface.ip)


def link_local(mac: str) -> ipaddress.IPv6Address:
    """The IPv6 link-local address that a MAC gives (EUI-64); the only one that a port may use."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    tail = bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + tail)


def _element(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _raw_ranges(networks: Iterable[Network]) -> Iterator[str]:
    for network in networks:
        first, last = int(network.network_address), int(network.broadcast_address)
        yield f"{first:#x}" if first == last else f"{first:#x}-{last:#x}"
