"""Asking a program something to which "no" is an answer. Where failure is failure, use `programs.run`.

A program whose asker is cancelled is killed and reaped.
"""

from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.system.programs import Ended, finish


async def attempt(*words: str, stdin: str | None = None, seconds: float = 60.0) -> Ended:
    """Runs a program to its end; raises DriverUnavailable when it cannot be run or does not end."""
    try:
        return await finish(*words, seconds=seconds, stdin=None if stdin is None else stdin.encode())
    except FileNotFoundError:
        raise DriverUnavailable(f"{words[0]} is not installed on this host") from None
    except TimeoutError:
        raise DriverUnavailable(f"{words[0]} did not end within {seconds:g} s") from None
