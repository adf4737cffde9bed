"""Host tasks: named work on pools, started once, looked at later, forgotten when told.

The ledger is on disk: a task that was running when the agent died is started again, because every task may be repeated. A
finished one stays finished until it is forgotten, so that the asker can die as well.
"""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.errors import Broken, NotYet, Refused, Unreachable
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts.driver import Storage
from sysvm.hosts.system.durable import remove_durably, write_durably
from sysvm.wire.link import (
    FetchImage,
    FlattenSnapshot,
    HostTaskBody,
    HostTaskReport,
    RestoreVolume,
    SendSnapshot,
)
from sysvm.wire.machines import OperationSeen, OperationState

log = get_logger()
_RETRIES = 5
_STEP = 0.05  # progress that is worth a notice


class Entry(msgspec.Struct, kw_only=True):
    """A task in the ledger."""

    body: HostTaskBody
    seen: OperationSeen


class Work:
    """The tasks of a host. Without a folder they die with the process (simulation)."""

    def __init__(
        self,
        storage: Storage,
        tasks: Tasks,
        clock: Clock,
        notify: Callable[[HostTaskReport], None],
        folder: Path | None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._tasks = tasks
        self._notify = notify
        self._folder = folder
        self._entries: dict[str, Entry] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Starts again what was running when the agent died."""
        if self._folder is None or not self._folder.is_dir():
            return
        for file in self._folder.glob("[!.]*.json"):
            entry = msgspec.json.decode(file.read_bytes(), type=Entry)
            self._entries[entry.seen.name] = entry
            if entry.seen.state is OperationState.RUNNING:
                self._start(entry)

    def ensure(self, name: str, body: HostTaskBody) -> OperationSeen:
        """The task `name` runs or has run; how far it is. A failed one is not repeated before it is forgotten."""
        entry = self._entries.get(name)
        if entry is None:
            entry = Entry(body=body, seen=OperationSeen(name=name, state=OperationState.RUNNING))
            self._put(entry)
            self._start(entry)
        elif _what(entry.body) != _what(body):
            raise Refused(f"task {name} is about something else")
        return entry.seen

    async def forget(self, name: str) -> None:
        """It does not run and is in no ledger."""
        running = self._running.pop(name, None)
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        if self._entries.pop(name, None) is not None and self._folder is not None:
            remove_durably(self._file(name))

    def seen(self) -> tuple[OperationSeen, ...]:
        """All tasks of the ledger."""
        return tuple(entry.seen for entry in self._entries.values())

    def _start(self, entry: Entry) -> None:
        name = entry.seen.name
        self._running[name] = self._tasks.start(self._run(entry), f"host task {name}")

    async def _run(self, entry: Entry) -> None:
        name = entry.seen.name
        try:
            result = await self._perform(entry)
            encoded = None if result is None else msgspec.msgpack.encode(result)
            entry.seen = OperationSeen(name=name, state=OperationState.DONE, progress=1.0, result=encoded)
        except (Refused, Broken, Unreachable, OSError) as error:
            entry.seen = OperationSeen(name=name, state=OperationState.FAILED, error=str(error))
        log.info("host_task_ended", task=name, state=entry.seen.state, error=entry.seen.error)
        self._running.pop(name, None)
        self._put(entry)
        self._notify(HostTaskReport(task=entry.seen))

    async def _perform(self, entry: Entry) -> msgspec.Struct | None:
        def progress(part: float) -> None:
            if part - entry.seen.progress >= _STEP:
                entry.seen = msgspec.structs.replace(entry.seen, progress=part)
                self._notify(HostTaskReport(task=entry.seen))

        for _ in range(_RETRIES):
            try:
                return await self._storage.perform(entry.body, progress)
            except NotYet as error:
                log.info("host_task_put_off", task=entry.seen.name, why=error.why)
                await self._clock.sleep(error.after)
        return await self._last_try(entry, progress)

    async def _last_try(self, entry: Entry, progress: Callable[[float], None]) -> msgspec.Struct | None:
        try:
            return await self._storage.perform(entry.body, progress)
        except NotYet as error:
            raise Broken(error.why) from error

    def _put(self, entry: Entry) -> None:
        self._entries[entry.seen.name] = entry
        if self._folder is not None:
            write_durably(self._file(entry.seen.name), msgspec.json.encode(entry))

    def _file(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _what(body: HostTaskBody) -> HostTaskBody:
    """The work without how to get at stores: that is another one at each asking (a new ticket, another server)."""
    match body:
        case FetchImage():
            return _source(body)
        case RestoreVolume() | FlattenSnapshot():
            return msgspec.structs.replace(body, chain=tuple(_source(one) for one in body.chain))
        case SendSnapshot():
            return msgspec.structs.replace(body, ticket="", address="", port=0, store="", ca="")
        case _:
            return body


def _source(one: FetchImage) -> FetchImage:
    return msgspec.structs.replace(one, ticket="", address="", port=0, store="", image="", ca="")
