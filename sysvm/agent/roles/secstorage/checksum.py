"""The checksum that a user promises: `{SHA-256}hex` as CloudStack writes it, or bare hex whose length tells. Pure."""

import re
from dataclasses import dataclass

from sysvm.basics.errors import Refused

LENGTHS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
NAMES = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA1": "sha1",
    "SHA-256": "sha256",
    "SHA256": "sha256",
    "SHA-512": "sha512",
    "SHA512": "sha512",
}
_FORM = re.compile(r"(?:\{(?P<name>[A-Za-z0-9-]+)\})?(?P<hex>[0-9A-Fa-f]+)")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes must give. `algorithm` is hashlib's name."""

    algorithm: str
    hex: str


def parse_checksum(text: str) -> Checksum | None:
    """The promise in `text`; None when nothing is promised."""
    if not text:
        return None
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise Refused("the checksum is neither hex digits nor {ALGORITHM}hex")
    found = form["hex"].lower()
    by_length = LENGTHS.get(len(found))
    if form["name"] is None:
        if by_length is None:
            raise Refused(f"no checksum has {len(found)} hex digits: MD5 has 32, SHA-1 40, SHA-256 64, SHA-512 128")
        return Checksum(by_length, found)
    named = NAMES.get(form["name"].upper())
    if named is None:
        raise Refused(f"checksums are MD5, SHA-1, SHA-256 or SHA-512, not {form['name'][:20]!r}")
    if named != by_length:
        raise Refused(f"a {form['name']} checksum has not {len(found)} hex digits")
    return Checksum(named, found)
