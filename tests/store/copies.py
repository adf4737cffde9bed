"""Databases in memory that start as copies: all migrations take half a second, and thousands of tests want an empty one.

store = copied(empty_database(), clock)
whole = contents(store)                       # as it is now, for another copy
"""

import functools
import sqlite3

from sysvm.basics.clock import Clock, VirtualClock
from sysvm.store import schema
from sysvm.store.store import SqliteStore


def driver(store: SqliteStore) -> sqlite3.Connection:
    """The database itself."""
    connection = store._writing.connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


def contents(store: SqliteStore) -> bytes:
    """The whole database as it is now."""
    return driver(store).serialize()


def copied(database: bytes, clock: Clock) -> SqliteStore:
    """A store of its own with these contents."""
    store = SqliteStore(None, clock, inline=True)
    driver(store).deserialize(database)
    return store


@functools.cache
def empty_database() -> bytes:
    """All tables of this release, migrated once."""
    store = SqliteStore(None, VirtualClock(), inline=True)
    schema.upgrade(store)
    database = contents(store)
    store.engine.dispose()
    return database
