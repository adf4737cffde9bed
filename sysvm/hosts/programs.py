"""Running a program of the host to its end.

Each has a deadline; a program that outlives it, or whose caller is cancelled, is killed and reaped. A failure is NotYet with
the program's last words: on a host nearly all of them pass (a full disk, a lock, a missing kernel object), and what does
not is seen by its repetition.
"""

import asyncio
import os
import subprocess

from sysvm.basics.errors import NotYet, Refused, Why

_TAIL = 400


async def run(*words: str, seconds: float = 600.0, retry: float = 10.0, stdin: bytes | None = None) -> str:
    """The standard output of a program."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise Refused(f"{words[0]} is not installed on this host", Why.UNAVAILABLE) from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError as error:
        raise NotYet(retry, f"{words[0]} did not end within {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise NotYet(retry, f"{words[0]}: {(err or out).decode(errors='replace').strip()[-_TAIL:]}")
    return out.decode(errors="replace")


async def launch(*words: str, seconds: float) -> None:
    """Runs a program that ends and leaves a daemon behind.

    uvloop lets a child have its own ends of the pipes twice, and a daemon keeps the second for ever: who reads the pipe then
    never sees its end. Python's own way of starting a child closes them.
    """
    try:
        done = await asyncio.to_thread(
            subprocess.run, words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except FileNotFoundError as error:
        raise Refused(f"{words[0]} is not installed on this host", Why.UNAVAILABLE) from error
    except subprocess.TimeoutExpired as error:
        raise NotYet(10.0, f"{words[0]} did not end within {seconds:g} s") from error
    if done.returncode:
        raise NotYet(10.0, f"{words[0]}: {(done.stderr or done.stdout).decode(errors='replace').strip()[-_TAIL:]}")
