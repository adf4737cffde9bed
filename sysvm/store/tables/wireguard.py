"""WireGuard of networks: a server at the source NAT address, and the peers that may come in.

A server is made with its first peer and goes with its last one. The port that it has taken is a row of `firewall_rule` (purpose
WireGuard), so that everything that wants ports of the address meets it.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import address, key, life, metadata, number, owner, ref, text, uuid

wireguard_server = sa.Table(
    "wireguard_server",
    metadata,
    key(),
    ref("network_id", "network"),
    ref("public_ip_id", "public_ip"),
    number("port"),
    text("cidr"),  # its first address is the router's, the others are peers'
    text("private_key"),  # sealed
    text("public_key"),
    *life(),
)

wireguard_peer = sa.Table(
    "wireguard_peer",
    metadata,
    key(),
    uuid(),
    ref("server_id", "wireguard_server"),
    text("name", length=64),
    text("public_key", length=44),
    address("address"),
    text("state", "Add"),  # Add | Active
    *owner(),
    *life(),
)


def _one_living(name: str, *columns: sa.Column[object]) -> None:
    living = columns[0].table.c.removed.is_(None)
    sa.Index(name, *columns, unique=True, sqlite_where=living, postgresql_where=living)


_one_living("uq_wireguard_server_living", wireguard_server.c.network_id)
_one_living("uq_wireguard_peer_key", wireguard_peer.c.server_id, wireguard_peer.c.public_key)
_one_living("uq_wireguard_peer_address", wireguard_peer.c.server_id, wireguard_peer.c.address)
