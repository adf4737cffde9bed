"""A snapshot's turn: from the wish to bytes on an image store, and from there to nothing.

    Allocated    where it is taken is chosen, and since which snapshot it holds the changes
    Creating     its host takes it, into a file beside the volume (a snapshot of a chain is made whole for a template)
    BackingUp    its host sends that file to a secondary storage VM, with a ticket for these bytes
    BackedUp     the host's file goes; a policy's oldest one goes
    removed      the host's file goes, its copies in other zones, then the store's, unless a later snapshot needs it

Each step is named work of a host (or of a secondary storage VM), found again after any crash of anybody, and written by the
release that sees it done. So a snapshot is `BackedUp` when a store has it, whole and with its SHA-256, and only then. A failed
step is tried again, from the beginning if what was staged is of no use; after TRIES it is given up, with the reason.
"""

import math

import msgspec
import sqlalchemy as sa

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.basics.log import get_logger
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import captures, hosttasks, preparation, snapshot_moving
from sysvm.orchestrator.turns.captures import Deleting, Taking
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import alerts, events, image_links, jobs, snapshot_copies, snapshots, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel, link
from sysvm.wire.grants import KeepTicket, sign_keep_ticket
from sysvm.wire.machines import OperationSeen, OperationState

LOOK_S = 1.0
READ_S = 5.0
EXPIRY_S = 600.0  # the setting may change meanwhile
GRACE_S = 3600.0  # the job ends later than the bytes are taken, and a download takes its time
TRIES = 6
PAUSES_S = (2.0, 10.0, 30.0, 60.0, 120.0)
_note = in_note_of(tables.snapshot)

log = get_logger()


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    row = await context.store.read(lambda tx: tx.get(tables.snapshot, turn.id))
    if row is None:
        return Gone()
    if snapshot_moving.moves(row):
        return await snapshot_moving.work(context, turn, row)
    if row.removed is not None:
        return await _clear(context, turn, row)
    match row.state:
        case "Allocated":
            await context.store.run(lambda tx: captures.begin(tx, turn.id))
            return Result(0.0)
        case "Creating":
            return await _take(context, turn, row)
        case "BackingUp":
            return await _send(context, turn, row)
        case _:
            return await _settle(context, turn, row)


def _name(row: Row, what: str) -> str:
    """A new try is a new name."""
    return f"snapshot:{row.id}:{what}:{row.tries}"


# ---------------------------------------------------------------- taking
async def _take(context: Context, turn: Turn, row: Row) -> Outcome:
    taking = await context.store.read(lambda tx: captures.taking(tx, row))
    if taking is None:
        return Result(0.0, lambda tx: _give_up(tx, turn, row, "its volume's host has been given up"))
    await edge("snapshot before take")
    seen = await hosttasks.run(context, turn, taking.host, _name(row, "take"), captures.body(context, taking))
    match seen.state:
        case OperationState.RUNNING:
            return Result(LOOK_S, lambda tx: _progress(tx, turn, row, seen.progress / 2))
        case OperationState.FAILED:
            await _drop(context, turn, taking, row, kept=False)
            return _again(turn, row, seen.error, "Allocated")
        case OperationState.DONE:
            taken = msgspec.msgpack.decode(seen.result or b"", type=link.SnapshotTaken)
            return Result(0.0, lambda tx: _taken(tx, turn, row, taken))


def _progress(tx: Tx, turn: Turn, row: Row, part: float) -> None:
    tx.update(tables.snapshot, turn.id, progress=part, note="")
    jobs.prolong(tx, "snapshot", turn.id)
    if row.kind == snapshots.MOVE:
        jobs.prolong(tx, "volume", row.volume_id)


def _taken(tx: Tx, turn: Turn, row: Row, taken: link.SnapshotTaken) -> None:
    store = tables.image_store
    chosen = tx.value(
        sa.select(store.c.id)
        .where(store.c.zone_id == row.zone_id, store.c.removed.is_(None), store.c.read_only.is_(False))
        .order_by(store.c.id)
    )
    if chosen is None:
        _note(tx, turn.id, "the zone has no writable image store that can be used; add one with addImageStore")
        return
    tx.update(
        tables.snapshot,
        turn.id,
        state="BackingUp",
        sha256=taken.sha256,
        size_bytes=taken.size,
        virtual_bytes=taken.virtual_size,
        parent_id=row.parent_id if taken.parent else None,
        store_id=chosen,
        stored=True,
        taken=tx.now,
        note="",
    )
    if row.parent_id is not None and not taken.parent:
        snapshots.stir_parents(tx, row)
    _start_guest(tx, row)


def _start_guest(tx: Tx, row: Row) -> None:
    """It may have waited for the copy of its disk."""
    machine = tx.value(sa.select(tables.volume.c.machine_id).where(tables.volume.c.id == row.volume_id))
    if machine is not None:
        for (id_,) in tx.sql("select id from placement where machine_id = :id and removed is null", id=machine):
            turns.look_again(tx, "placement", id_)


