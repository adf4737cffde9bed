"""Questions to the agent of a lab's router, asked as the server asks them."""

import msgspec

from sysvm.wire.channel import ForgetTask, RunTask, TaskBody
from sysvm.wire.explaining import Explained, ExplainPacket
from sysvm.wire.link import Nothing
from sysvm.wire.machines import OperationSeen, OperationState
from tests.agent.lab import Lab, until

TCP = 6


def asked(lab: Lab, body: TaskBody, answer: type) -> msgspec.Struct:
    """The answer of the router's agent."""
    assert lab.host is not None
    name = "question"
    lab.host.call(ForgetTask(name=name), Nothing)
    lab.host.call(RunTask(name=name, body=body), OperationSeen)

    def over() -> OperationSeen | None:
        found = next((each for each in lab.report().operations if each.name == name), None)
        return found if found is not None and found.state is not OperationState.RUNNING else None

    seen = until(over, "the answer")
    assert seen.state is OperationState.DONE, seen.error
    assert seen.result is not None
    return msgspec.msgpack.decode(seen.result, type=answer)


def explained(lab: Lab, source: str, destination: str, protocol: int = TCP, port: int = 0) -> Explained:
    """What the router says about a packet."""
    found = asked(lab, ExplainPacket(source=source, destination=destination, protocol=protocol, port=port), Explained)
    assert isinstance(found, Explained)
    return found
