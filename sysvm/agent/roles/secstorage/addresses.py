"""Which addresses a secondary storage VM may fetch from. Pure.

It stands inside the provider's network, so a URL is a way for a tenant to look into that network; the name in a URL is
resolved once, every address that it gives is judged here, and the connection is made to one of those addresses. A proxy,
when the operator sets one, resolves names itself; only addresses written in the URL are judged then.
"""

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What is not the public internet (IANA's special registries), by what it is.
_INTERNAL: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by carriers"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "IPv4-compatible"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard"),
    ("2001::/23", "reserved (Teredo and others)"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_RANGES = tuple((ipaddress.ip_network(text), what) for text, what in _INTERNAL)


@dataclass(frozen=True, slots=True)
class Gate:
    """The rule of one secondary storage VM: `own` is never fetched from, `allowed` is excepted from the ban."""

    allowed: tuple[Network, ...] = ()
    own: tuple[Network, ...] = ()

    def objection(self, address: str) -> str:
        """Why nothing is fetched from `address`; empty when it may be."""
        try:
            where = _plain(ipaddress.ip_address(address))
        except ValueError:
            return f"{address!r} is no address"
        if _inside(where, self.own):
            return f"{where} belongs to the cloud itself"
        if _inside(where, self.allowed):
            return ""
        for network, what in _RANGES:
            if where.version == network.version and where in network:
                return f"{where} is {what}, and secstorage.allowed.internal.sites does not allow it"
        return ""


def gate(allowed: tuple[str, ...], own: tuple[str, ...], addresses: tuple[str, ...]) -> Gate:
    """The gate of a document. 0.0.0.0/0 in `allowed` would lift the ban altogether and is ignored."""
    exceptions = (network for network in map(_network, allowed) if network is not None and network.prefixlen)
    mine = (network for network in map(_network, (*own, *addresses)) if network is not None)
    return Gate(tuple(exceptions), tuple(mine))


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """An IPv4 address in IPv6 clothes is judged as what it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _inside(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
