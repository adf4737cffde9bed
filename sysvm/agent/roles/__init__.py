"""What a system VM is for. A role makes its kind of document true; the core (`core.py`) does everything else.

The core calls `start` once, then `apply` with the document that was sealed at the last life (if any), then serves the
host. It never calls `apply` twice at once; `live`, `services` and `counters` may be called while `apply` runs. Tasks run
concurrently, each under its name; a task that ran when the agent died is run again with the same name and body, so
`run_task` finds what it had done. Files that must survive lie below `context.paths.state`.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from sysvm.agent.line import Line
from sysvm.agent.paths import Paths
from sysvm.agent.seal import Seal
from sysvm.basics.clock import Clock
from sysvm.basics.errors import Refused
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import Counter, ServiceSeen, TaskBody
from sysvm.wire.documents import SystemVmDocument
from sysvm.wire.machines import BootData, Kind, ServiceFault

Progress = Callable[[float], Awaitable[None]]
"""Tells the ledger (and, now and then, the server) how far a task is, 0..1."""


class Context(msgspec.Struct, frozen=True):
    """What the core gives a role."""

    boot: BootData
    paths: Paths
    clock: Clock
    seal: Seal  # for what a role keeps on the state disk
    line: Line  # ask(RedeemTicket(...), ConsoleTarget), notify(DriftReport(...))


class Role(Protocol):
    """One kind of system VM. Subclass it; what has a body here may be left as it is."""

    async def start(self, tasks: Tasks) -> None:
        """Begins what runs beside documents (watchers); children of `tasks` end with the agent."""
        return

    async def apply(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        """Makes `document` true, service by service; a service that fails keeps its old state and is a fault.

        Raises Refused when the document is of another kind.
        """
        ...

    async def stage(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        """Checks `document` and makes ready what changes nothing; another incarnation serves in the same namespace."""
        raise Refused("a machine of this kind does not stand by")

    async def rest(self) -> None:
        """Another incarnation serves from now on: ends the daemons, mends nothing, leaves the kernel as it is."""
        return

    async def hide(self) -> None:
        """This machine's ports are shut, because another incarnation serves: sees nobody, and says nothing of that."""
        return

    async def show(self) -> None:
        """The ports are open: neighbours are told, and who could not be reached behind shut ports is asked anew."""
        return

    async def carries(self) -> bool:
        """Whether it rests and something goes on that only it can carry, as the connections of a load balancer."""
        return False

    async def live(self) -> str:
        """The digest of the document that is live, read back from kernel and daemons; empty when none is."""
        ...

    async def faults(self) -> tuple[ServiceFault, ...] | None:
        """What is not as the last document says, now; None: what `apply` gave still holds."""
        return None

    def redundancy(self) -> str:
        """Of a pair's router, whether it serves (wire/redundancy.py); empty for whatever is no one of a pair."""
        return ""

    def services(self) -> tuple[ServiceSeen, ...]:
        """The daemons."""
        return ()

    async def counters(self) -> tuple[Counter, ...]:
        """Bytes per public address."""
        return ()

    async def run_task(self, name: str, body: TaskBody, progress: Progress) -> msgspec.Struct | None:
        """Does the work and gives its result. Raises Refused (the task failed, with that text)."""
        ...

    async def forget_task(self, name: str, body: TaskBody) -> None:
        """Removes what an unfinished task has left behind; the task itself has been cancelled already."""
        return

    async def stop(self) -> None:
        """The machine is about to be switched off: let work end, in order."""
        return


def role_for(context: Context) -> Role:
    """The role of this machine. Imports are lazy: under emulation each costs."""
    match context.boot.kind:
        case Kind.ROUTER:
            from sysvm.agent.roles.router.role import make as make_router

            return make_router(context)
        case Kind.CONSOLE_PROXY:
            from sysvm.agent.roles.consoleproxy import make as make_consoleproxy

            return make_consoleproxy(context)
        case Kind.SECONDARY_STORAGE:
            from sysvm.agent.roles.secstorage import make as make_secstorage

            return make_secstorage(context)
        case _:
            raise ValueError(f"no agent runs in a {context.boot.kind}")
