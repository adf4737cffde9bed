"""What passes between the tiers of a VPC, and between them and outside: numbered rules as chains of the ruleset. Pure.

A packet that begins a connection is asked about twice: what its tier lets out (`out_eth2`), which drops it or gives it back,
then what the tier that it goes to lets in (`in_eth3`), which accepts or drops it. To outside there is the first question
only; from outside the second one only, and only for what a public address has led here. Answers pass by their connection.

A tier's machines may send from its own network and from networks that static routes lead to by way of it.

A private gateway is asked about like a tier: what comes into its network, and what goes out of it. Who is behind it does not
go out by the VPC's public addresses.
"""

from ipaddress import IPv4Address, collapse_addresses

from sysvm.agent.roles.router.ruleset import Chain, Collection
from sysvm.agent.roles.router.service import Wrong, address, device, network
from sysvm.wire.documents import RouterDocument
from sysvm.wire.vpc import AclRule, Gateway, Tier, Vpc

_PORTS = ("tcp", "udp")


def collections(document: RouterDocument) -> tuple[Collection, ...]:
    """Which chain a device's traffic is asked by. Raises Wrong."""
    if document.vpc is None:
        return ()
    tiers = [device(tier.device, "vpc") for tier in judged(document.vpc)]
    return (
        Collection("acl_out", "ifname : verdict", {name: f"jump {chain_name('out', name)}" for name in tiers}),
        Collection("acl_in", "ifname : verdict", {name: f"jump {chain_name('in', name)}" for name in tiers}),
    )


def chains(document: RouterDocument) -> tuple[Chain, ...]:
    """Two for each tier and private gateway. Raises Wrong with the rule's id."""
    vpc = document.vpc
    if vpc is None:
        return ()
    outside = [device(each.device, "interfaces") for each in document.interfaces if each.role == "public"]
    return tuple(chain for tier in judged(vpc) for chain in (_outward(vpc, tier, outside), _inward(tier)))


def judged(vpc: Vpc) -> tuple[Tier, ...]:
    """What has rules: tiers, and private gateways."""
    return (*vpc.tiers, *vpc.gateways)


def leaving(document: RouterDocument) -> tuple[str, ...]:
    """Source NAT of private gateways: rules of the chain that rewrites senders. Raises Wrong."""
    vpc = document.vpc
    if vpc is None:
        return ()
    return tuple(
        f'oifname "{device(each.device, "vpc")}" ip saddr {network(vpc.cidr, "vpc")} snat ip to {address(each.leaves_as, "vpc")}'
        for each in vpc.gateways
        if each.leaves_as
    )


def forward(outside: tuple[str, ...], tunnels: tuple[str, ...]) -> tuple[str, ...]:
    """The end of the forward chain, in the place of "what was rewritten may pass" and of the egress policy."""
    rules = ["iifname vmap @acl_out", *tunnels]
    if outside:
        names = ", ".join(f'"{name}"' for name in outside)
        rules += [
            f"iifname {{ {names} }} ct status dnat oifname vmap @acl_in",
            f"iifname {{ {names} }} drop",
            f"oifname {{ {names} }} accept",
        ]
    return (*rules, "oifname vmap @acl_in")


def chain_name(way: str, name: str) -> str:
    """Of a tier's chain; `way` is "out" or "in"."""
    return f"{way}_{name.replace('.', '_').replace('-', '_')}"


def rule(each: AclRule, *, inward: bool) -> str:
    """One numbered rule. Raises Wrong."""
    where = f"network ACL {each.rule}"
    verdict = ("accept" if inward else "return") if each.allow else "drop"
    found = list(collapse_addresses(network(text, where) for text in each.cidrs))
    peers = ""
    if not any(one.prefixlen == 0 for one in found):
        peers = f"ip {'saddr' if inward else 'daddr'} {{ {', '.join(map(str, found))} }}"
    return " ".join(filter(None, (peers, _match(each, where), verdict)))


def _match(each: AclRule, where: str) -> str:
    if each.protocol in _PORTS:
        if each.first is None:
            return f"meta l4proto {each.protocol}"
        last = each.first if each.last is None else each.last
        if not 1 <= each.first <= last <= 65535:
            raise Wrong(f"{where}: {each.first}-{last} is no range of ports", "give ports from 1 to 65535")
        return f"{each.protocol} dport {each.first}" + (f"-{last}" if last > each.first else "")
    if each.protocol == "all":
        return ""
    if each.protocol == "icmp":
        numbers = (("type", each.icmp_type), ("code", each.icmp_code))
        parts = [f"icmp {word} {number}" for word, number in numbers if number is not None and 0 <= number <= 255]
        return " ".join(("meta l4proto icmp", *parts))
    if not each.protocol.isdigit() or int(each.protocol) > 255:
        raise Wrong(f"{where}: {each.protocol!r} is no protocol", "tcp, udp, icmp, all, or a number up to 255")
    return f"meta l4proto {int(each.protocol)}"


def _outward(vpc: Vpc, tier: Tier, outside: list[str]) -> Chain:
    own = network(tier.cidr, "vpc")
    by_way = [network(each.destination, "vpc") for each in vpc.routes if IPv4Address(address(each.via, "vpc")) in own]
    senders = ", ".join(str(each) for each in collapse_addresses((own, *by_way)))
    kept = isinstance(tier, Gateway) and outside
    names = ", ".join(f'"{name}"' for name in outside)
    rules = [
        f"ip saddr != {{ {senders} }} drop",
        *([f"oifname {{ {names} }} drop"] if kept else []),
        *(rule(each, inward=False) for each in tier.egress),
    ]
    # Who has not said what goes out lets everything out; who has, lets out what was said.
    return Chain(chain_name("out", tier.device), (*rules, "drop" if tier.egress else "return"))


def _inward(tier: Tier) -> Chain:
    return Chain(chain_name("in", tier.device), (*(rule(each, inward=True) for each in tier.ingress), "drop"))
