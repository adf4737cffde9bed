"""Serves the host: documents, reports, tasks, the end. Knows nothing of what a role does.

Documents are applied one at a time, in the order of their calls. The server repeats what it wants, so nothing is queued
beyond that. A task's outcome is written before it is said; a crash in between is one more run of an idempotent task.

A container that stands by (right.py) checks its document and changes nothing until the host says that it takes over. A VM
has a kernel of its own: standing by, it does everything behind shut ports, says that it would be ready, and tells and takes the
connections of its kernel (connections.py). So does a container whose other incarnation is on another host (`apart`), until it
has served: from then on its namespace is what the next one on this host shares with it.
"""

import asyncio
from typing import TYPE_CHECKING, assert_never

import msgspec

from sysvm.agent.boot import bring_nics_up
from sysvm.agent.documents import Documents
from sysvm.agent.ledger import Entry, Ledger
from sysvm.agent.right import Right
from sysvm.agent.roles import Context, Progress, Role
from sysvm.agent.transport import NoHost, connect
from sysvm.basics.digest import digest
from sysvm.basics.errors import Broken, NotYet, Refused, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import (
    PROTOCOL,
    AgentCallBody,
    AgentHello,
    AgentReport,
    Apply,
    Diagnose,
    ForgetTask,
    Greet,
    Ping,
    PowerOff,
    Report,
    RunTask,
    TaskBody,
    TaskReport,
)
from sysvm.wire.collecting import CollectFiles
from sysvm.wire.documents import SystemVmDocument
from sysvm.wire.handover import StandBy, TakeConnections, TakeOver, TellConnections
from sysvm.wire.link import Nothing
from sysvm.wire.machines import OperationSeen, OperationState, Runtime, ServiceFault
from sysvm.wire.peer import Peer

if TYPE_CHECKING:
    from sysvm.agent.connections import Teller

_calls: msgspec.msgpack.Decoder[AgentCallBody] = msgspec.msgpack.Decoder(AgentCallBody)
_RETRY = (0.05, 1.0)  # seconds between attempts to reach the host: first, longest
_TELL_EVERY = 1.0  # seconds between progress notices of one task
_LINGERS_S = 600.0  # how long connections of an incarnation that stands by may go on
_LOOK_EVERY = 1.0  # seconds between looks whether they have ended
_GRABS = (100, 0.02)  # how often, and with which pause, a right is asked for that its last holder has just left
log = get_logger()


