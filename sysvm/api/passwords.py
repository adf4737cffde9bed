"""Passwords: argon2id, off the event loop, and never more at once than `lanes` (each hash takes 64 MB and 100 ms).

Somebody who guesses passwords therefore waits in a line, and the API goes on answering.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sysvm.basics.errors import Refused, Why

T = TypeVar("T")
MOST_WAITING = 64


class Passwords:
    """Hashes and compares."""

    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65536, lanes: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(lanes, "argon2")
        self._waiting = 0
        self._nobody = self._hasher.hash("nobody")

    def hash_now(self, password: str) -> str:
        """The hash, made in the caller's thread (at start, in tests)."""
        return self._hasher.hash(password)

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether it is the password. For an unknown user it takes as long and is False."""
        known = bool(stored)
        return await self._run(lambda: self._verify(stored or self._nobody, password)) and known

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Refused("Too many logins at once; try again in a few seconds", Why.BUSY)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """No thread is left."""
        self._threads.shutdown()
