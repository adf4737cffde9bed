"""The tasks of this machine, on disk: a name is run once, and its outcome is there until it is forgotten.

Of what has ended only the newest MOST_ENDED are kept: nobody forgets downloads that are done, and asks for them again soon if at
all. Written before the work begins and when it ends, never for progress. Tasks that were running when the agent died come back
as running, with their bodies, and the core starts them again. The file is sealed: URLs in bodies may carry secrets.
"""

from pathlib import Path

import msgspec

from sysvm.agent.seal import Seal, Tampered, write_whole
from sysvm.basics.log import get_logger
from sysvm.wire.channel import TaskBody
from sysvm.wire.machines import OperationSeen, OperationState

MOST_ENDED = 500

log = get_logger()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A task and how far it is."""

    body: TaskBody
    seen: OperationSeen


class Ledger:
    """Tasks by name."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self._path = path
        self._seal = seal
        self._entries = self._read()

    def entry(self, name: str) -> Entry | None:
        """The task of that name, or None."""
        return self._entries.get(name)

    def operations(self) -> tuple[OperationSeen, ...]:
        """All tasks, oldest first."""
        return tuple(entry.seen for entry in self._entries.values())

    def unfinished(self) -> tuple[tuple[str, TaskBody], ...]:
        """Names and bodies of tasks that have no outcome."""
        running = OperationState.RUNNING
        return tuple((name, entry.body) for name, entry in self._entries.items() if entry.seen.state is running)

    def begin(self, name: str, body: TaskBody) -> OperationSeen:
        """A new task, on disk. Raises OSError when it cannot be written: then it must not run."""
        seen = OperationSeen(name=name, state=OperationState.RUNNING)
        running = OperationState.RUNNING
        ended = [one for one, entry in self._entries.items() if entry.seen.state is not running]
        old = set(ended[:-MOST_ENDED])
        kept = {one: entry for one, entry in self._entries.items() if one not in old}
        self._write({**kept, name: Entry(body=body, seen=seen)})
        return seen

    def move(self, name: str, progress: float) -> OperationSeen | None:
        """Progress of a running task, in memory only; None when it is no longer there."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        seen = msgspec.structs.replace(entry.seen, progress=progress)
        self._entries[name] = Entry(body=entry.body, seen=seen)
        return seen

    def end(self, name: str, *, result: msgspec.Struct | None = None, error: str = "") -> OperationSeen | None:
        """The outcome of a task, on disk; None when it was forgotten meanwhile."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        state = OperationState.FAILED if error else OperationState.DONE
        raw = None if result is None else msgspec.msgpack.encode(result)
        progress = entry.seen.progress if error else 1.0
        seen = OperationSeen(name=name, state=state, progress=progress, result=raw, error=error)
        self._write({**self._entries, name: Entry(body=entry.body, seen=seen)})
        return seen

    def forget(self, name: str) -> Entry | None:
        """Drops a task; gives what it was."""
        entry = self._entries.get(name)
        if entry is not None:
            self._write({key: value for key, value in self._entries.items() if key != name})
        return entry

    def _write(self, entries: dict[str, Entry]) -> None:
        write_whole(self._path, self._seal.close(msgspec.msgpack.encode(entries), "ledger"))
        self._entries = entries

    def _read(self) -> dict[str, Entry]:
        try:
            plain = self._seal.open(self._path.read_bytes(), "ledger")
            return msgspec.msgpack.decode(plain, type=dict[str, Entry])
        except FileNotFoundError:
            return {}
        except (OSError, Tampered, msgspec.DecodeError) as error:
            log.error("ledger_refused", why=str(error))
            return {}
