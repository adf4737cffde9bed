"""What the router's own servers need opened: the load balancer's ports, its statistics page, VPNs. Pure.

Ports on public addresses are open behind the gate: a firewall rule decides who comes through. The page on a guest or
control address is open to those who are on that network.
"""

from sysvm.agent.roles.router import ipsec_tunnels, l2tp
from sysvm.agent.roles.router.ipsec import DEVICE
from sysvm.agent.roles.router.ipsec_tunnels import Site, gateway
from sysvm.agent.roles.router.service import address, device, interface, network
from sysvm.wire.documents import RouterDocument

_CLIENTS = (DEVICE, l2tp.DEVICES)  # by what users come in


def balancer(document: RouterDocument) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys of the set `balanced`, and rules of the input chain. Raises Wrong."""
    balancing = document.balancing
    if balancing is None:
        return (), ()
    keys = {f"{address(each.public, 'load balancer')} . {each.port}": None for each in balancing.rules}
    rules = []
    page = balancing.statistics
    if page is not None and page.port is not None:
        homes = _homes(document)
        for text in page.addresses:
            own = address(text, "statistics")
            if own in homes:
                rules.append(f'iifname "{homes[own]}" ip daddr {own} tcp dport {page.port} accept')
            else:
                keys[f"{own} . {page.port}"] = None
    return tuple(keys), tuple(rules)


def vpn(document: RouterDocument) -> tuple[str, ...]:
    """Rules of the input chain for whoever wants to log in, and for name service to who has. Raises Wrong.

    L2TP's port is open here and shut in a table of its own for what does not come by IPsec (l2tp.py).
    """
    if document.vpn is None:
        return gateways(document)
    ports = f"{{ 500, {l2tp.PORT}, 4500 }}"
    rules = [f"ip daddr {address(document.vpn.public, 'vpn')} udp dport {ports} accept", *gateways(document)]
    if document.dns is not None:
        rules += [f'iifname "{each}" {name} dport 53 accept' for each in _CLIENTS for name in ("udp", "tcp")]
    return tuple(rules)


def gateways(document: RouterDocument) -> tuple[str, ...]:
    """Rules for the other ends of tunnels, whose words are forwarded to nobody; one that has a name may come from anywhere.

    They are the input chain's, the gate's and the first ones where destinations are rewritten. Raises Wrong.
    """
    rules = []
    for tunnel in document.tunnels:
        where = f"VPN connection {tunnel.connection}"
        far = gateway(tunnel, where)
        source = f"ip saddr {far} " if far else ""
        rules.append(f"{source}ip daddr {address(tunnel.local, where)} udp dport {{ 500, 4500 }} accept")
    return tuple(dict.fromkeys(rules))


def clients(document: RouterDocument, guests: tuple[str, ...], outside: tuple[str, ...]) -> tuple[str, ...]:
    """Rules of the forward chain: clients of VPNs, hosts of other sites and guests see each other, and nothing else.

    What is meant for another site goes there by its tunnel or not at all. Raises Wrong.
    """
    inside = ", ".join(f'"{each}"' for each in guests)
    rules = []
    if document.vpn is not None and guests:
        networks = ", ".join(str(network(text, "vpn")) for text in document.vpn.networks)
        they = f"{address(document.vpn.first, 'vpn')}-{address(document.vpn.last, 'vpn')}"
        for each in _CLIENTS:
            rules += [
                f'iifname "{each}" oifname {{ {inside} }} ip saddr {they} ip daddr {{ {networks} }} accept',
                f'iifname {{ {inside} }} oifname "{each}" ip saddr {{ {networks} }} ip daddr {they} accept',
                *(f'iifname "{each}" oifname "{other}" ip saddr {they} ip daddr {they} accept' for other in _CLIENTS),
            ]
    for site in ipsec_tunnels.render(document):
        rules += [f'oifname "{each}" ip daddr {{ {", ".join(site.remote_networks)} }} drop' for each in outside]
        if document.vpc is None and guests:
            rules += [f'iifname "{DEVICE}" oifname {{ {inside} }} {_from_site(site)} accept', _to_site(site, inside)]
    return tuple(dict.fromkeys(rules))


def tunnels(document: RouterDocument, guests: tuple[str, ...]) -> tuple[str, ...]:
    """Rules of a VPC's forward chain, after a tier has said what it lets out: other sites take it, and what comes from
    them is asked about by the tier that it goes to. Raises Wrong."""
    sites = ipsec_tunnels.render(document)
    if not sites:
        return ()
    far = ", ".join(cidr for site in sites for cidr in site.remote_networks)
    inside = ", ".join(f'"{each}"' for each in guests)
    leaving = [_to_site(site, inside) for site in sites if guests]
    return (*leaving, f'iifname "{DEVICE}" ip saddr != {{ {far} }} drop')


def _to_site(site: Site, inside: str) -> str:
    near, far = ", ".join(site.local_networks), ", ".join(site.remote_networks)
    return f'iifname {{ {inside} }} oifname "{DEVICE}" ip saddr {{ {near} }} ip daddr {{ {far} }} accept'


def _from_site(site: Site) -> str:
    near, far = ", ".join(site.local_networks), ", ".join(site.remote_networks)
    return f"ip saddr {{ {far} }} ip daddr {{ {near} }}"


def _homes(document: RouterDocument) -> dict[str, str]:
    """Address -> device, of interfaces that are not public."""
    return {
        str(interface(text, each.device).ip): device(each.device, "interfaces")
        for each in document.interfaces
        if each.role != "public"
        for text in each.addresses
        if ":" not in text
    }
