"""Running a program of the host to its end.

Each has a deadline; a program that outlives it, or whose caller is cancelled, is killed and reaped. A failure is NotYet with
the program's last words: on a host nearly all of them pass (a full disk, a lock, a missing kernel object), and what does
not is seen by its repetition.

Started by Python's own `subprocess`, which shares this process's memory with the child until that has become the program
(vfork); uvloop copies it, and ten times as much time goes into that as into most programs. What a program says goes
into memory and not through a pipe: its end is awaited, and a daemon that it leaves behind keeps nobody waiting.
"""

import asyncio
import os
import subprocess
from dataclasses import dataclass

from sysvm.basics.errors import NotYet, Refused, Why

_TAIL = 400


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """What it complained about."""
        return (self.err or self.out).strip()[-_TAIL:]


async def run(*words: str, seconds: float = 600.0, retry: float = 10.0, stdin: bytes | None = None) -> str:
    """The standard output of a program."""
    try:
        ended = await finish(*words, seconds=seconds, stdin=stdin)
    except FileNotFoundError as error:
        raise Refused(f"{words[0]} is not installed on this host", Why.UNAVAILABLE) from error
    except TimeoutError as error:
        raise NotYet(retry, f"{words[0]} did not end within {seconds:g} s") from error
    if ended.code:
        raise NotYet(retry, f"{words[0]}: {ended.last_words}")
    return ended.out


async def finish(*words: str, seconds: float, stdin: bytes | None = None) -> Ended:
    """Runs a program, whatever it says in the end. Raises FileNotFoundError, or TimeoutError when it had to be killed."""
    said, out, err = _memory(stdin or b""), _memory(), _memory()
    try:
        process = _started(words, said, out, err)
        try:
            async with asyncio.timeout(seconds):
                await _end_of(process.pid)
        finally:
            if process.poll() is None:
                process.kill()
                await _end_of(process.pid)
                process.wait()
        return Ended(process.returncode, _text(out), _text(err))
    finally:
        for handle in (said, out, err):
            os.close(handle)


def _started(words: tuple[str, ...], said: int, out: int, err: int) -> subprocess.Popen[bytes]:
    """Returns when the child has become the program: within a millisecond."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.Popen(words, stdin=said, stdout=out, stderr=err, env=environment)


def _memory(content: bytes = b"") -> int:
    """A file that is nowhere, to be read from its beginning."""
    handle = os.memfd_create("said", os.MFD_CLOEXEC)
    if content:
        os.pwrite(handle, content, 0)
    return handle


def _text(handle: int) -> str:
    return os.pread(handle, os.fstat(handle).st_size, 0).decode(errors="replace")


async def _end_of(pid: int) -> None:
    """Waits until the process has ended; it is not yet reaped then."""
    loop, handle = asyncio.get_running_loop(), os.pidfd_open(pid)
    over = asyncio.Event()
    loop.add_reader(handle, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
