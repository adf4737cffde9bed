"""From a router's document to its ruleset: NAT, firewall, egress, what the router itself answers, counters. Pure.

How a packet goes:
- `gate` (prerouting, before NAT) sees a new connection to a public address with the addresses and ports of its sender's
  view, and drops what no firewall rule lets in. Single ports that are open to all are one look into the set `open`;
  the rest is a chain per public address. Guests who use a public address pass the same gate.
- `inward` (prerouting) rewrites the destination: port, then range of ports, then static NAT.
- `input` is what the router itself answers: DHCP, DNS and metadata to guests, ping.
- `forward` lets through what was rewritten (the gate has judged it), and sends the rest through its network's egress chain.
  In a VPC there is no gate: numbered rules of the tiers judge what is forwarded (`acls.py`).
- `outward` (postrouting) rewrites the source: hairpin first, then static NAT, then source NAT.
- `received` and `sent` count bytes per public address, as the outside sees them.

IPv6 is not rewritten, and what of it is forwarded is judged in chains of its own (`rules6.py`); of the router itself it reaches
neighbour discovery, and what doors6 opens to guests.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses
from itertools import pairwise

from sysvm.agent.roles.router import acls, doors, doors6, doors_wireguard, pairing, rules6
from sysvm.agent.roles.router.ruleset import Base, Chain, Collection, Ruleset
from sysvm.agent.roles.router.service import Wrong, address, device, interface, network
from sysvm.wire.balancing import LoadBalancer
from sysvm.wire.documents import (
    Egress,
    EgressRule,
    FirewallRule,
    PortForward,
    Ports,
    Protocol,
    RouterDocument,
    SourceNat,
    StaticNat,
)

NUMBER = {Protocol.TCP: 6, Protocol.UDP: 17}
_EVERYWHERE = IPv4Network("0.0.0.0/0")
_GATE = Base("filter", "prerouting", -150, "accept")
_INWARD = Base("nat", "prerouting", -100, "accept")
_INPUT = Base("filter", "input", 0, "drop")
_FORWARD = Base("filter", "forward", 0, "drop")
_OUTWARD = Base("nat", "postrouting", 100, "accept")
_SENT = Base("filter", "postrouting", 300, "accept")
_STATES = "ct state vmap { established : accept, related : accept, invalid : drop }"
_ASKERS = " size 65535; flags dynamic,timeout; timeout 10s;"
_CALLERS = " size 65535; flags dynamic;"
_AT_ONCE = 8  # connections of one guest to the router's small servers, which have some dozen threads for all


def render(document: RouterDocument) -> Ruleset:
    """The whole table. Raises Wrong with the rule's id."""
    guests = _devices(document, "guest")
    outside = _devices(document, "public")
    public = _public_addresses(document)
    opened, restricted = firewall(document.firewall)
    egress_chains = tuple(_egress_chain(each, outside) for each in document.egress)
    restricted_chains = tuple(Chain(chain_name("fw", name), rules) for name, rules in restricted.items())
    balanced, page_rules = doors.balancer(document)
    collections = (
        Collection("public", "ipv4_addr", dict.fromkeys(public, "")),
        Collection("open", "ipv4_addr . inet_proto . inet_service", dict.fromkeys(opened, "")),
        Collection("restricted", "ipv4_addr : verdict", {name: f"jump {chain_name('fw', name)}" for name in restricted}),
        *forward_maps(document.port_forwards),
        *static_maps(document),
        Collection(
            "egress",
            "ifname : verdict",
            {each.device: f"jump {chain_name('egress', each.device)}" for each in document.egress},
        ),
        *acls.collections(document),
        Collection("balanced", "ipv4_addr . inet_service", dict.fromkeys(balanced, "")),
        Collection("received", "ipv4_addr : counter", {each: _counter("in", each) for each in public}),
        Collection("sent", "ipv4_addr : counter", {each: _counter("out", each) for each in public}),
        Collection("askers", "ipv4_addr", dynamic=_ASKERS),
        Collection("callers", "ipv4_addr", dynamic=_CALLERS),
        *doors6.collections(document),
    )
    counters = frozenset(_counter(way, each) for each in public for way in ("in", "out"))
    chains = (
        *restricted_chains,
        *egress_chains,
        *rules6.chains(document, outside),
        *acls.chains(document),
        Chain("firewall", _firewall_rules()),
        Chain("gate", _gate_rules(document), _GATE),
        Chain("inward", (*doors.gateways(document), *_inward_rules()), _INWARD),
        Chain("input", _input_rules(document, guests, outside, page_rules), _INPUT),
        Chain("forward", _forward_rules(document, guests, outside), _FORWARD),
        Chain("outward", _outward_rules(document, guests, outside), _OUTWARD),
        Chain("sent", ("counter name ip saddr map @sent",), _SENT),
    )
    return Ruleset(counters, collections, chains)


