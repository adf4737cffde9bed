"""Is a request signed with this secret? Pure.

Clients differ in small ways: the order of parameters (names as sent, or in lower case), and which of `~`, `[`, `]` and
`*` they encode. A request is good when any of these variants matches; all of them sign the same content.
"""

import base64
import binascii
import hashlib
import hmac
import itertools
from collections.abc import Iterator, Mapping
from urllib.parse import quote

SIGNATURE = "signature"
VERSIONED = "3"  # signatureVersion that needs `expires`
JAVA_SAFE = "*-._"  # what Java's form encoder leaves literal; quote() always leaves ~ literal


def verify(params: Mapping[str, str], signature: str, secret: str) -> bool:
    """Whether `signature` is one of `params` (decoded, names as received) under `secret`."""
    try:
        given = base64.b64decode(signature.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError):
        return False
    key = secret.encode()
    return any(hmac.compare_digest(given, hmac.digest(key, text, hashlib.sha1)) for text in signed_texts(params))


def signed_texts(params: Mapping[str, str]) -> Iterator[bytes]:
    """What clients may have signed, the usual form first."""
    usual = _join(params, by_lower=False)
    seen: set[str] = set()
    for by_lower in (False, True):
        base = _join(params, by_lower=by_lower) if by_lower else usual
        for text in _variants(base):
            if text not in seen:
                seen.add(text)
                yield text.encode()


def _join(params: Mapping[str, str], *, by_lower: bool) -> str:
    """Sorted, values encoded as Java does but for `~`, lower-cased."""
    names = [name for name in params if name.lower() != SIGNATURE]
    names.sort(key=str.lower if by_lower else None)
    return "&".join(f"{name}={quote(params[name], safe=JAVA_SAFE)}" for name in names).lower()


CHOICES = (("~", "%7e"), ("%5b", "["), ("%5d", "]"), ("*", "%2a"))


def _variants(base: str) -> Iterator[str]:
    """`base` with every choice of literal or encoded characters that occur in it."""
    occurring = [choice for choice in CHOICES if choice[0] in base]
    # [ and ] go together: no client encodes only one of them
    brackets = [choice for choice in occurring if choice[0].startswith("%5")]
    others = [choice for choice in occurring if not choice[0].startswith("%5")]
    groups = [[other] for other in others] + ([brackets] if brackets else [])
    for chosen in itertools.product((False, True), repeat=len(groups)):
        text = base
        for group, replace in zip(groups, chosen, strict=True):
            if replace:
                for before, after in group:
                    text = text.replace(before, after)
        yield text
