"""What is opened for peers of WireGuard: its port to everybody behind the gate; to who has come in, name service, guests and
other peers, and nothing else of the router but ping. Pure.
"""

from sysvm.agent.roles.router.service import address, interface, network
from sysvm.agent.roles.router.wireguard_peers import DEVICE
from sysvm.wire.documents import RouterDocument


def port(document: RouterDocument) -> tuple[str, ...]:
    """Rules of the input chain. Raises Wrong."""
    said = document.wireguard
    if said is None:
        return ()
    rules = [f"ip daddr {address(said.public, 'wireguard')} udp dport {said.port} accept"]
    if document.dns is not None:
        rules += [f'iifname "{DEVICE}" {name} dport 53 accept' for name in ("udp", "tcp")]
    return tuple(rules)


def clients(document: RouterDocument, guests: tuple[str, ...]) -> tuple[str, ...]:
    """Rules of the forward chain. Raises Wrong."""
    said = document.wireguard
    if said is None or not guests:
        return ()
    inside = ", ".join(f'"{each}"' for each in guests)
    networks = ", ".join(str(network(text, "wireguard")) for text in said.networks)
    they = interface(said.address, "wireguard").network
    return (
        f'iifname "{DEVICE}" oifname {{ {inside} }} ip saddr {they} ip daddr {{ {networks} }} accept',
        f'iifname {{ {inside} }} oifname "{DEVICE}" ip saddr {{ {networks} }} ip daddr {they} accept',
        f'iifname "{DEVICE}" oifname "{DEVICE}" ip saddr {they} ip daddr {they} accept',
    )
