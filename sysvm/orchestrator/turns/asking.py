"""One question to the agent of a system VM, by the name of a task: asked once, looked at until it is answered, then forgotten.

Whoever loses the answer after it was forgotten asks again: only what may be done twice is asked this way.
"""

from typing import TypeVar

import msgspec

from sysvm.basics.errors import NotYet, Refused
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import channel, link
from sysvm.wire.machines import OperationSeen, OperationState

T = TypeVar("T")


async def ask(context: Context, turn: Turn, machine_id: int, name: str, body: channel.TaskBody, answer: type[T]) -> T | None:
    """The answer; None while it is not there. Raises Refused with the agent's words."""
    seen = await asked(context, turn, machine_id, name, body)
    if seen.state is OperationState.FAILED:
        raise Refused(seen.error)
    if seen.state is OperationState.RUNNING:
        return None
    return msgspec.msgpack.decode(seen.result or b"\x80", type=answer)


async def asked(context: Context, turn: Turn, machine_id: int, name: str, body: channel.TaskBody) -> OperationSeen:
    """How far the agent is; what has come to an end is forgotten there."""
    placement, machine = await context.store.read(lambda tx: _placement(tx, machine_id))

    def order(call: channel.AgentCallBody) -> link.ToAgent:
        return link.ToAgent(machine=machine.uuid, incarnation=placement.incarnation, fence=turn.fence, body=call)

    host = context.links.to(placement.host_id)
    seen = await host.call(order(channel.RunTask(name=name, body=body)), OperationSeen)
    if seen.state is not OperationState.RUNNING:
        await host.call(order(channel.ForgetTask(name=name)), link.Nothing)
    return seen


def _placement(tx: Tx, machine_id: int) -> tuple[Row, Row]:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    placement = machines.current_placement(tx, machine)
    if placement is None:
        raise NotYet(2, f"{machine.name} is not placed")
    return placement, machine
