"""What of IPv6 is open to the guests of a dual-stack network: DHCPv6, solicitations, name service, ping. Pure.

Nothing of it is open to anybody else, and a document without such a network opens nothing.
"""

from sysvm.agent.roles.router.ruleset import Collection
from sysvm.agent.roles.router.service import device, network6
from sysvm.wire.documents import RouterDocument

_AT_ONCE = 8  # connections of one guest to the name server, as over IPv4


def served(document: RouterDocument) -> tuple[str, ...]:
    """Rules of the input chain. Raises Wrong."""
    devices = _devices(document)
    if not devices:
        return ()
    rules = [
        f"iifname {devices} icmpv6 type {{ nd-router-solicit, echo-request }} accept",
        f"iifname {devices} ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept",
    ]
    askers = [str(network6(text, "dns")) for text in document.dns.allow if ":" in text] if document.dns else []
    if askers:
        sources = f"{{ {', '.join(askers)} }}"
        few = f"ct state new add @callers6 {{ ip6 saddr ct count over {_AT_ONCE} }} drop"
        rules.append(f"iifname {devices} tcp dport 53 {few}")
        rules += [f"iifname {devices} ip6 saddr {sources} {name} dport 53 accept" for name in ("udp", "tcp")]
    return tuple(rules)


def collections(document: RouterDocument) -> tuple[Collection, ...]:
    """Sets that the rules need."""
    if not _devices(document):
        return ()
    return (Collection("callers6", "ipv6_addr", dynamic=" size 65535; flags dynamic;"),)


def _devices(document: RouterDocument) -> str:
    names = dict.fromkeys(device(each.device, "dhcp") for each in document.dhcp if each.six is not None)
    quoted = [f'"{name}"' for name in names]
    return f"{{ {', '.join(quoted)} }}" if quoted else ""
