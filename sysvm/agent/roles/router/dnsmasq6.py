"""The IPv6 side of a guest network in dnsmasq's words: router advertisements and DHCPv6. Pure.

Where the router is the gateway (isolated networks), it advertises itself as the way out, with the prefix to make addresses
from (A): a guest has the address of its MAC (EUI-64), which is the one that the guard of its port lets through. Name servers
and the search domain are in the advertisement, and DHCPv6 tells them to those who ask (O).

Where the gateway is another machine (shared networks), advertisements say that addresses are managed (M): a guest asks DHCPv6
and gets the one address that the guard of its port lets through, known by its MAC as in IPv4. The prefix is told as on the link,
and not to make addresses from (no A flag): a guest would make more of them than it may use. The gateway advertises itself;
these advertisements have a lifetime of 0, so that no guest sends its packets here.
"""

from ipaddress import IPv6Network, ip_address

from sysvm.agent.roles.router.service import Wrong, address6, device, hostname, network6
from sysvm.wire.documents import DhcpNetwork, Reservation

PREFIX = 64
_LIFETIME_S = 1800  # three times the longest interval between two advertisements


def prefix(each: DhcpNetwork) -> IPv6Network | None:
    """The network's prefix, if it has one. Raises Wrong."""
    if each.six is None:
        return None
    where = f"dhcp on {each.device}"
    cidr = network6(each.six.cidr, where)
    if cidr.prefixlen != PREFIX:
        raise Wrong(f"{where}: the prefix of {cidr} has not {PREFIX} bits", f"give a /{PREFIX}")
    return cidr


def options(each: DhcpNetwork) -> list[str]:
    """Lines of dnsmasq's main file. Raises Wrong."""
    cidr = prefix(each)
    if each.six is None or cidr is None:
        return []
    name, where = device(each.device, "dhcp"), f"dhcp on {each.device}"
    servers = "".join(f",[{address6(server, where)}]" for server in each.six.dns)
    # The interval is dnsmasq's own; a lifetime of 0 says: no default router.
    lifetime, mode, valid = (_LIFETIME_S, "ra-stateless", "24h") if each.six.is_gateway else (0, "static", "infinite")
    lines = [
        "enable-ra",
        f"ra-param={name},mtu:{each.mtu},0,{lifetime}",
        f"dhcp-range=set:{name},{cidr.network_address},{mode},{PREFIX},{valid}",
        f"dhcp-option=tag:{name},tag:!nodefault,option6:dns-server{servers}",
        f"dhcp-option=tag:{name},tag:nodefault,option6:dns-server",
    ]
    if each.domain:
        lines.append(f"dhcp-option=tag:{name},option6:domain-search,{hostname(each.domain, where)}")
    return lines


def reserved(one: Reservation, cidr: IPv6Network | None, where: str) -> str:
    """The address as a line of reservations has it. Raises Wrong."""
    if not one.address6 or cidr is None:
        return ""
    given = address6(one.address6, where)
    if ip_address(given) not in cidr:
        raise Wrong(f"{where}: {given} is not in {cidr}", "give an address of the network")
    return f",[{given}]"
