"""Asking QEMU about disks, in its own words (QMP): a running guest's QEMU, or a storage daemon for a volume that nobody uses.

`Line.ask` is one question and its answer. The storage daemon is a child that does not outlive this process: it holds the
volume's lock, and a guest could not start beside it. What it was about when it was killed is lost, and said so by QEMU: the
bitmaps of a volume that was not closed well are inconsistent, and nobody relies on them.

Not here: which questions make a snapshot (snapshots.py), how a guest's QEMU is reached (kvm/lines.py).
"""

import asyncio
import json
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.hosts.storage import owners

DAEMON = "qemu-storage-daemon"
_ANSWER_S = 60.0
_LINE_BYTES = 16 * 1024 * 1024


class Fault(NotYet):
    """QEMU says no. On a host that passes, or is seen by its repetition."""


class Line(Protocol):
    """A QEMU that has a volume open."""

    node: str  # the volume's name there

    async def ask(self, command: str, **arguments: Any) -> Any:
        """The answer. Raises Fault when it is an error, NotYet when there is none."""
        ...

    async def freeze(self) -> bool:
        """File systems are still from now on; False where nobody inside can do that."""
        ...

    async def thaw(self) -> None:
        """They may move again."""
        ...


class Lines(Protocol):
    """Finds the QEMU that a volume is open in."""

    async def line_to(self, volume: Path) -> Line | None:
        """The running guest's; None when no guest uses the volume."""
        ...


def read_answer(answer: dict[str, Any], command: str) -> Any:
    """What was answered to `command`. Raises Fault."""
    if "error" in answer:
        raise Fault(5, f"{command}: {answer['error'].get('desc', answer['error'])}")
    return answer.get("return")


class _Daemon:
    """The line to a storage daemon."""

    node = "volume"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, command: str, **arguments: Any) -> Any:
        """See Line."""
        words = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._writer.write(json.dumps(words).encode() + b"\n")
                await self._writer.drain()
                while "event" in (answer := await self._read()):
                    pass
        except (TimeoutError, OSError) as error:
            raise NotYet(5, f"{DAEMON} does not answer: {error or 'in time'}") from error
        return read_answer(answer, command)

    async def freeze(self) -> bool:
        """See Line: nobody is inside."""
        return False

    async def thaw(self) -> None:
        """See Line."""

    async def greet(self) -> None:
        """The first words of both."""
        await self._read()
        await self.ask("qmp_capabilities")

    async def _read(self) -> dict[str, Any]:
        line = await self._reader.readline()
        if not line:
            raise OSError("it has ended")
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def storage_daemon(volume: Path) -> AsyncIterator[Line]:
    """A storage daemon that has the volume open, closed well in the end. NotYet while somebody else has it open."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as said:
        try:
            process = _start(volume, theirs, said)
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        try:
            yield await _opened(_Daemon(reader, writer), said)
            writer.write(b'{"execute": "quit"}\n')
            async with asyncio.timeout(_ANSWER_S):
                await asyncio.to_thread(process.wait)
        finally:
            writer.close()
            process.kill()
            await asyncio.to_thread(process.wait)


def _start(volume: Path, line: socket.socket, said: IO[bytes]) -> "subprocess.Popen[bytes]":
    block = {"driver": "qcow2", "node-name": _Daemon.node, "discard": "unmap", "file": _file(volume)}
    words = ["setpriv", "--pdeathsig", "KILL", *owners.acting_as(volume)]
    words += [DAEMON, "--chardev", f"socket,id=line,fd={line.fileno()}"]
    words += ["--monitor", "line", "--blockdev", json.dumps(block)]
    try:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=(line.fileno(),))
    except FileNotFoundError as error:
        raise Refused(f"{error.filename} is not installed on this host", Why.UNAVAILABLE) from error


async def _opened(line: _Daemon, said: IO[bytes]) -> _Daemon:
    """Somebody else's lock on the volume, or a broken volume, ends the daemon at once."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            await line.greet()
    except (OSError, NotYet) as error:
        said.seek(0)
        raise NotYet(2, f"{DAEMON}: {said.read().decode(errors='replace').strip()[-400:] or error}") from error
    return line


def _file(path: Path) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}


def new_file(path: Path, node: str) -> dict[str, Any]:
    """What blockdev-add is told of a qcow2 file that is to be written."""
    return {"driver": "qcow2", "node-name": node, "discard": "unmap", "file": _file(path)}


_DRIVERS = {".vhd": "vpc", ".raw": "raw"}  # of what was uploaded; everything of ours is qcow2


def chain(files: list[Path]) -> str:
    """A file name for qemu-img that reads the whole file with what has changed since laid over it, in order."""
    found: dict[str, Any] = {}
    for file in files:
        driver = _DRIVERS.get(file.suffix, "qcow2")
        found = {"driver": driver, "file": _file(file), **({"backing": found or None} if driver == "qcow2" else {})}
    return f"json:{json.dumps(found)}"
