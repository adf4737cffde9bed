"""Random identifiers come in through the door, so that a simulation can replay them from a seed."""

import base64
import random
import secrets
from typing import Protocol


class Ids(Protocol):
    """Where identifiers and secrets come from."""

    def uuid(self) -> str:
        """A new UUID in its usual text form."""
        ...

    def token(self, size: int = 32) -> str:
        """`size` random bytes as URL-safe base64 without padding."""
        ...

    def number(self, below: int) -> int:
        """A number from 0 up to, not including, `below`."""
        ...


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def text_of(digits: str) -> str:
    """32 random hex digits as a version 4 UUID (the class of the standard library takes five times as long)."""
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class SystemIds:
    """Identifiers from the operating system's random source."""

    def uuid(self) -> str:
        """A random (version 4) UUID, RFC 9562."""
        return text_of(secrets.token_hex(16))

    def token(self, size: int = 32) -> str:
        """`size` unpredictable bytes as text."""
        return _text(secrets.token_bytes(size))

    def number(self, below: int) -> int:
        """An unpredictable number."""
        return secrets.randbelow(below)


class SeededIds:
    """Identifiers that a seed determines; for simulation and tests only."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        """The next UUID of this seed."""
        return text_of(f"{self._random.getrandbits(128):032x}")

    def token(self, size: int = 32) -> str:
        """The next `size` bytes of this seed as text."""
        return _text(self._random.randbytes(size))

    def number(self, below: int) -> int:
        """The next number of this seed."""
        return self._random.randrange(below)
