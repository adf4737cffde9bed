"""A task's turn: one question to the agent of a system VM, and its answer; or a longer work of its own (archives, install)."""

import json

import msgspec

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import archives, install
from sysvm.orchestrator.turns.asking import asked
from sysvm.store import tables
from sysvm.store.queries import jobs
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel, explaining, health
from sysvm.wire.machines import OperationState

OVER = ("done", "failed")
BODIES: dict[str, type[channel.TaskBody]] = {
    "diagnose": channel.Diagnose,
    "explain": explaining.ExplainPacket,
    "rules": explaining.ShowRules,
    "health": health.CheckHealth,
}


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at the task."""
    task = await context.store.read(lambda tx: tx.get(tables.task, turn.id))
    if task is None or task.removed is not None:
        return Gone()
    if task.state in OVER:
        is_kept = task.kind == archives.KIND and task.state == "done"  # until it is old
        return await archives.work(context, turn, task) if is_kept else Gone()
    if task.deadline is not None and task.deadline < context.clock.now():
        return Gone(lambda tx: _overdue(tx, turn, task))
    match task.kind:
        case archives.KIND:
            return await archives.work(context, turn, task)
        case install.KIND:
            return await install.work(context, turn, task)
        case kind if kind in BODIES:
            return await _ask(context, turn, task)
        case kind:
            return Gone(lambda tx: _end(tx, turn, "failed", f"this release cannot do a task of kind {kind}", None))


async def _ask(context: Context, turn: Turn, task: Row) -> Outcome:
    body = msgspec.json.decode(task.body, type=BODIES[task.kind])
    seen = await asked(context, turn, task.machine_id, f"task-{task.uuid}", body)
    match seen.state:
        case OperationState.RUNNING:
            return Result(0.5)
        case OperationState.FAILED:
            return Gone(lambda tx: _end(tx, turn, "failed", seen.error, None))
        case OperationState.DONE:
            answer = msgspec.msgpack.decode(seen.result or b"\xc0")
            return Gone(lambda tx: _end(tx, turn, "done", "", json.dumps(answer)))


def _overdue(tx: Tx, turn: Turn, task: Row) -> None:
    if task.kind == install.KIND:
        install.overdue(tx, turn, task)
    else:
        _end(tx, turn, "failed", "nobody could answer before its deadline", None)


def _end(tx: Tx, turn: Turn, state: str, error: str, result: str | None) -> None:
    tx.update(tables.task, turn.id, state=state, error=error, result=result)
    if state == "done":
        jobs.settle(tx, "task", turn.id, turn.wish, "done")
    else:
        jobs.fail(tx, "task", turn.id, error)


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the task's row."""
    tx.update(tables.task, id_, error=why)
    task = tx.get(tables.task, id_)
    if task is not None and task.kind == install.KIND and task.state not in OVER:
        install.complain(tx, task, why)
