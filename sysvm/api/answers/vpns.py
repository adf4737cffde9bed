"""Remote access VPNs and their users, as answers show them. A user's password is shown to nobody."""

from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def vpn(row: Row, preshared_key: str) -> dict[str, Any]:
    """A VPN, from a row with the names around it."""
    answer = {
        "id": row.uuid,
        "publicipid": row.ip_uuid,
        "publicip": unpack_address(row.ip_address),
        "iprange": f"{unpack_address(row.first)}-{unpack_address(row.last)}",
        "presharedkey": preshared_key,
        "state": row.state,
        "fordisplay": bool(row.for_display),
        **_owner(row),
    }
    return without_empty(answer)


def user(row: Row) -> dict[str, Any]:
    """Somebody who may log in."""
    return without_empty({"id": row.uuid, "username": row.name, "state": row.state, **_owner(row)})


def _owner(row: Row) -> dict[str, Any]:
    mine = owner(row)
    mine.pop("domainpath")
    return mine
