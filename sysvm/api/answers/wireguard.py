"""WireGuard peers, as answers show them. A private key is in the answer to the call that made it, and nowhere else."""

from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.rules.wireguard import Way, configuration
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def peer(row: Row, private_key: str = "") -> dict[str, Any]:
    """A peer, from a row with the names around it."""
    mine = owner(row)
    mine.pop("domainpath")
    way = _way(row)
    answer = {
        "id": row.uuid,
        "name": row.name,
        "publicipid": row.ip_uuid,
        "publicip": unpack_address(row.ip_address),
        "port": row.port,
        "endpoint": way.endpoint,
        "networkid": row.network_uuid,
        "iprange": row.cidr,
        "address": way.address,
        "allowedips": ",".join(way.allowed),
        "publickey": row.public_key,
        "privatekey": private_key or None,
        "serverpublickey": way.server_key,
        "configuration": configuration(way, private_key),
        "state": row.state,
        **mine,
    }
    return without_empty(answer)


def _way(row: Row) -> Way:
    return Way(
        address=unpack_address(row.address),
        dns=row.network_gateway if "Dns" in (row.services or {}) else "",
        server_key=row.server_key,
        allowed=(row.network_cidr, row.cidr),
        endpoint=f"{unpack_address(row.ip_address)}:{row.port}",
    )
