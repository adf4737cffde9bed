"""What happened to a packet, in words for whoever asked. Pure.

The router's own chains are known by name (see rules.py); of all others only their text can be told.
"""

from sysvm.agent.roles.router.explaining.judging import Effect
from sysvm.agent.roles.router.explaining.owners import (
    ACL,
    BALANCER,
    EGRESS,
    FIREWALL,
    FIREWALL6,
    FORWARD,
    NOBODY,
    STATIC,
    Owner,
)
from sysvm.agent.roles.router.explaining.packet import ICMP, ICMP6, PORTS, TCP, UDP, Packet
from sysvm.agent.roles.router.ruleset import TABLE
from sysvm.wire.explaining import Fate

STOPPED = {
    Fate.DROP: "is dropped",
    Fate.REJECT: "is refused",
    Fate.UNKNOWN: "cannot be judged",
}
_KINDS = {
    FIREWALL: "firewall rule",
    FIREWALL6: "IPv6 firewall rule",
    FORWARD: "port forwarding rule",
    STATIC: "static NAT",
    EGRESS: "egress rule",
    BALANCER: "load balancer rule",
    ACL: "network ACL rule",
}
_PROTOCOLS = {TCP: "TCP", UDP: "UDP", ICMP: "ICMP", ICMP6: "ICMPv6"}
_EGRESS = ("egress_", "out6_")  # of IPv4, of IPv6
_OUT, _IN = "out_", "in_"  # a VPC's tiers and private gateways


def packet(asked: Packet) -> str:
    """What was asked about."""
    return f"{service(asked)} from {asked.source} to {asked.destination}"


def service(asked: Packet) -> str:
    """Protocol and port."""
    name = _PROTOCOLS.get(asked.protocol, f"IP protocol {asked.protocol}")
    if asked.protocol in PORTS:
        return f"{name} port {asked.port}"
    return f"{name} type {asked.icmp_type}" if asked.protocol in (ICMP, ICMP6) else name


def end(asked: Packet) -> str:
    """Where it ends."""
    return f"{asked.destination}:{asked.port}" if asked.protocol in PORTS else str(asked.destination)


def routed(asked: Packet, gateway: str) -> str:
    """The kernel's choice."""
    by = f" by way of {gateway}" if gateway else ""
    return f"{asked.destination} is reached through {asked.leaves}{by}"


def taken(asked: Packet, listens: bool) -> str:
    """Whether somebody is at home."""
    if listens:
        return f"a service listens on port {asked.port}"
    return f"nothing listens on port {asked.port}, so the answer is a refusal"


def neighbour(address: str, device: str, state: str) -> str:
    """Whether the next one on the way is there."""
    if not state:
        return f"{address} on {device} has not been spoken to lately"
    if "FAILED" in state or "INCOMPLETE" in state:
        return f"{address} on {device} did not answer when it was last looked for ({state})"
    return f"{address} on {device} is known ({state})"


def is_policy(effect: Effect) -> bool:
    """Whether the egress policy itself lets the packet out."""
    return effect.chain.table == TABLE and effect.chain.name.startswith(_EGRESS)


def because(effect: Effect, owner: Owner) -> str:
    """The last words about a packet that passes."""
    if owner != NOBODY:
        return f", by {_KINDS[owner.kind]} {owner.rule}"
    return ", by the network's egress policy, which allows what no rule denies" if is_policy(effect) else ""


def of(effect: Effect, owner: Owner, asked: Packet, *, is_ours: bool) -> str:
    """One step."""
    if effect.what == "unknown":
        return f"a rule says something that cannot be judged here: {effect.why}"
    if owner != NOBODY:
        return f"{_KINDS[owner.kind]} {owner.rule}: {_verb(effect.what)}"
    if not is_ours:
        return f"a rule that is not of the router's configuration: {_verb(effect.what)}"
    return _own(effect, asked) or _verb(effect.what)


def _verb(what: str) -> str:
    way, _, rest = what.partition(" ")
    return {
        "accept": "lets it pass",
        "drop": "drops it",
        "reject": "refuses it",
        "jump": f"goes on in chain {rest}",
        "goto": f"goes on in chain {rest}",
        "dnat": f"leads it {rest}",
        "snat": f"makes it come {rest.replace('to ', 'from ', 1)}",
        "masquerade": "makes it come from the interface that it leaves by",
        "redirect": "leads it to the router itself",
    }[way]


def _own(effect: Effect, asked: Packet) -> str:
    """What the router's own rules mean."""
    chain, what = effect.chain.name, effect.what
    if effect.chain.table != TABLE:
        return ""
    if effect.rule is None:
        return {
            "input": f"the router does not answer {service(asked)} from {asked.arrives}",
            "forward": f"nothing lets what comes from {asked.arrives} through to {asked.leaves}",
        }.get(chain, "")
    if chain.startswith(_EGRESS):
        return _of_egress(effect, asked)
    if chain.startswith((_OUT, _IN)):
        return _of_tier(effect, asked)
    if (chain, what) == ("forward", "accept") and not _was_rewritten(effect):
        return f"what its own network lets out goes on through {asked.leaves}"
    return {
        ("firewall", "drop"): f"no firewall rule of {asked.destination} lets {service(asked)} from {asked.source} in",
        ("input", "drop"): (
            f"no rule leads {service(asked)} of {asked.destination} to a guest,"
            f" and the router itself does not answer it on {asked.arrives}"
        ),
        ("input", "accept"): f"the router answers {service(asked)} from {asked.arrives}",
        ("forward", "accept"): "its destination was rewritten, so the firewall has judged it already",
        ("six", "drop"): f"no IPv6 firewall rule lets {service(asked)} from {asked.source} in",
        ("gate", "jump firewall"): f"{asked.destination} is a public address: its firewall rules are asked",
    }.get((chain, what), "")


def _was_rewritten(effect: Effect) -> bool:
    """Whether the rule asks for that, and for nothing else."""
    assert effect.rule is not None
    return "'ct': {'key': 'status'" in str(effect.rule.expressions)


def _of_tier(effect: Effect, asked: Packet) -> str:
    """What stands at the ends of a tier's chains; its own rules are known by their ids."""
    if effect.what != "drop":
        return ""
    if effect.chain.name.startswith(_IN):
        return f"no rule of the network ACL lets {service(asked)} from {asked.source} in"
    assert effect.rule is not None
    if "oifname" in str(effect.rule.expressions):
        return f"nobody behind a private gateway goes out by the VPC's public addresses, through {asked.leaves}"
    if len(effect.rule.expressions) > 1:
        return f"only the tier's own addresses, and what is routed by way of it, get out: {asked.source} is neither"
    return f"no rule of the network ACL lets {service(asked)} to {asked.destination} out"


def _of_egress(effect: Effect, asked: Packet) -> str:
    if effect.what == "accept":
        return "the network's egress policy allows what no egress rule denies"
    assert effect.rule is not None
    if len(effect.rule.expressions) > 1:
        return f"only the network's own addresses get out, and only to the outside: {asked.source} to {asked.leaves} is not"
    return f"the network's egress policy denies, and no egress rule allows {service(asked)} to {asked.destination}"
