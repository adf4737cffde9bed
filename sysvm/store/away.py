"""A database that goes away and comes back: who waits for it, and who is told at once.

A short absence (a restart) is waited out by everybody and seen by nobody. When it lasts longer than PATIENCE_S, callers get
DatabaseAway: then one of them at a time finds out whether it is back, and the others are told at once, so that a
database that swallows packets does not bind every thread for the length of its timeouts.

Not here: what a caller does then. The engine and those who hear hosts try again, the API says so to its client.

Races thought of: threads see the end of an absence a moment apart; each is told once more at worst.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from sysvm.basics.errors import DatabaseAway

PATIENCE_S = 3.0
PAUSE_S = 0.2
LONGEST_S = 30.0  # for anything that is asked of the database, waiting for a free connection included
# What libpq is told unless the URL says something else. A server that stands still in the middle of a transaction must not
# hold its locks for ever, and a database machine that vanished without a word must be noticed.
CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=5000",
}
# It ends or starts, cut the connection, or has become the standby of another one.
AWAY_STATES = ("57P", "08", "25P03", "25006")
_SQLITE_FAULTS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})


class Absence:
    """Whether the database is away, and for how long. Of all threads of a store."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._asking = threading.Lock()
        self._why = ""

    @contextmanager
    def ask(self) -> Iterator[None]:
        """One try. Raises DatabaseAway while somebody else finds out about a database that has long been away."""
        if not self._is_long():
            yield
        elif self._asking.acquire(blocking=False):
            try:
                yield
            finally:
                self._asking.release()
        else:
            raise DatabaseAway(self._why)

    def met(self, why: str) -> None:
        """A try found no database. Raises DatabaseAway when that goes on for too long."""
        self._why = f"the database cannot be used: {why}"
        if self._since is None:
            self._since = time.monotonic()
        if self._is_long():
            raise DatabaseAway(self._why)

    def ended(self) -> None:
        """A try found it."""
        self._since = None

    def _is_long(self) -> bool:
        since = self._since
        return since is not None and time.monotonic() - since > PATIENCE_S


def connection_options(url: str) -> dict[str, Any]:
    """How to connect to this PostgreSQL: its URL has the last word."""
    given = sa.make_url(url).query
    return {name: value for name, value in CONNECTION.items() if name not in given}


def is_away(error: DBAPIError) -> bool:
    """Whether there was no PostgreSQL to ask, or none that takes writes."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state.startswith(AWAY_STATES) or (isinstance(error, OperationalError) and not state)


def sqlite_fault(error: Exception) -> DatabaseAway | None:
    """What is wrong with the file of SQLite, if that is what this error says: a full disk, somebody else's lock."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _SQLITE_FAULTS:
        return None
    return DatabaseAway(f"the database cannot be used: {origin}")