def counter_address(name: str) -> tuple[str, str]:
    """("in" or "out", address) of a counter's name."""
    way, _, rest = name.partition("_")
    return way, rest.replace("_", ".")


def _counter(way: str, public: str) -> str:
    return f"{way}_{public.replace('.', '_')}"


def chain_name(kind: str, what: str) -> str:
    return f"{kind}_{what.replace('.', '_').replace('-', '_')}"


def _devices(document: RouterDocument, role: str) -> tuple[str, ...]:
    return tuple(device(each.device, "interfaces") for each in document.interfaces if each.role == role)


def _public_addresses(document: RouterDocument) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for each in document.interfaces:
        if each.role == "public":
            found |= {str(interface(text, each.device).ip): None for text in each.addresses if ":" not in text}
    balanced = document.balancing.rules if document.balancing is not None else ()
    rules: tuple[SourceNat | StaticNat | PortForward | FirewallRule | LoadBalancer, ...] = (
        *balanced,
        *document.source_nat,
        *document.static_nat,
        *document.port_forwards,
        *document.firewall,
    )
    found |= {address(text, "public address"): None for text in dict.fromkeys(each.public for each in rules)}
    return tuple(found)


# ---------------------------------------------------------------- from outside
def _gate_rules(document: RouterDocument) -> tuple[str, ...]:
    return (
        "counter name ip daddr map @received",
        *doors.gateways(document),
        *(("ct state new ip daddr @public jump firewall",) if document.vpc is None else ()),
    )


def _firewall_rules() -> tuple[str, ...]:
    return ("ip daddr . meta l4proto . th dport @open accept", "ip daddr vmap @restricted", "drop")


