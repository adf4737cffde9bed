"""The task "collect": files of a system VM are packed by its agent and kept by a secondary storage VM, until they are old.

Three steps, each an act on one host: collect, keep, and a day later (diagnostics.data.max.file.age) remove. Between the first two
the archive stands in the task's row, because the two machines may be linked to different servers. Every step can be done twice.
"""

import base64
import json

import msgspec

from sysvm.basics.errors import NotYet, Refused
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns.asking import ask
from sysvm.store import tables
from sysvm.store.queries import image_links, jobs, settings
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import DeleteImage, Downloaded
from sysvm.wire.collecting import Collected, CollectFiles, KeepArchive
from sysvm.wire.link import Nothing

KIND = "collect"


class Body(msgspec.Struct, frozen=True):
    """What getDiagnosticsData wrote."""

    files: tuple[str, ...]
    store: str  # UUID of the image store that takes the archive


class Kept(msgspec.Struct, frozen=True):
    """Where the archive is; the task's result."""

    store: str
    image: str
    sha256: str
    size: int
    zone: int


async def work(context: Context, turn: Turn, task: Row) -> Outcome:
    """The next step. Raises NotYet while nobody can do it."""
    if task.state == "done":
        return await _remove(context, turn, task)
    try:
        if task.state == "waiting":
            return await _collect(context, turn, task)
        return await _keep(context, turn, task)
    except Refused as refused:
        why = refused.text
        return Gone(lambda tx: failed(tx, turn, why))


async def _collect(context: Context, turn: Turn, task: Row) -> Outcome:
    body = msgspec.json.decode(task.body, type=Body)
    machine = task.machine_id
    found = await ask(context, turn, machine, f"task-{task.uuid}", CollectFiles(files=body.files), Collected)
    if found is None:
        return Result(0.5)
    text = base64.b64encode(found.archive).decode()
    return Result(0.0, lambda tx: tx.update(tables.task, task.id, state="collected", result=text))


async def _keep(context: Context, turn: Turn, task: Row) -> Outcome:
    body = msgspec.json.decode(task.body, type=Body)
    keeper, zone = await context.store.read(lambda tx: _keeper(tx, task))
    order = KeepArchive(store=body.store, image=task.uuid, archive=base64.b64decode(task.result))
    found = await ask(context, turn, keeper, f"keep-{task.uuid}", order, Downloaded)
    if found is None:
        return Result(0.5)
    kept = Kept(store=body.store, image=task.uuid, sha256=found.sha256, size=found.size, zone=zone)

    def write(tx: Tx) -> None:
        tx.update(tables.task, task.id, state="done", error="", result=json.dumps(msgspec.to_builtins(kept)))
        jobs.settle(tx, "task", turn.id, turn.wish, "done")

    age, is_cleaned = await context.store.read(_age)
    return Result(age, write) if is_cleaned else Gone(write)


async def _remove(context: Context, turn: Turn, task: Row) -> Outcome:
    """The archive is old: it goes, and the task with it."""
    age, is_cleaned = await context.store.read(_age)
    left = task.created + age - context.clock.now()
    if not is_cleaned:
        return Gone()
    if left > 0:
        return Result(left)
    kept = msgspec.json.decode(task.result, type=Kept)
    keeper, _ = await context.store.read(lambda tx: _keeper(tx, task))
    order = DeleteImage(store=kept.store, image=kept.image)
    try:
        if await ask(context, turn, keeper, f"remove-{task.uuid}", order, Nothing) is None:
            return Result(0.5)
    except Refused:
        pass  # its store is served no longer: with it went the archive
    return Gone(lambda tx: tx.update(tables.task, task.id, removed=tx.now))


def _keeper(tx: Tx, task: Row) -> tuple[int, int]:
    """The secondary storage VM that takes the archive, and its zone."""
    machine = tx.get(tables.machine, task.machine_id)
    assert machine is not None
    keeper = image_links.door(tx, machine.zone_id)
    if keeper is None:
        raise NotYet(2, "no secondary storage VM of the zone serves its public address now")
    return keeper.id, machine.zone_id


def _age(tx: Tx) -> tuple[float, bool]:
    return float(settings.value(tx, "diagnostics.data.max.file.age")), bool(settings.value(tx, "diagnostics.data.gc.enable"))


def failed(tx: Tx, turn: Turn, why: str) -> None:
    """The job fails with the reason; nothing of the archive stays."""
    tx.update(tables.task, turn.id, state="failed", error=why, result=None)
    jobs.fail(tx, "task", turn.id, why)
