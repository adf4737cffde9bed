"""What of IPv6 a router forwards: the chain `six` behind `forward`, and two chains for each guest network. Pure.

Addresses are public and nothing is rewritten, so there is no gate: from outside comes what an ingress rule lets in, and what
answers a guest. What guests begin follows the network's policy and its egress rules, as over IPv4. A source address that
does not belong to the side from which it comes is dropped here, too; between guest networks nothing passes.

Without a routed network there are no such chains, and the kernel forwards no IPv6 (nftables.py).
"""

from ipaddress import IPv6Network, collapse_addresses

from sysvm.agent.roles.router.ruleset import Chain, Ruleset
from sysvm.agent.roles.router.service import Wrong, device, network6
from sysvm.wire.documents import Ports, Protocol, Routed6, RouterDocument, Rule6

CHAIN = "six"
_EVERYWHERE = IPv6Network("::/0")
_WITH_PORTS = (Protocol.TCP, Protocol.UDP)


def is_routed(ruleset: Ruleset) -> bool:
    """Whether IPv6 is forwarded behind these rules."""
    return any(each.name == CHAIN for each in ruleset.chains)


def forward(document: RouterDocument) -> tuple[str, ...]:
    """Rules of the forward chain, after those of established connections."""
    return (f"meta nfproto ipv6 jump {CHAIN}",) if document.routed6 else ()


def chains(document: RouterDocument, outside: tuple[str, ...]) -> tuple[Chain, ...]:
    """Those that are jumped to. Raises Wrong with the rule's id."""
    if not document.routed6:
        return ()
    names = ", ".join(f'"{each}"' for each in outside)
    found: list[Chain] = []
    ways: list[str] = []
    for each in document.routed6:
        name, cidr = device(each.device, "IPv6"), network6(each.cidr, f"IPv6 of {each.device}")
        if outside:
            ways.append(f'iifname {{ {names} }} oifname "{name}" ip6 saddr != {cidr} ip6 daddr {cidr} jump {inward(name)}')
            ways.append(f'iifname "{name}" oifname {{ {names} }} ip6 saddr {cidr} jump {outward(name)}')
        found += [Chain(inward(name), tuple(rule(one, "accept") for one in each.ingress)), _outward(each, name)]
    return (*found, Chain(CHAIN, (*ways, "drop")))


def inward(name: str) -> str:
    """The chain of what comes from outside to guests behind a device."""
    return f"in6_{name}"


def outward(name: str) -> str:
    """The chain of what they begin."""
    return f"out6_{name}"


def exception(each: Routed6) -> str:
    """What an egress rule does: the opposite of the policy."""
    return "drop" if each.egress_allow else "accept"


def _outward(each: Routed6, name: str) -> Chain:
    rules = [rule(one, exception(each)) for one in each.egress]
    return Chain(outward(name), (*rules, "accept" if each.egress_allow else "drop"))


def rule(one: Rule6, verdict: str) -> str:
    """A rule as nft has it. Raises Wrong."""
    where = f"IPv6 firewall rule {one.rule}"
    sources, destinations = _networks(one.sources, where), _networks(one.destinations, where)
    parts = [f"ip6 saddr {sources}" if sources else "", f"ip6 daddr {destinations}" if destinations else ""]
    return " ".join(part for part in (*parts, _match(one, where), verdict) if part)


def _match(one: Rule6, where: str) -> str:
    if one.protocol in _WITH_PORTS:
        return _ports(one.protocol, one.ports, where)
    if one.protocol is Protocol.ALL:
        return ""
    parts = ["meta l4proto ipv6-icmp"]
    for word, number in (("type", one.icmp_type), ("code", one.icmp_code)):
        if number is not None and number != -1:
            if not 0 <= number <= 255:
                raise Wrong(f"{where}: {number} is no ICMPv6 {word}", "give a number from 0 to 255, or -1 for any")
            parts.append(f"icmpv6 {word} {number}")
    return " ".join(parts)


def _ports(protocol: Protocol, ports: Ports | None, where: str) -> str:
    if ports is None:
        return f"meta l4proto {protocol.value}"
    if not 1 <= ports.first <= ports.last <= 65535:
        raise Wrong(f"{where}: {ports.first}-{ports.last} is no range of ports", "give ports from 1 to 65535")
    span = f"{ports.first}" if ports.first == ports.last else f"{ports.first}-{ports.last}"
    return f"{protocol.value} dport {span}"


def _networks(texts: tuple[str, ...], where: str) -> str:
    """Disjoint networks; empty when any address is meant."""
    found = tuple(collapse_addresses(network6(text, where) for text in texts))
    if not found or _EVERYWHERE in found:
        return ""
    return f"{{ {', '.join(str(each.network_address) if each.prefixlen == 128 else str(each) for each in found)} }}"
