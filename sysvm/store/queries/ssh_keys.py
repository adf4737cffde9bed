"""SSH key pairs: only their public halves are kept."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries.owned import with_owner
from sysvm.store.store import Row, Tx


def statement() -> sa.Select[Any]:
    """Living key pairs with their owners."""
    return with_owner(tables.ssh_key_pair)


def named(tx: Tx, account_id: int, name: str) -> Row | None:
    """An account's key pair of that name."""
    key = tables.ssh_key_pair
    return tx.one(sa.select(key).where(key.c.account_id == account_id, key.c.name == name, key.c.removed.is_(None)))


def same_key(tx: Tx, account_id: int, fingerprint: str) -> Row | None:
    """An account's key pair with that key."""
    key = tables.ssh_key_pair
    return tx.one(sa.select(key).where(key.c.account_id == account_id, key.c.fingerprint == fingerprint, key.c.removed.is_(None)))
