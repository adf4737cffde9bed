"""A task's turn: one question to the agent of a system VM, and its answer."""

import json

import msgspec
import sqlalchemy as sa

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import install
from sysvm.store import tables
from sysvm.store.queries import jobs
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel, explaining, link
from sysvm.wire.machines import OperationSeen, OperationState

OVER = ("done", "failed")
BODIES: dict[str, type[channel.TaskBody]] = {
    "diagnose": channel.Diagnose,
    "explain": explaining.ExplainPacket,
    "rules": explaining.ShowRules,
}


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at the task."""
    task = await context.store.read(lambda tx: tx.get(tables.task, turn.id))
    if task is None or task.removed is not None or task.state in OVER:
        return Gone()
    if task.kind == install.KIND:
        if task.deadline is not None and task.deadline < context.clock.now():
            return Gone(lambda tx: install.overdue(tx, turn, task))
        return await install.work(context, turn, task)
    if task.deadline is not None and task.deadline < context.clock.now():
        return Gone(lambda tx: _end(tx, turn, "failed", "nobody could answer before its deadline", None))
    if task.kind not in BODIES:
        return Gone(lambda tx: _end(tx, turn, "failed", f"this release cannot do a task of kind {task.kind}", None))
    placement, machine = await context.store.read(lambda tx: _placement(tx, task))
    name = f"task-{task.uuid}"

    def order(body: channel.AgentCallBody) -> link.ToAgent:
        return link.ToAgent(machine=machine.uuid, incarnation=placement.incarnation, fence=turn.fence, body=body)

    host = context.links.to(placement.host_id)
    run = channel.RunTask(name=name, body=msgspec.json.decode(task.body, type=BODIES[task.kind]))
    seen = await host.call(order(run), OperationSeen)
    if seen.state is not OperationState.RUNNING:
        # Its answer is in our hands. Whoever loses it now asks again: a question changes nothing.
        await host.call(order(channel.ForgetTask(name=name)), link.Nothing)
    match seen.state:
        case OperationState.RUNNING:
            return Result(0.5)
        case OperationState.FAILED:
            return Gone(lambda tx: _end(tx, turn, "failed", seen.error, None))
        case OperationState.DONE:
            answer = msgspec.msgpack.decode(seen.result or b"\xc0")
            return Gone(lambda tx: _end(tx, turn, "done", "", json.dumps(answer)))


def _placement(tx: Tx, task: Row) -> tuple[Row, Row]:
    machine = tx.get(tables.machine, task.machine_id)
    assert machine is not None
    table = tables.placement
    placement = tx.one(
        sa.select(table).where(
            table.c.machine_id == machine.id, table.c.incarnation == machine.incarnation, table.c.removed.is_(None)
        )
    )
    if placement is None:
        raise NotYet(2, f"{machine.name} is not placed")
    return placement, machine


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
