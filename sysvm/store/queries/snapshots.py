"""Snapshots: rows with the names around them, chains, and wanting and unwanting them.

A snapshot holds what has changed since its parent, so a deleted one is kept on the store as long as a later one needs it. A
chain is as long as `snapshot.delta.max` says; then the next one is whole.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import owned, settings, turns
from sysvm.store.queries.events import Actor
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

# Captures: taken and sent like snapshots, but nobody's to list. What becomes a template, what its owner downloads, what moves.
TEMPLATE, EXTRACT, MOVE = CAPTURES = ("TEMPLATE", "EXTRACT", "MOVE")
UNDER_WAY = ("Allocated", "Creating", "BackingUp")

NEWEST = """
volume_id = :volume and state = 'BackedUp'
    and kind not in ('TEMPLATE', 'EXTRACT', 'MOVE') and removed is null order by taken desc, id desc limit 1
"""
# Whoever is on its way to the store with it as its parent needs it as well.
NEEDED_BY = """
parent_id = :id and (stored or (state in ('Allocated', 'Creating', 'BackingUp') and removed is null)) limit 1
"""
READ_BY = """
select 1 from snapshot s where s.source_id = :id and s.state <> 'Error' and s.removed is null
union all select 1 from volume v where v.removed is null
    and (v.revert_id = :id or (v.snapshot_id = :id and v.state = 'Creating')) limit 1
"""


PLACE = sa.union_all(
    sa.select(tables.snapshot.c.id.label("snapshot_id"), tables.snapshot.c.zone_id, sa.literal(0).label("copied")),
    sa.select(tables.snapshot_copy.c.snapshot_id, tables.snapshot_copy.c.zone_id, sa.literal(1)).where(
        tables.snapshot_copy.c.removed.is_(None)
    ),
).subquery("place")


def statement() -> sa.Select[Any]:
    """Living snapshots with the names around them, once for each zone that has them or shall have them."""
    snapshot = tables.snapshot.c
    living = everything().where(snapshot.removed.is_(None), snapshot.kind.not_in(CAPTURES))
    return living.order_by(snapshot.id, PLACE.c.copied, PLACE.c.zone_id)


def zone_is(zone_id: int) -> sa.ColumnElement[bool]:
    """A condition on `statement`."""
    return PLACE.c.zone_id == zone_id


def taken_there() -> sa.ColumnElement[bool]:
    """A condition on `statement`: the zone is that of the volume, so that each snapshot is there once."""
    return PLACE.c.copied == 0


def one(tx: Tx, id_: int) -> Row:
    """A snapshot with the names around it, removed or not."""
    row = tx.one(everything().where(tables.snapshot.c.id == id_, taken_there()))
    assert row is not None
    return row


def everything() -> sa.Select[Any]:
    """Snapshots and their places with the names around them, removed ones as well."""
    snapshot, volume, zone = tables.snapshot, tables.volume, tables.zone
    policy, template, os = tables.snapshot_policy, tables.template, tables.guest_os
    joined = (
        owned.joined(snapshot, snapshot)
        .join(volume, volume.c.id == snapshot.c.volume_id)
        .join(PLACE, PLACE.c.snapshot_id == snapshot.c.id)
        .join(zone, zone.c.id == PLACE.c.zone_id)
        .outerjoin(policy, policy.c.id == snapshot.c.policy_id)
        .outerjoin(template, template.c.id == volume.c.template_id)
        .outerjoin(os, os.c.id == template.c.guest_os_id)
    )
    names = (
        volume.c.uuid.label("volume_uuid"),
        volume.c.name.label("volume_name"),
        volume.c.type.label("volume_type"),
        volume.c.removed.label("volume_removed"),
        zone.c.id.label("place_zone_id"),
        zone.c.uuid.label("zone_uuid"),
        zone.c.name.label("zone_name"),
        PLACE.c.copied,
        os.c.uuid.label("os_uuid"),
        os.c.name.label("os_name"),
    )
    return sa.select(snapshot, *names, *owned.names()).select_from(joined)


def policies() -> sa.Select[Any]:
    """Living policies with the volume's UUID."""
    policy, volume = tables.snapshot_policy, tables.volume
    return (
        sa.select(policy, volume.c.uuid.label("volume_uuid"))
        .join(volume, volume.c.id == policy.c.volume_id)
        .where(policy.c.removed.is_(None))
        .order_by(policy.c.id)
    )


# ---------------------------------------------------------------- wanting
def new(tx: Tx, ids: Ids, volume: Row, name: str, kind: str, **more: Any) -> tuple[int, Part]:
    """A snapshot shall be taken of the volume; it is its owner's unless said."""
    owner = {name_: getattr(volume, name_) for name_ in ("account_id", "domain_id", "domain_path")}
    columns = {"zone_id": volume.zone_id, "virtual_bytes": volume.size_bytes, **owner, **more}
    id_ = tx.insert(tables.snapshot, uuid=ids.uuid(), name=name, kind=kind, volume_id=volume.id, created=tx.now, **columns)
    return id_, Part("snapshot", id_, turns.wish(tx, "snapshot", id_), "ready")


def drop(tx: Tx, row: Row) -> Part:
    """Nobody wants the snapshot any more; its bytes go when nobody needs them."""
    tx.update(tables.snapshot, row.id, removed=tx.now)
    return Part("snapshot", row.id, turns.wish(tx, "snapshot", row.id), "gone")


def actor(row: Row) -> Actor:
    """The system, on behalf of the owner."""
    return Actor(1, row.account_id, row.domain_id, row.domain_path)


def of_volume_under_way(tx: Tx, volume_id: int) -> Row | None:
    """A snapshot that is being taken of the volume, or waits for it."""
    found = tx.rows(
        tables.snapshot, "volume_id = :id and state in ('Allocated', 'Creating') and removed is null limit 1",
        id=volume_id,
    )  # fmt: skip
    return found[0] if found else None


# ---------------------------------------------------------------- chains
def parent_for(tx: Tx, volume: Row) -> Row | None:
    """The snapshot since which the next one of the volume may hold the changes; None: it is to be whole."""
    found = tx.rows(tables.snapshot, NEWEST, volume=volume.id)
    if not found:
        return None
    most = int(settings.value(tx, "snapshot.delta.max"))
    return found[0] if len(chain(tx, found[0])) <= most else None


def chain(tx: Tx, row: Row) -> tuple[Row, ...]:
    """The whole one first, and `row` last."""
    found = [row]
    while found[0].parent_id is not None:
        parent = tx.get(tables.snapshot, found[0].parent_id)
        assert parent is not None
        found.insert(0, parent)
    return tuple(found)


def is_needed(tx: Tx, id_: int) -> bool:
    """Whether a later snapshot holds only what has changed since."""
    return bool(tx.rows(tables.snapshot, NEEDED_BY, id=id_))


def is_read(tx: Tx, id_: int) -> bool:
    """Whether a volume or a template is being made of it."""
    return bool(tx.sql(READ_BY, id=id_))


def stir_parents(tx: Tx, row: Row) -> None:
    """Deleted ones that were kept for this one may go now."""
    for parent in chain(tx, row)[:-1]:
        if parent.removed is not None and parent.stored:
            turns.wish(tx, "snapshot", parent.id)


def kept_by_policy(tx: Tx, policy_id: int) -> Sequence[Row]:
    """What a policy has made and nobody has deleted, oldest first."""
    return tx.rows(tables.snapshot, "policy_id = :id and state = 'BackedUp' and removed is null order by taken, id", id=policy_id)