class Agent:
    """One machine's agent."""

    def __init__(self, context: Context, role: Role, *, version: str, nonce: str) -> None:
        self._context = context
        self._role = role
        self._version = version
        self._nonce = nonce
        self._documents = Documents(context.paths.state, context.seal)
        self._ledger = Ledger(context.paths.state / "tasks.sealed", context.seal)
        self._right = Right(context.paths, context.boot)
        self._apart = context.boot.apart and self._right.untold
        self._teller: Teller | None = None
        self._ready = ""
        self._lingers_until = 0.0
        self._applying = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: Tasks | None = None
        self._faults: tuple[ServiceFault, ...] = ()
        self._called = False

    async def run(self, tasks: Tasks) -> None:
        """Restores what was, then serves the host for ever; everything it starts is a child of `tasks`."""
        self._tasks = tasks
        if not self._right.resume() and not self._shares_kernel:
            await self._role.hide()
        await self._role.start(tasks)
        for document in self._documents.restored():
            await self._restore(document)
        for name, body in self._ledger.unfinished():
            self._start_task(name, body)
        delay = _RETRY[0]
        while True:
            # A virtio port can be opened while no host listens; it ends at once, and that is no connection.
            delay = _RETRY[0] if await self._converse(tasks) else min(delay * 2, _RETRY[1])
            await self._context.clock.sleep(delay)

    async def _converse(self, tasks: Tasks) -> bool:
        """One connection to the host, to its end; False when there was none."""
        try:
            stream = await connect(self._context.paths)
        except NoHost as error:
            log.debug("host_not_reached", why=str(error))
            return False
        self._called = False
        peer = Peer(stream.reader, stream.writer, serve=self.serve, hear=_hear_nothing, strict=stream.strict)
        self._context.line.carry_over(peer)
        tasks.start(self._hello(), "hello")
        await peer.run(tasks)
        stream.end()
        self._context.line.carry_over(None)
        if self._called:
            log.info("host_lost")
        return self._called

    async def serve(self, raw: msgspec.Raw) -> msgspec.Struct:
        """The answer to a call of the host."""
        self._called = True
        body = _calls.decode(raw)
        match body:
            case Greet():
                await self._hello()
                return Nothing()
            case Ping():
                return Nothing()
            case Apply():
                return await self._apply(body.document)
            case Report():
                return await self._report()
            case RunTask():
                return self._run_task(body)
            case ForgetTask():
                await self._forget_task(body.name)
                return Nothing()
            case StandBy():
                return await self._stand_by(body.apart)
            case TakeOver():
                return await self._take_over()
            case TellConnections() | TakeConnections():
                return await self._carry(body)
            case PowerOff():
                self._children().start(self._power_off(), "power-off")
                return Nothing()
            case _:
                assert_never(body)

    def _children(self) -> Tasks:
        if self._tasks is None:
            raise RuntimeError("the agent does not run yet")
        return self._tasks

    # ------------------------------------------------------------ documents
    async def _restore(self, document: SystemVmDocument) -> None:
        try:
            await self._make_true_again(document)
        except Refused as error:
            log.error("kept_document_refused", why=error.text)
            return
        log.info("document_restored", faults=len(self._faults))

    async def _apply(self, document: SystemVmDocument) -> AgentReport:
        if document.machine != self._context.boot.machine:
            raise Refused(f"this is machine {self._context.boot.machine}, the document is for {document.machine}")
        async with self._applying:
            # On its way to the disk while it is made true: each takes its time, and nothing is said before both are done.
            kept = asyncio.get_running_loop().run_in_executor(None, self._documents.remember_wanted, document)
            try:
                await self._make_true(document)
            finally:
                await kept
            report = await self._report()
            self._remember_good(document, report.ready)
        return report

    async def _make_true_again(self, document: SystemVmDocument) -> None:
        """One that is kept already."""
        async with self._applying:
            await self._make_true(document)
            _, live = await self._standing()
            self._remember_good(document, live)

    async def _make_true(self, document: SystemVmDocument) -> None:
        if self._watches_only:
            self._faults = await self._role.stage(document)
            self._ready = "" if self._faults else digest(document)
        else:
            self._faults = await self._role.apply(document)

    def _remember_good(self, document: SystemVmDocument, live: str) -> None:
        if live and not self._watches_only and not self._faults:
            self._documents.remember_good(document)

    @property
    def _shares_kernel(self) -> bool:
        return self._context.boot.runtime is not Runtime.VM and not self._apart

    @property
    def _watches_only(self) -> bool:
        return self._shares_kernel and not self._right.held

    async def _stand_by(self, apart: bool) -> AgentReport:
        async with self._applying:
            self._apart = self._apart or apart
            if self._shares_kernel:
                await self._role.rest()
                self._ready, self._faults = "", ()
            else:
                await self._role.hide()
            self._right.leave()
        log.info("stood_by")
        if await self._role.carries() and not self._lingers_until:
            self._lingers_until = self._context.clock.now() + _LINGERS_S
            self._children().start(self._tell_the_end(), "linger")
        return await self._report()

    async def _carries(self) -> bool:
        return self._context.clock.now() < self._lingers_until and await self._role.carries()

    async def _tell_the_end(self) -> None:
        """The host waits for it before it stops this machine."""
        while await self._carries():
            await self._context.clock.sleep(_LOOK_EVERY)
        self._lingers_until = 0.0
        await self._context.line.notify(await self._report())

    async def _take_over(self) -> AgentReport:
        document = self._documents.newest
        if document is None:
            raise Refused("there is no document to take over with")
        attempts, pause = _GRABS
        while not self._right.take():
            attempts -= 1
            if not attempts:
                raise Refused("another incarnation still serves in this network namespace")
            await self._context.clock.sleep(pause)
        if self._shares_kernel:
            await asyncio.to_thread(bring_nics_up, self._context.boot)
        else:
            await self._role.show()  # first: until neighbours hear where it is now, they speak to the other one
        await self._make_true_again(document)
        self._apart = False
        log.info("took_over", faults=len(self._faults))
        return await self._report()

    async def _carry(self, body: TellConnections | TakeConnections) -> msgspec.Struct:
        """Tells the connections of this kernel, or takes those of another one."""
        from sysvm.agent import connections  # a start does not wait for what is seldom asked

        if self._teller is None:
            self._teller = connections.Teller()
        teller = self._teller
        try:
            if isinstance(body, TakeConnections):
                return await asyncio.to_thread(connections.take, body.told)
            return await asyncio.to_thread(teller.tell, body.which)
        except OSError as error:
            raise Refused(f"the kernel's table of connections: {error}") from error

    async def _report(self) -> AgentReport:
        live, ready = await self._standing()
        faults = await self._role.faults()
        return AgentReport(
            boot=self._nonce,
            live=live,
            faults=self._faults if faults is None or self._watches_only else faults,
            standby=not self._right.held,
            ready=ready,
            carries=await self._carries(),
            redundancy=self._role.redundancy(),
            services=self._role.services(),
            operations=self._ledger.operations(),
            counters=await self._role.counters(),
        )

    async def _standing(self) -> tuple[str, str]:
        """What is live, and what would be."""
        if self._watches_only:
            return "", self._ready
        live = await self._role.live()
        return live if self._right.held else "", live

    async def _hello(self) -> None:
        boot = self._context.boot
        live, ready = await self._standing()
        await self._context.line.notify(
            AgentHello(
                protocol=PROTOCOL,
                machine=boot.machine,
                incarnation=boot.incarnation,
                kind=boot.kind,
                version=self._version,
                boot=self._nonce,
                live=live,
                standby=not self._right.held,
                ready=ready,
                redundancy=self._role.redundancy(),
            )
        )

    # ------------------------------------------------------------ tasks
    def _run_task(self, call: RunTask) -> OperationSeen:
        entry = self._ledger.entry(call.name)
        if entry is not None:
            return entry.seen
        try:
            seen = self._ledger.begin(call.name, call.body)
        except OSError as error:
            raise Refused(f"the ledger of tasks cannot be written: {error}") from error
        self._start_task(call.name, call.body)
        return seen

    def _start_task(self, name: str, body: TaskBody) -> None:
        self._running[name] = self._children().start(self._task(name, body), f"task {name}")

    async def _task(self, name: str, body: TaskBody) -> None:
        error, result = "", None
        try:
            result = await self._outcome(name, body)
        except (Refused, NotYet, Unreachable, Broken, OSError) as failure:
            error = str(failure) or type(failure).__name__
        except Exception as bug:
            # A bug in one task must not end the agent, which would run the task again, for ever.
            log.exception("task_broke", task=name)
            error = f"a bug in the agent: {type(bug).__name__}: {bug}"
        self._running.pop(name, None)
        self._end_task(name, result, error)
        await self._tell(self._ledger.entry(name))

    async def _outcome(self, name: str, body: TaskBody) -> msgspec.Struct | None:
        """What any machine can do is done here, the rest by its role."""
        match body:
            case Diagnose():
                from sysvm.agent.diagnose import diagnose  # a start does not wait for what is seldom asked

                return await diagnose(body)
            case CollectFiles():
                from sysvm.agent.collecting import collect

                return await asyncio.to_thread(collect, body, self._context.paths.root)
            case _:
                return await self._role.run_task(name, body, self._progress(name))

    def _end_task(self, name: str, result: msgspec.Struct | None, error: str) -> None:
        try:
            self._ledger.end(name, result=result, error=error)
        except OSError as failure:
            # Not on disk: it stays "running" and a restarted agent runs it again, which finds it done.
            log.error("outcome_not_kept", task=name, why=str(failure))

    def _progress(self, name: str) -> Progress:
        told = self._context.clock.now()

        async def progress(part: float) -> None:
            nonlocal told
            self._ledger.move(name, part)
            if self._context.clock.now() - told >= _TELL_EVERY:
                told = self._context.clock.now()
                await self._tell(self._ledger.entry(name))

        return progress

    async def _tell(self, entry: Entry | None) -> None:
        if entry is not None:
            await self._context.line.notify(TaskReport(task=entry.seen))

    async def _forget_task(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))
        entry = self._ledger.entry(name)
        if entry is not None:
            if entry.seen.state is not OperationState.DONE:
                await self._role.forget_task(name, entry.body)
            self._ledger.forget(name)

    # ------------------------------------------------------------ the end
    async def _power_off(self) -> None:
        log.info("power_off_asked")
        await self._role.stop()
        poweroff = self._context.paths.poweroff
        try:
            # A session of its own: it stops this very service too.
            await asyncio.create_subprocess_exec(str(poweroff), start_new_session=True)
        except OSError as error:
            log.error("power_off_failed", why=str(error))


async def _hear_nothing(raw: msgspec.Raw) -> None:
    """A host sends no notices in this protocol version; a later one may."""
