"""Affinity groups: their rows, who is in them, and what they say about hosts."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned
from sysvm.store.store import Row, Tx
from sysvm.systemvms import affinity
from sysvm.systemvms.affinity import KINDS, Fellows, Near

FELLOWS = """
select g.id, g.type, m.wanted, m.power, m.host_id, m.migrate_host_id, v.host_id from affinity_group_member mine
join affinity_group g on g.id = mine.group_id and g.removed is null
join affinity_group_member other on other.group_id = g.id and other.machine_id <> mine.machine_id
join machine m on m.id = other.machine_id and m.removed is null
left join volume v on v.machine_id = m.id and v.type = 'ROOT' and v.removed is null
where mine.machine_id = :machine order by g.id, m.id
"""
OFF = ("absent", "stopped")


def statement() -> sa.Select[Any]:
    """Living groups with the names of their owners."""
    return owned.with_owner(tables.affinity_group)


def one(tx: Tx, group_id: int) -> Row:
    """A group with the names around it, removed or not."""
    group = tables.affinity_group
    row = tx.one(sa.select(group, *owned.names()).select_from(owned.joined(group, group)).where(group.c.id == group_id))
    assert row is not None
    return row


def named(tx: Tx, account_id: int, name: str) -> Row | None:
    """The account's group of that name."""
    same = "account_id = :account and name = :name and removed is null"
    return next(iter(tx.rows(tables.affinity_group, same, account=account_id, name=name)), None)


def members_of(tx: Tx, group_ids: Iterable[int]) -> dict[int, list[str]]:
    """Their guests' uuids."""
    ids = _ids_in(group_ids)
    found: dict[int, list[str]] = {}
    text = "select s.group_id, m.uuid from affinity_group_member s join machine m on m.id = s.machine_id"
    for group, uuid in tx.sql(f"{text} where s.group_id in ({ids}) order by m.id") if ids else ():
        found.setdefault(group, []).append(uuid)
    return found


def of_guests(tx: Tx, machine_ids: Iterable[int]) -> dict[int, list[Row]]:
    """Their groups, by guest."""
    ids = _ids_in(machine_ids)
    members = tx.rows(tables.affinity_group_member, f"machine_id in ({ids}) order by group_id") if ids else ()
    if not members:
        return {}
    wanted = sorted({row.group_id for row in members})
    groups = {row.id: row for row in tx.all(statement().where(tables.affinity_group.c.id.in_(wanted)))}
    found: dict[int, list[Row]] = {}
    for row in members:
        found.setdefault(row.machine_id, []).append(groups[row.group_id])
    return found


def _ids_in(ids: Iterable[int]) -> str:
    """Integers of ours, as SQL lists them."""
    return ",".join(str(int(id_)) for id_ in sorted(set(ids)))


# ---------------------------------------------------------------- who is in them
def join(tx: Tx, machine_id: int, group_ids: Iterable[int]) -> None:
    """The guest is in these groups and in no others."""
    member = tables.affinity_group_member
    tx.change(sa.delete(member).where(member.c.machine_id == machine_id))
    for group in sorted(set(group_ids)):
        tx.insert(member, group_id=group, machine_id=machine_id)


def remove(tx: Tx, group: Row) -> None:
    """The group is gone; its guests stay where they are."""
    member = tables.affinity_group_member
    tx.change(sa.delete(member).where(member.c.group_id == group.id))
    tx.update(tables.affinity_group, group.id, removed=tx.now)


# ---------------------------------------------------------------- hosts
def near(tx: Tx, machine_id: int) -> Near:
    """What the guest's groups say about hosts."""
    rows = tx.sql(FELLOWS, machine=machine_id)
    return affinity.near(_fellows([row for row in rows if row[0] == group]) for group in sorted({row[0] for row in rows}))


def _fellows(rows: Sequence[Sequence[Any]]) -> Fellows:
    on: set[int] = set()
    kept: set[int] = set()
    for _, _, wanted, power, host, coming_to, volume_host in rows:
        if wanted == "running" or power not in OFF:
            on |= {host, coming_to}
        else:
            kept.add(volume_host)
    return Fellows(KINDS[rows[0][1]], frozenset(on - {None}), frozenset(kept - {None}))
