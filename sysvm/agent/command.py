"""Runs a program to its end, within a time, and gives what it said. Blocking: callers are on a thread of their own."""

import os
import subprocess

import msgspec

SECONDS = 30.0


class CommandFailed(Exception):
    """A program did not do what it was asked."""

    def __init__(self, program: str, why: str) -> None:
        super().__init__(f"{program}: {why}")
        self.program = program
        self.why = why


class Finished(msgspec.Struct, frozen=True):
    """How a program ended."""

    code: int
    out: str
    err: str


def finish(*argv: str, said: str = "", seconds: float = SECONDS) -> Finished:
    """Runs `argv` with `said` on its standard input. Raises CommandFailed when it is missing or takes too long."""
    environment = {**os.environ, "LC_ALL": "C"}
    environment.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        done = subprocess.run(
            argv, input=said, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment
        )
    except FileNotFoundError:
        raise CommandFailed(argv[0], "is not installed") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(argv[0], f"did not end within {seconds:g} s") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def run(*argv: str, said: str = "", seconds: float = SECONDS) -> str:
    """Standard output of `argv`. Raises CommandFailed with its words when it ends with an error."""
    done = finish(*argv, said=said, seconds=seconds)
    if done.code != 0:
        words = (done.err or done.out).strip()
        raise CommandFailed(argv[0], words[-2000:] or f"ended with {done.code}")
    return done.out
