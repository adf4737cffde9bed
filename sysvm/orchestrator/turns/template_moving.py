"""A template copy's turn while its bytes move from one image store of the zone to another, else the usual one.

    wanted_store_id   copy there (a named task, verified by SHA-256); then the row says that the image is there, and
    left_store_id     delete it where it was; then the copy is settled again

Hosts fetch from the store that the row names, so at every instant there is a whole image where the row says. A crash
between the steps repeats one of them; both are idempotent. An image that nobody wants any more while it moves is deleted at
the end that it goes to before the usual turn deletes it where it is. A store that cannot be read or written fails the job;
what is left behind is tried again.
"""

import sqlalchemy as sa

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import template
from sysvm.orchestrator.turns.template import POLL_S, SETTLED_S, Job
from sysvm.store import tables
from sysvm.store.queries import alerts, jobs, settings, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from sysvm.wire.machines import OperationSeen, OperationState

WAIT_S = 5.0
AGAIN_S = 60.0


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at a copy, moving or not."""
    copy = await context.store.read(lambda tx: tx.get(tables.template_copy, turn.id))
    if copy is None or (copy.wanted_store_id is None and copy.left_store_id is None):
        return await template.work(context, turn)
    if copy.removed is not None:
        return Gone()
    job = await context.store.run(lambda tx: _load(tx, turn.id))
    if job.copy.left_store_id is not None:
        return await _clear(context, turn, job)
    if job.copy.wanted_store_id is None:
        return Result(0)
    return await _copy(context, turn, job)


def _load(tx: Tx, id_: int) -> Job:
    """What is to be done. A move of an image that nobody wants, or to where it is, or to a store that is gone, ends here."""
    copy = tx.get(tables.template_copy, id_)
    assert copy is not None
    if (target := copy.wanted_store_id) is not None:
        store = tx.get(tables.image_store, target)
        if store is None or store.removed is not None or target == copy.store_id:
            tx.update(tables.template_copy, id_, wanted_store_id=None)
        elif not copy.wanted:
            tx.update(tables.template_copy, id_, wanted_store_id=None, left_store_id=target)
    return template.load(tx, id_)


# ---------------------------------------------------------------- there
async def _copy(context: Context, turn: Turn, job: Job) -> Outcome:
    await context.store.read(lambda tx: _has_room(tx, job))
    target = await context.store.read(lambda tx: tx.get(tables.image_store, job.copy.wanted_store_id))
    assert target is not None
    body = channel.CopyImage(store=target.uuid, source=job.store.uuid, image=job.template.uuid, sha256=job.copy.sha256)
    name = f"copy-{job.template.uuid}-{target.uuid}-{turn.wish}"
    await edge("template before copy")
    seen = await template.ask(context, turn, job, channel.RunTask(name=name, body=body))
    match seen.state:
        case OperationState.RUNNING:
            return Result(POLL_S)
        case OperationState.FAILED:
            await template.forget(context, turn, job, name)
            return Result(SETTLED_S, lambda tx: _stays(tx, turn, job, target, seen))
        case OperationState.DONE:
            return Result(0, lambda tx: _moved(tx, turn, job, target))


def _has_room(tx: Tx, job: Job) -> None:
    """A secondary storage VM moves few images at a time. Raises NotYet for the others."""
    table = tables.template_copy
    most = int(settings.value(tx, "secstorage.max.migrate.sessions"))
    first = sa.select(table.c.id).where(
        table.c.machine_id == job.machine.id, table.c.wanted_store_id.is_not(None), table.c.removed.is_(None)
    )
    if job.copy.id not in {row.id for row in tx.all(first.order_by(table.c.id).limit(most))}:
        raise NotYet(WAIT_S, f"{job.machine.name} moves other images first")


def _moved(tx: Tx, turn: Turn, job: Job, target: Row) -> None:
    tx.update(tables.template_copy, turn.id, store_id=target.id, wanted_store_id=None, left_store_id=job.store.id, error="")
    turns.look_again(tx, "template", turn.id)


def _stays(tx: Tx, turn: Turn, job: Job, target: Row, seen: OperationSeen) -> None:
    why = f"Template {job.template.name} could not be moved to image store {target.name}: {seen.error}"
    tx.update(tables.template_copy, turn.id, wanted_store_id=None)
    alerts.raise_alert(tx, AlertType.STORAGE_MISC, why, zone=job.copy.zone_id)
    jobs.fail(tx, "template", turn.id, why)


# ---------------------------------------------------------------- where it was
async def _clear(context: Context, turn: Turn, job: Job) -> Outcome:
    left = await context.store.read(lambda tx: tx.get(tables.image_store, job.copy.left_store_id))
    assert left is not None
    if left.removed is None:
        body = channel.DeleteImage(store=left.uuid, image=job.template.uuid)
        name = f"leave-{job.template.uuid}-{left.uuid}-{turn.wish}"
        seen = await template.ask(context, turn, job, channel.RunTask(name=name, body=body))
        if seen.state is OperationState.RUNNING:
            return Result(POLL_S)
        if seen.state is OperationState.FAILED:
            await template.forget(context, turn, job, name)
            return Result(AGAIN_S, lambda tx: _left_behind(tx, turn, job, left, seen), failed=True)
    return Result(0, lambda tx: _cleared(tx, turn))


def _left_behind(tx: Tx, turn: Turn, job: Job, left: Row, seen: OperationSeen) -> None:
    why = f"Template {job.template.name} has moved, but could not be deleted from image store {left.name}: {seen.error}"
    alerts.raise_alert(tx, AlertType.STORAGE_MISC, why, zone=job.copy.zone_id)
    jobs.fail(tx, "template", turn.id, why)


def _cleared(tx: Tx, turn: Turn) -> None:
    """The usual turn settles the job, or goes on deleting."""
    tx.update(tables.template_copy, turn.id, left_store_id=None)
    turns.look_again(tx, "template", turn.id)