# ---------------------------------------------------------------- sending
async def _send(context: Context, turn: Turn, row: Row) -> Outcome:
    taking = await context.store.read(lambda tx: captures.taking(tx, row))
    if taking is None:
        return Result(0.0, lambda tx: _give_up(tx, turn, row, "its volume's host has been given up"))
    address, store = await context.store.read(lambda tx: _where(tx, row))
    ticket = KeepTicket(
        store=store,
        image=taking.image,
        sha256=row.sha256,
        size=str(row.size_bytes),
        expires=context.clock.now() + hosttasks.TICKET_S,
    )
    body = link.SendSnapshot(
        pool=taking.pool,
        snapshot=row.uuid,
        sha256=row.sha256,
        size=row.size_bytes,
        address=address,
        port=preparation.IMAGE_PORT,
        store=store,
        image=taking.image,
        ticket=sign_keep_ticket(context.keys.ticket_key, ticket),
        ca=context.keys.authority.ca_pem,
    )
    await edge("snapshot before send")
    seen = await hosttasks.run(context, turn, taking.host, _name(row, "send"), body)
    match seen.state:
        case OperationState.RUNNING:
            return Result(LOOK_S, lambda tx: _progress(tx, turn, row, (1 + seen.progress) / 2))
        case OperationState.FAILED:
            return await _not_sent(context, turn, row, taking, seen)
        case OperationState.DONE:
            return Result(0.0, lambda tx: _sent(tx, turn, row))


def _where(tx: Tx, row: Row) -> tuple[str, str]:
    address = preparation.image_server(tx, row.zone_id)
    if not address:
        raise NotYet(2, "no secondary storage VM serves in this zone yet")
    store = tx.get(tables.image_store, row.store_id)
    assert store is not None
    return address, store.uuid


async def _not_sent(context: Context, turn: Turn, row: Row, taking: Taking, seen: OperationSeen) -> Outcome:
    """What the store refuses for good, or the host has lost, is taken anew."""
    await hosttasks.forget(context, taking.host, _name(row, "send"))
    if "422" in seen.error or "not on primary storage" in seen.error:
        await _drop(context, turn, taking, row, kept=False)
        return _again(turn, row, seen.error, "Allocated")
    return _again(turn, row, seen.error, "BackingUp")


def _sent(tx: Tx, turn: Turn, row: Row) -> None:
    tx.update(tables.snapshot, turn.id, state="BackedUp", progress=1.0, note="", error="")
    if row.kind == snapshots.TEMPLATE:
        captures.became_template(tx, row)
    elif row.kind == snapshots.MOVE:
        captures.goes_on(tx, row)
    elif row.policy_id is not None:
        _say(tx, row, "INFO", f"Snapshot {row.name} of its policy is done")
        _keep_to_policy(tx, row)
    jobs.settle(tx, "snapshot", turn.id, turn.wish, "ready")


def _keep_to_policy(tx: Tx, row: Row) -> None:
    policy = tx.get(tables.snapshot_policy, row.policy_id)
    if policy is None or policy.removed is not None:
        return
    made = snapshots.kept_by_policy(tx, policy.id)
    for old in made[: max(0, len(made) - policy.most)]:
        snapshots.drop(tx, old)
        _say(tx, old, "INFO", f"Snapshot {old.name} is deleted: its policy keeps {policy.most}", "SNAPSHOT.DELETE")


# ---------------------------------------------------------------- failing
def _again(turn: Turn, row: Row, why: str, state: str) -> Outcome:
    if row.tries + 1 >= TRIES:
        return Result(0.0, lambda tx: _give_up(tx, turn, row, why))
    log.warning("snapshot_failed", snapshot=row.uuid, tries=row.tries + 1, why=why)
    pause = PAUSES_S[min(row.tries, len(PAUSES_S) - 1)]
    return Result(pause, lambda tx: _try_again(tx, turn, row, why, state))


def _try_again(tx: Tx, turn: Turn, row: Row, why: str, state: str) -> None:
    note = f"try {row.tries + 1} of {TRIES} failed: {why}"
    tx.update(tables.snapshot, turn.id, state=state, tries=row.tries + 1, progress=0.0, note=note)
    _start_guest(tx, row)


def _give_up(tx: Tx, turn: Turn, row: Row, why: str) -> None:
    tx.update(tables.snapshot, turn.id, state="Error", error=why, note=why)
    if row.kind == snapshots.TEMPLATE:
        captures.became_nothing(tx, row, why)
    if row.kind == snapshots.MOVE:
        captures.stays(tx, row, why)
    if row.kind not in snapshots.CAPTURES:
        _say(tx, row, "ERROR", f"Snapshot {row.name} could not be made: {why}")
        remedy = "Delete it with deleteSnapshot and make another"
        text = f"Snapshot {row.name} ({row.uuid}) could not be made: {why}. {remedy}"
        alerts.raise_alert(tx, AlertType.STORAGE_MISC, text, zone=row.zone_id)
    jobs.fail(tx, "snapshot", turn.id, why)
    _start_guest(tx, row)


def _say(tx: Tx, row: Row, level: str, text: str, type_: str = "SNAPSHOT.CREATE") -> None:
    about = About("Snapshot", row.id, row.uuid, row.name)
    events.record(tx, type_, text, actor=snapshots.actor(row), about=about, level=level)


