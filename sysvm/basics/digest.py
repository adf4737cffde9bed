"""The identity of a document: SHA-256 over its canonical JSON (sorted keys), as hex."""

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def digest(value: Any) -> str:
    """64 hex digits; equal for equal values, whatever the order of their maps."""
    import hashlib  # after an agent has said which of its parts it does without

    return hashlib.sha256(_encoder.encode(value)).hexdigest()


def short_name(prefix: str, *parts: object) -> str:
    """A stable interface name of at most 15 characters (IFNAMSIZ) made from `parts`."""
    import hashlib

    tail = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return f"{prefix}{tail[: 15 - len(prefix)]}"
