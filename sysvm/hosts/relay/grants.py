"""Each console grant works once. What has been shown is remembered until it would have expired anyway.

The memory is a file of lines, so that a relay that was killed does not take a grant a second time; it is written before
the grant is honoured, and rewritten without its dead lines when a relay starts. A power cut may lose the last
lines, and with them the machines whose screens they opened.
"""

import hashlib
from pathlib import Path

from sysvm.wire.grants import BadGrant, Grant, check_grant

_MAX_LINES = 10_000


class UsedGrants:
    """The grants that are spent."""

    def __init__(self, file: Path, now: float) -> None:
        self._path = file
        self._expires = _read(file)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._rewrite(now)

    def redeem(self, public_key: str, text: str, now: float) -> Grant:
        """The grant in `text`, which is spent by this. Raises BadGrant."""
        grant = check_grant(public_key, text, now)
        # What was signed, decoded: base64 has more than one spelling of the same bytes.
        key = hashlib.sha256(repr(grant).encode()).hexdigest()
        if key in self._expires:
            raise BadGrant("it has been used already")
        if self._lines >= _MAX_LINES:
            self._file.close()
            self._rewrite(now)
        self._file.write(_line(key, grant.expires))
        self._lines += 1
        self._expires[key] = grant.expires
        return grant

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _rewrite(self, now: float) -> None:
        self._expires = {key: until for key, until in self._expires.items() if until > now}
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text("".join(_line(key, until) for key, until in self._expires.items()))
        fresh.rename(self._path)
        self._file = self._path.open("a", buffering=1)
        self._lines = 0


def _line(key: str, until: float) -> str:
    return f"{until!r} {key}\n"


def _read(file: Path) -> dict[str, float]:
    """Whole lines only: the last one may have been cut by a kill."""
    if not file.exists():
        return {}
    words = (line.split() for line in file.read_text().splitlines(keepends=True) if line.endswith("\n"))
    return {pair[1]: float(pair[0]) for pair in words if len(pair) == 2}
