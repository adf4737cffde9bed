"""What secondary storage VMs have to do: commands, each with its weight, its age and its place.

A command is a copy of a template, ISO or uploaded volume that comes, goes or moves; nothing else is written about it, so that no
crash can leave one behind. One that no machine has taken yet is queued. Weights are decided in `systemvms/secstorage.py`.
Not here: what hosts fetch and send by tickets, which is over in moments and goes on with any other machine of the zone.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.store import Row, Tx
from sysvm.systemvms import secstorage

UPLOADS = ("NOT_UPLOADED", "UPLOAD_IN_PROGRESS")
BUSY = ("DOWNLOAD_IN_PROGRESS", *UPLOADS)
QUEUED = "NOT_DOWNLOADED"


@dataclass(frozen=True, slots=True)
class Command:
    """One piece of work."""

    id: int  # of the copy
    kind: str  # download | upload | move
    template: Row
    zone_id: int
    machine_id: int | None  # None: it is queued
    weight: int
    begun: float  # on its machine; queued: since it was asked for
    progress: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a machine has to do."""

    counted: int = 0  # weight of what is young enough
    commands: int = 0  # of any age


def under_way(tx: Tx, zone_id: int | None = None) -> list[Command]:
    """Oldest first."""
    copy, template = tables.template_copy, tables.template
    query = (
        sa.select(copy, template.c.id.label("of"))
        .join(template, template.c.id == copy.c.template_id)
        .where(copy.c.removed.is_(None), sa.or_(_taken(), _queued()))
        .order_by(copy.c.id)
    )
    if zone_id is not None:
        query = query.where(copy.c.zone_id == zone_id)
    rows = tx.all(query)
    found = tx.all(sa.select(template).where(template.c.id.in_({row.of for row in rows})))
    by_id = {row.id: row for row in found}
    return [_command(row, by_id[row.of]) for row in rows]


def _taken() -> sa.ColumnElement[bool]:
    """Rows that a machine works on."""
    copy = tables.template_copy
    busy = sa.or_(copy.c.state.in_(BUSY), copy.c.state == QUEUED, copy.c.wanted_store_id.is_not(None))
    return sa.and_(copy.c.machine_id.is_not(None), copy.c.wanted.is_(True), busy)


def _queued() -> sa.ColumnElement[bool]:
    """Rows that no machine has taken. What waits for its next try is not in the way of others."""
    copy = tables.template_copy
    waits = sa.or_(sa.and_(copy.c.state == QUEUED, copy.c.tries == 0), copy.c.wanted_store_id.is_not(None))
    return sa.and_(copy.c.machine_id.is_(None), copy.c.wanted.is_(True), waits)


def _command(copy: Row, template: Row) -> Command:
    kind = "move" if copy.wanted_store_id is not None else "upload" if copy.state in UPLOADS else "download"
    size = copy.size_bytes or template.size_bytes
    return Command(
        id=copy.id,
        kind=kind,
        template=template,
        zone_id=copy.zone_id,
        machine_id=copy.machine_id,
        weight=secstorage.weight(kind, size, template.url if kind == "download" else ""),
        begun=copy.begun if copy.begun is not None else copy.created,
        progress=copy.progress,
    )


def loads(tx: Tx, zone_id: int) -> dict[int, Load]:
    """Of each machine that has anything to do."""
    oldest = tx.now - 60 * float(settings.value(tx, "secstorage.cmd.execution.time.max"))
    found: dict[int, Load] = {}
    for one in under_way(tx, zone_id):
        if one.machine_id is not None:
            known = found.get(one.machine_id, Load())
            counts = one.weight if one.begun >= oldest else 0
            found[one.machine_id] = Load(known.counted + counts, known.commands + 1)
    return found


def queued(tx: Tx, zone_id: int) -> int:
    """Weight of what no machine of the zone has taken."""
    return sum(one.weight for one in under_way(tx, zone_id) if one.machine_id is None)