def firewall(rules: tuple[FirewallRule, ...]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Keys of the set `open`, and rules per public address for what does not fit into it."""
    opened: list[str] = []
    restricted: dict[str, list[str]] = {}
    for rule in rules:
        where = f"firewall rule {rule.rule}"
        public = address(rule.public, where)
        match = _service_match(rule.protocol, rule.ports, rule.icmp_type, rule.icmp_code, where)
        single = rule.ports is not None and rule.ports.first == rule.ports.last
        sources = _networks(rule.sources, where)
        if single and not sources and rule.protocol in NUMBER and rule.ports is not None:
            opened.append(f"{public} . {NUMBER[rule.protocol]} . {rule.ports.first}")
        else:
            restricted.setdefault(public, []).append(_joined(_from(sources), match, "accept"))
    return opened, {public: tuple(lines) for public, lines in restricted.items()}


def forward_maps(rules: tuple[PortForward, ...]) -> tuple[Collection, Collection]:
    """Single and shifted ports one by one, ranges that keep their numbers as ranges."""
    ports: dict[str, str] = {}
    ranges: dict[str, str] = {}
    taken: dict[tuple[str, Protocol], list[tuple[int, int, str]]] = {}
    for rule in rules:
        where = f"port forward {rule.rule}"
        public, private = address(rule.public, where), address(rule.private, where)
        if rule.protocol not in NUMBER:
            raise Wrong(f"{where}: {rule.protocol} has no ports", "forward tcp or udp, or use static NAT")
        first, last = _span(rule.ports, where)
        to_first, to_last = _span(rule.private_ports, where)
        if last - first != to_last - to_first:
            raise Wrong(f"{where}: {first}-{last} is not as long as {to_first}-{to_last}", "give ranges of one length")
        taken.setdefault((public, rule.protocol), []).append((first, last, rule.rule))
        head = f"{public} . {NUMBER[rule.protocol]} . "
        if first == last:  # nearly all
            ports[f"{head}{first}"] = f"{private} . {to_first}"
        elif first == to_first:
            ranges[f"{head}{first}-{last}"] = private
        else:
            ports |= {f"{head}{first + step}": f"{private} . {to_first + step}" for step in range(last - first + 1)}
    for (public, protocol), spans in taken.items():
        _apart(f"{public} {protocol}", spans)
    key = "ipv4_addr . inet_proto . inet_service : ipv4_addr"
    return (
        Collection("ports", f"{key} . inet_service", ports),
        Collection("ranges", key, ranges, interval=True),
    )


def _apart(what: str, spans: list[tuple[int, int, str]]) -> None:
    spans.sort()
    for (_, last, one), (first, _, other) in pairwise(spans):
        if first <= last:
            raise Wrong(f"port forwards {one} and {other} both want port {first} of {what}", "remove one of them")


def static_maps(document: RouterDocument) -> tuple[Collection, Collection]:
    inward: dict[str, str] = {}
    outward: dict[str, str] = {}
    for rule in document.static_nat:
        where = f"static NAT {rule.rule}"
        public, private = address(rule.public, where), address(rule.private, where)
        if public in inward or private in outward:
            raise Wrong(f"{where}: {public} or {private} has another static NAT", "remove one of them")
        inward[public], outward[private] = private, public
    return Collection("static_in", "ipv4_addr : ipv4_addr", inward), Collection("static_out", "ipv4_addr : ipv4_addr", outward)


def _inward_rules() -> tuple[str, ...]:
    key = "ip daddr . meta l4proto . th dport"
    return (f"dnat ip to {key} map @ports", f"dnat ip to {key} map @ranges", "dnat ip to ip daddr map @static_in")


# ---------------------------------------------------------------- the router itself
def _input_rules(
    document: RouterDocument, guests: tuple[str, ...], outside: tuple[str, ...], pages: tuple[str, ...]
) -> tuple[str, ...]:
    rules = [_STATES, 'iifname "lo" accept']
    # What is balanced has passed the gate, whether it comes from outside or from a guest.
    rules.append("ip daddr . tcp dport @balanced accept")
    rules += doors.vpn(document)
    rules += doors_wireguard.port(document)
    rules += pairing.doors(document)
    rules.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept")
    if outside:
        # From outside only what the gate let through; to guests and control the router answers pings.
        rules.append(f"iifname {_names(outside)} meta l4proto icmp ip daddr @public accept")
        rules.append(f"iifname {_names(outside)} drop")
    rules.append("icmp type echo-request accept")
    rules += doors6.served(document)
    served = tuple(dict.fromkeys(device(each.device, "dhcp") for each in document.dhcp))
    if served:
        rules.append(f"iifname {_names(served)} udp dport 67 accept")
    if guests:
        few = f"ct state new add @callers {{ ip saddr ct count over {_AT_ONCE} }} drop"
        rules.append(f"iifname {_names(guests)} tcp dport {{ 53, 80, 8080 }} {few}")
    if document.dns is not None and guests:
        askers = _members(collapse_addresses(network(text, "dns") for text in document.dns.allow if ":" not in text))
        if askers:
            rules += [f"iifname {_names(guests)} ip saddr {askers} {name} dport 53 accept" for name in ("udp", "tcp")]
    if document.metadata is not None and guests:
        ports = f"iifname {_names(guests)} tcp dport {{ 80, 8080 }}"
        rules.append(f"{ports} ct state new update @askers {{ ip saddr limit rate over 100/second burst 200 packets }} drop")
        rules.append(f"{ports} accept")
    return (*rules, *pages)


# ---------------------------------------------------------------- from guests
def _forward_rules(document: RouterDocument, guests: tuple[str, ...], outside: tuple[str, ...]) -> tuple[str, ...]:
    first = ("tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu", _STATES, *rules6.forward(document))
    clients = (*doors.clients(document, guests, outside), *doors_wireguard.clients(document, guests))
    if document.vpc is not None:
        return (*first, *clients, *acls.forward(outside, doors.tunnels(document, guests)))
    return (*first, "ct status dnat accept", *clients, "iifname vmap @egress")


def _egress_chain(egress: Egress, outside: tuple[str, ...]) -> Chain:
    name = device(egress.device, "egress")
    chain = chain_name("egress", name)
    if not outside:
        return Chain(chain, ("drop",))
    verdict = "drop" if egress.allow_by_default else "accept"
    rules = [f"oifname != {_names(outside)} drop", f"ip saddr != {network(egress.source, 'egress')} drop"]
    rules += [egress_rule(rule, verdict) for rule in egress.rules]
    return Chain(chain, (*rules, "accept" if egress.allow_by_default else "drop"))


def egress_rule(rule: EgressRule, verdict: str) -> str:
    where = f"egress rule {rule.rule}"
    match = _service_match(rule.protocol, rule.ports, rule.icmp_type, rule.icmp_code, where)
    destinations = _networks(rule.destinations, where)
    to = f"ip daddr {_members(destinations)}" if destinations else ""
    return _joined(_from(_networks(rule.sources, where)), to, match, verdict)


def _outward_rules(document: RouterDocument, guests: tuple[str, ...], outside: tuple[str, ...]) -> tuple[str, ...]:
    rules = []
    for each in document.interfaces:
        if each.role == "guest":
            for text in each.addresses:
                if ":" not in text:
                    # A guest that uses a public address of its own network gets its answer by way of the router.
                    home = interface(text, each.device).network
                    rules.append(f'ct status dnat oifname "{device(each.device, "interfaces")}" ip saddr {home} masquerade')
    if outside:
        rules.append(f"oifname {_names(outside)} snat ip to ip saddr map @static_out")
    for nat in document.source_nat:
        name, public = device(nat.device, "source NAT"), address(nat.public, "source NAT")
        rules.append(f'oifname "{name}" ip saddr {network(nat.source, "source NAT")} snat ip to {public}')
    return tuple(dict.fromkeys((*rules, *acls.leaving(document))))


# ---------------------------------------------------------------- parts of rules
def _span(ports: Ports, where: str) -> tuple[int, int]:
    if not 1 <= ports.first <= ports.last <= 65535:
        raise Wrong(f"{where}: {ports.first}-{ports.last} is no range of ports", "give ports from 1 to 65535, the lower first")
    return ports.first, ports.last


def _service_match(protocol: Protocol, ports: Ports | None, icmp_type: int | None, icmp_code: int | None, where: str) -> str:
    if protocol in NUMBER:
        if ports is None:
            return f"meta l4proto {protocol.value}"
        first, last = _span(ports, where)
        return f"{protocol.value} dport {first}" if first == last else f"{protocol.value} dport {first}-{last}"
    if protocol is Protocol.ALL:
        return ""
    parts = ["meta l4proto icmp"]
    for word, number in (("type", icmp_type), ("code", icmp_code)):
        if number is not None and number != -1:
            if not 0 <= number <= 255:
                raise Wrong(f"{where}: {number} is no ICMP {word}", "give a number from 0 to 255, or -1 for any")
            parts.append(f"icmp {word} {number}")
    return " ".join(parts)


def _networks(texts: tuple[str, ...], where: str) -> tuple[IPv4Network, ...]:
    """Disjoint networks; empty when any address is meant."""
    if not texts or "0.0.0.0/0" in texts:
        return ()
    found = tuple(collapse_addresses(network(text, where) for text in texts))
    return () if _EVERYWHERE in found else found


def _from(sources: tuple[IPv4Network, ...]) -> str:
    return f"ip saddr {_members(sources)}" if sources else ""


def _members(networks: Iterable[IPv4Network]) -> str:
    texts = [str(each.network_address) if each.prefixlen == 32 else str(each) for each in networks]
    return f"{{ {', '.join(texts)} }}" if texts else ""


def _names(devices: tuple[str, ...]) -> str:
    return f"{{ {', '.join(f'{chr(34)}{each}{chr(34)}' for each in devices)} }}"


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
