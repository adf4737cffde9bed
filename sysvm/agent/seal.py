"""What lies on the state disk is sealed: readable and changeable only with the key that the host hands over at boot.

Encrypt-then-MAC with the standard library only (the template's router carries no cryptography package):

    sealed = "SVS1" | nonce (16) | ciphertext | tag (32)
    keys       = HMAC-SHA256(key, "sysvm seal encrypt" / "sysvm seal authenticate")
    keystream  = SHAKE-256(encryption key | nonce), as long as the text
    tag        = HMAC-SHA256(authentication key, purpose | 0 | nonce | ciphertext)

`purpose` (the file's role) is authenticated, so that one sealed file does not pass as another. A nonce is random and used
once. It does not protect against an older copy of the same file being put back: a rolled-back document is corrected by the
server as soon as there is one. SHAKE-256 is a sponge: with a secret prefix of fixed length its output is a keystream that
nobody can tell from random without the key, in one call (HMAC in counter mode took 0.2 s for 10,000 rules).
"""

import hashlib
import hmac
import os
from pathlib import Path

MAGIC = b"SVS1"
_NONCE = 16
_TAG = 32


class Tampered(Exception):
    """These bytes were not sealed with this key for this purpose."""


class Seal:
    """Seals and opens bytes with one machine's key."""

    def __init__(self, key: str) -> None:
        master = key.encode()
        self._encryption = hmac.digest(master, b"sysvm seal encrypt", "sha256")
        self._authentication = hmac.digest(master, b"sysvm seal authenticate", "sha256")

    def close(self, plain: bytes, purpose: str) -> bytes:
        """`plain`, sealed."""
        nonce = os.urandom(_NONCE)
        hidden = self._mixed(plain, nonce)
        return MAGIC + nonce + hidden + self._tag(nonce, hidden, purpose)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What `close` was given. Raises Tampered."""
        if len(sealed) < len(MAGIC) + _NONCE + _TAG or not sealed.startswith(MAGIC):
            raise Tampered("this is no sealed file")
        nonce, hidden, tag = sealed[4 : 4 + _NONCE], sealed[4 + _NONCE : -_TAG], sealed[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(nonce, hidden, purpose)):
            raise Tampered("the seal is broken: changed, cut off, or sealed with another key")
        return self._mixed(hidden, nonce)

    def mark(self, *parts: str) -> str:
        """A keyed fingerprint of `parts`; says nothing about them without the key."""
        return hmac.digest(self._authentication, "\0".join(("mark", *parts)).encode(), "sha256").hex()

    def _tag(self, nonce: bytes, hidden: bytes, purpose: str) -> bytes:
        return hmac.digest(self._authentication, purpose.encode() + b"\0" + nonce + hidden, "sha256")

    def _mixed(self, data: bytes, nonce: bytes) -> bytes:
        stream = hashlib.shake_256(self._encryption + nonce).digest(len(data))
        size = len(data)
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """The file holds `data` or what it held before, also after a power cut; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with open(new, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