# ---------------------------------------------------------------- the end of it
async def _settle(context: Context, turn: Turn, row: Row) -> Outcome:
    """Done, or given up: the host keeps nothing of it but the mark since when it is."""
    if row.staged:
        taking = await context.store.read(lambda tx: captures.taking(tx, row))
        if taking is not None:
            await _drop(context, turn, taking, row, kept=row.state == "BackedUp")
        return Result(0.0, lambda tx: tx.update(tables.snapshot, turn.id, staged=False))
    if row.kind == snapshots.TEMPLATE:
        return Gone(lambda tx: tx.update(tables.snapshot, turn.id, removed=tx.now, stored=False))
    if row.kind in snapshots.CAPTURES:
        return await context.store.read(lambda tx: _kept(tx, turn, row))
    if row.state == "BackedUp":
        return Gone(lambda tx: _served(tx, turn, "ready"))
    return Gone(lambda tx: jobs.fail(tx, "snapshot", turn.id, row.error))


def _kept(tx: Tx, turn: Turn, row: Row) -> Outcome:
    """What its owner may download stays until the last address of it has expired; what moves, until its volume drops it."""
    until = tx.now
    if row.state == "BackedUp":
        until = row.taken + image_links.link_seconds(tx) + GRACE_S if row.kind == snapshots.EXTRACT else math.inf
    if until > tx.now:
        return Result(min(until - tx.now, EXPIRY_S), lambda tx: _served(tx, turn, "ready"))
    return Result(0.0, lambda tx: tx.update(tables.snapshot, turn.id, removed=tx.now))


async def _drop(context: Context, turn: Turn, taking: Taking, row: Row, *, kept: bool) -> None:
    """Nothing of it is staged. NotYet while the host is at it."""
    names = tuple(_name(row, what) for what in ("take", "send"))
    await hosttasks.forget(context, taking.host, *names)
    name = _name(row, "drop")
    body = link.DropSnapshot(pool=taking.pool, volume=taking.volume, snapshot=row.uuid, kept=kept)
    seen = await hosttasks.run(context, turn, taking.host, name, body)
    if seen.state is OperationState.RUNNING:
        raise NotYet(0.5, row.note)
    await hosttasks.forget(context, taking.host, name)
    if seen.state is OperationState.FAILED:
        raise NotYet(10, f"what the host has of it could not be removed: {seen.error}")


async def _clear(context: Context, turn: Turn, row: Row) -> Outcome:
    if row.staged:
        return await _settle(context, turn, row)
    if await context.store.read(lambda tx: snapshot_copies.wanted(tx, turn.id)):
        return Result(0.0, lambda tx: _drop_copies(tx, row))
    if not row.stored:
        return Gone(lambda tx: _served(tx, turn, "gone"))
    # It is gone for its owner. Who reads it now will have read it; later ones that need it wake this turn when they go.
    if await context.store.read(lambda tx: snapshots.is_read(tx, turn.id)):
        return Result(READ_S, lambda tx: _served(tx, turn, "gone"))
    if await context.store.read(lambda tx: snapshots.is_needed(tx, turn.id)):
        return Gone(lambda tx: _served(tx, turn, "gone"))
    job = await context.store.read(lambda tx: captures.deleting(tx, row))
    if job is None:  # the store is gone, and with it what was on it
        return Gone(lambda tx: _cleared(tx, turn, row))
    await edge("snapshot before delete")
    if await _deleted(context, turn, row, job):
        return Gone(lambda tx: _cleared(tx, turn, row))
    return Result(LOOK_S)


def _drop_copies(tx: Tx, row: Row) -> None:
    snapshot_copies.drop(tx, row)


async def _deleted(context: Context, turn: Turn, row: Row, job: Deleting) -> bool:
    name = f"delete-{row.uuid}"
    task = channel.RunTask(name=name, body=channel.DeleteImage(store=job.store, image=row.uuid))
    order = link.ToAgent(machine=job.machine, incarnation=job.incarnation, fence=turn.fence, body=task)
    seen = await context.links.to(job.host).call(order, OperationSeen)
    if seen.state is OperationState.RUNNING:
        return False
    forget = msgspec.structs.replace(order, body=channel.ForgetTask(name=name))
    await context.links.to(job.host).call(forget, link.Nothing)
    if seen.state is OperationState.FAILED:
        raise NotYet(60, f"the snapshot could not be deleted: {seen.error}")
    return True


def _cleared(tx: Tx, turn: Turn, row: Row) -> None:
    tx.update(tables.snapshot, turn.id, stored=False)
    snapshots.stir_parents(tx, row)
    jobs.settle(tx, "snapshot", turn.id, turn.wish, "gone")


def _served(tx: Tx, turn: Turn, outcome: str) -> None:
    """Whoever waited for this has it."""
    jobs.settle(tx, "snapshot", turn.id, turn.wish, outcome)


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the snapshot's note; a wait without one leaves the last reason there."""
    if why:
        _note(tx, id_, why)
