"""Instance groups: names of guests that belong together. A guest is in the group of its account that has the name on its row."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import owned
from sysvm.store.store import Row, Tx

_ids: Ids = SystemIds()


def statement() -> sa.Select[Any]:
    """Living groups with the names of their owners."""
    return owned.with_owner(tables.instance_group)


def named(tx: Tx, account_id: int, name: str) -> Row | None:
    """The account's group of that name."""
    same = "account_id = :account and name = :name and removed is null"
    return next(iter(tx.rows(tables.instance_group, same, account=account_id, name=name)), None)


def ensure(tx: Tx, owner: dict[str, Any], name: str) -> None:
    """The owner has a group of that name."""
    if name and named(tx, owner["account_id"], name) is None:
        tx.insert(tables.instance_group, uuid=_ids.uuid(), name=name, created=tx.now, **owner)


def rename(tx: Tx, group: Row, name: str) -> None:
    """The group and its guests have another name; empty: its guests are in no group, and it is gone."""
    machine = tables.machine.c
    guests = sa.update(tables.machine).where(machine.account_id == group.account_id, machine.group_name == group.name)
    tx.change(guests.values(group_name=name))
    tx.update(tables.instance_group, group.id, **({"name": name} if name else {"removed": tx.now}))


def uuids_of(tx: Tx, rows: Sequence[Row]) -> dict[tuple[int, str], str]:
    """The uuids of the groups that these guests are in, by account and name."""
    accounts = sorted({int(row.account_id) for row in rows if row.group_name})
    if not accounts:
        return {}
    ids = ",".join(map(str, accounts))
    found = tx.rows(tables.instance_group, f"account_id in ({ids}) and removed is null")
    return {(group.account_id, group.name): group.uuid for group in found}
