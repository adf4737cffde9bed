"""Asking a program something to which "no" is an answer. Where failure is failure, use `programs.run`.

A program whose asker is cancelled is killed and reaped.
"""

import asyncio
import os
from dataclasses import dataclass

from sysvm.hosts.driver import DriverUnavailable


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """What it complained about."""
        return (self.err or self.out).strip()[-400:]


async def attempt(*words: str, stdin: str | None = None, seconds: float = 60.0) -> Outcome:
    """Runs a program to its end; raises DriverUnavailable when it cannot be run or does not end."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise DriverUnavailable(f"{words[0]} is not installed on this host") from None
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError:
        raise DriverUnavailable(f"{words[0]} did not end within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
