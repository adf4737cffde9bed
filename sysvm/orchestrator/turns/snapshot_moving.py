"""A snapshot on its way from one image store of its zone to another: copied, then deleted where it was.

Each file of a chain moves alone, because each is found by its own row. One secondary storage VM does it, the oldest that
serves, so that none copies what another one is copying; after its death the next one goes on where the bytes are.
Not here: which snapshots move where (`systemvms/image_moves.py`). Races thought of: a snapshot that is deleted meanwhile arrives
first and is then deleted; one that is being read stays where it was until nobody reads of its chain; whoever holds an old ticket
then comes again with a new one.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Outcome, Result
from sysvm.orchestrator.turns import asking
from sysvm.store import tables
from sysvm.store.queries import alerts, fleets, jobs, settings, snapshots
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from sysvm.wire.machines import Kind, OperationSeen, OperationState

POLL_S = 2.0
WAIT_S = 3.0
READ_S = 5.0
AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """What the turn needs to know."""

    row: Row
    machine: int
    here: Row
    other: Row  # where it shall be, or where it was


def moves(row: Row) -> bool:
    """Whether there is anything to do here."""
    return row.wanted_store_id is not None or row.left_store_id is not None


async def work(context: Context, turn: Turn, row: Row) -> Outcome:
    """One step."""
    job = await context.store.read(lambda tx: _load(tx, row))
    if job is None:
        return Result(0.0, lambda tx: tx.update(tables.snapshot, row.id, wanted_store_id=None, left_store_id=None))
    if row.left_store_id is not None:
        return await _leave(context, turn, job)
    await context.store.read(lambda tx: _has_room(tx, row))
    return await _copy(context, turn, job)


def _load(tx: Tx, row: Row) -> Job | None:
    """None: there is nothing to move, for a store is gone, or it is there."""
    store = tables.image_store
    here = tx.get(store, row.store_id)
    other = tx.get(store, row.left_store_id if row.left_store_id is not None else row.wanted_store_id)
    if here is None or other is None or other.removed is not None or here.id == other.id:
        return None
    living = fleets.living(tx, row.zone_id, Kind.SECONDARY_STORAGE)
    serving = [member.id for member in fleets.members(tx, living) if member.serves]
    if not serving:
        raise NotYet(2, "no secondary storage VM of the zone is up yet")
    return Job(row, min(serving), here, other)


def _has_room(tx: Tx, row: Row) -> None:
    """Few move at a time. Raises NotYet for the others."""
    most = int(settings.value(tx, "secstorage.max.migrate.sessions"))
    table = tables.snapshot
    under_way = sa.select(table.c.id).where(table.c.zone_id == row.zone_id, table.c.wanted_store_id.is_not(None))
    if row.id not in {one.id for one in tx.all(under_way.order_by(table.c.id).limit(most))}:
        raise NotYet(WAIT_S, "other snapshots move first")


# ---------------------------------------------------------------- there
async def _copy(context: Context, turn: Turn, job: Job) -> Outcome:
    row = job.row
    body = channel.CopyImage(store=job.other.uuid, source=job.here.uuid, image=row.uuid, sha256=row.sha256)
    await edge("snapshot before copy")
    name = f"copy-{row.uuid}-{job.other.uuid}-{turn.wish}"
    seen = await asking.asked(context, turn, job.machine, name, body)
    match seen.state:
        case OperationState.RUNNING:
            return Result(POLL_S)
        case OperationState.FAILED:
            return Result(0.0, lambda tx: _stays(tx, turn, job, seen))
        case OperationState.DONE:
            there = {"store_id": job.other.id, "wanted_store_id": None, "left_store_id": job.here.id}
            return Result(0.0, lambda tx: tx.update(tables.snapshot, row.id, **there))


def _stays(tx: Tx, turn: Turn, job: Job, seen: OperationSeen) -> None:
    why = f"Snapshot {job.row.name} could not be moved to image store {job.other.name}: {seen.error}"
    tx.update(tables.snapshot, job.row.id, wanted_store_id=None)
    alerts.raise_alert(tx, AlertType.STORAGE_MISC, why, zone=job.row.zone_id)
    jobs.fail(tx, "snapshot", turn.id, why)


# ---------------------------------------------------------------- where it was
async def _leave(context: Context, turn: Turn, job: Job) -> Outcome:
    row = job.row
    if await context.store.read(lambda tx: _is_read(tx, row)):
        return Result(READ_S)
    body = channel.DeleteImage(store=job.other.uuid, image=row.uuid)
    seen = await asking.asked(context, turn, job.machine, f"leave-{row.uuid}-{job.other.uuid}-{turn.wish}", body)
    if seen.state is OperationState.RUNNING:
        return Result(POLL_S)
    if seen.state is OperationState.FAILED:
        raise NotYet(AGAIN_S, f"it could not be deleted from image store {job.other.name}: {seen.error}")
    return Result(0.0, lambda tx: tx.update(tables.snapshot, row.id, left_store_id=None))


def _is_read(tx: Tx, row: Row) -> bool:
    """It, or one whose chain it may be in."""
    family = tx.rows(tables.snapshot, "volume_id = :volume and stored", volume=row.volume_id)
    return any(snapshots.is_read(tx, one.id) for one in family)
