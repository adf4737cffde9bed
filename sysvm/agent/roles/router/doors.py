"""What the router's own servers need opened: the load balancer's ports and its statistics page. Pure.

Ports on public addresses are open behind the gate: a firewall rule decides who comes through. The page on a guest or
control address is open to those who are on that network.
"""

from sysvm.agent.roles.router.service import address, device, interface
from sysvm.wire.documents import RouterDocument


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


def _homes(document: RouterDocument) -> dict[str, str]:
    """Address -> device, of interfaces that are not public."""
    return {
        str(interface(text, each.device).ip): device(each.device, "interfaces")
        for each in document.interfaces
        if each.role != "public"
        for text in each.addresses
        if ":" not in text
    }
