"""Secrets at rest: sealed with a key that is not in the database.

AES-256-GCM; what is sealed is text like `1:<base64>`, so that a later key can be told from this one. The key is a file of
the state folder with mode 0600; whoever has the database alone reads no secret. Losing the file loses the secrets:
`check` tells a wrong key at start instead of at the first use.
"""

import base64
import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = "1"
KEY_FILE = "secret.key"


class WrongKey(Exception):
    """The key does not open what was sealed: it is another cloud's, or the text was changed."""


class Vault:
    """Seals and opens short texts."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise WrongKey(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._opened = lru_cache(maxsize=4096)(self._open)  # a user's secret key is opened for each of his requests

    def seal(self, text: str) -> str:
        """Unreadable without the key; different each time."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), VERSION.encode())
        return f"{VERSION}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str) -> str:
        """The text that was sealed; raises WrongKey."""
        return self._opened(sealed)

    def _open(self, sealed: str) -> str:
        version, _, encoded = sealed.partition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], version.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise WrongKey("a secret was sealed with another key") from error


def new_key() -> bytes:
    """A key that nobody knows."""
    return os.urandom(KEY_BYTES)


def open_vault(state: Path) -> Vault:
    """The vault of a state folder; its key file is made when there is none."""
    path = state / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return Vault(base64.b64decode(path.read_text()))
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(new_key()).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return Vault(base64.b64decode(path.read_text()))
