"""WireGuard of networks: servers, peers, and what a router is told of them; private keys are opened for its document alone."""

from ipaddress import IPv4Network
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned, rules
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.wireguard import WireGuard, WireGuardPeer

PURPOSE = "WireGuard"
FACTS = """
select s.port, s.cidr, s.private_key, i.address, p.public_key, p.address
from wireguard_server s join public_ip i on i.id = s.public_ip_id
join wireguard_peer p on p.server_id = s.id and p.removed is null
where s.network_id = :network and s.removed is null order by p.id
"""


def statement() -> sa.Select[Any]:
    """Living peers with their owner, server, address and network."""
    peer, server, ip = tables.wireguard_peer, tables.wireguard_server, tables.public_ip
    network, offering = tables.network, tables.network_offering
    return (
        owned.with_owner(peer)
        .join(server, server.c.id == peer.c.server_id)
        .join(ip, ip.c.id == server.c.public_ip_id)
        .join(network, network.c.id == server.c.network_id)
        .join(offering, offering.c.id == network.c.offering_id)
        .add_columns(
            server.c.port,
            server.c.cidr,
            server.c.public_key.label("server_key"),
            ip.c.uuid.label("ip_uuid"),
            ip.c.address.label("ip_address"),
            network.c.uuid.label("network_uuid"),
            network.c.cidr.label("network_cidr"),
            network.c.gateway.label("network_gateway"),
            offering.c.services,
        )
    )


def one(tx: Tx, peer_id: int) -> Row | None:
    """A peer with the names around it; None when it is no more."""
    return tx.one(statement().where(tables.wireguard_peer.c.id == peer_id))


def of_network(tx: Tx, network_id: int) -> Row | None:
    """The server of a network: a router has one at most, on its source NAT address."""
    return next(iter(tx.rows(tables.wireguard_server, "network_id = :id and removed is null", id=network_id)), None)


def peers_of(tx: Tx, server_id: int) -> list[Row]:
    """Who may come in."""
    return tx.rows(tables.wireguard_peer, "server_id = :id and removed is null order by id", id=server_id)


def set_active(tx: Tx, peer: Row) -> None:
    """Its routers let it in, and who came before it, at a port that is their own."""
    for each in peers_of(tx, peer.server_id):
        if each.id <= peer.id and each.state != "Active":
            tx.update(tables.wireguard_peer, each.id, state="Active")
    server = tx.get(tables.wireguard_server, peer.server_id)
    assert server is not None
    for rule in rules.of_address(tx, server.public_ip_id, PURPOSE):
        rules.set_active(tx, rule.id)


def remove_peer(tx: Tx, peer: Row) -> None:
    """The peer cannot come in any more; after the last one nothing is left to come to."""
    tx.update(tables.wireguard_peer, peer.id, removed=tx.now)
    if peers_of(tx, peer.server_id):
        return
    server = tx.get(tables.wireguard_server, peer.server_id)
    assert server is not None
    rules.remove_of_address(tx, server.public_ip_id, PURPOSE)
    tx.update(tables.wireguard_server, server.id, removed=tx.now, private_key="")


def remove(tx: Tx, network_id: int) -> None:
    """Nobody comes to a network any more."""
    server = of_network(tx, network_id)
    for peer in peers_of(tx, server.id) if server is not None else ():
        remove_peer(tx, peer)


def facts(tx: Tx, network: Row, vault: Vault) -> WireGuard | None:
    """The server of a router on this network, with everybody who may come in: one question for all."""
    found = tx.sql(FACTS, network=network.id)
    if not found:
        return None
    port, cidr, private_key, public, _, _ = found[0]
    first, prefix = _router_address(cidr)
    return WireGuard(
        public=unpack_address(public),
        port=port,
        private_key=vault.open(private_key),
        address=f"{first}/{prefix}",
        networks=(network.cidr,),
        peers=tuple(WireGuardPeer(key=key, address=unpack_address(home)) for *_, key, home in found),
    )


def _router_address(cidr: str) -> tuple[str, int]:
    """The first address of a range, which is the router's, and the range's prefix."""
    whole = IPv4Network(cidr)
    return str(whole[1]), whole.prefixlen
