"""Registered user data."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries.owned import with_owner
from sysvm.store.store import Row, Tx


def statement() -> sa.Select[Any]:
    """Living user data with their owners."""
    return with_owner(tables.user_data)


def named(tx: Tx, account_id: int, name: str) -> Row | None:
    """An account's user data of that name."""
    data = tables.user_data
    return tx.one(sa.select(data).where(data.c.account_id == account_id, data.c.name == name, data.c.removed.is_(None)))


def used_by(tx: Tx, user_data_id: int) -> int:
    """How many living guests have it."""
    machine = tables.machine
    count: int = tx.value(
        sa.select(sa.func.count()).select_from(machine).where(machine.c.user_data_id == user_data_id, machine.c.removed.is_(None))
    )
    return count
