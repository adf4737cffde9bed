"""`sysvm recover`: after a database was restored from a backup, its cloud begins a new epoch.

It must run while no server does: on SQLite the lock of the state folder sees to that. Servers that are started afterwards
adopt what runs on the hosts before they change anything there (store/queries/strays).
"""

import asyncio
import os
from pathlib import Path

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused, Why
from sysvm.store import schema, seed
from sysvm.store.queries import strays
from sysvm.store.secrets import open_vault
from sysvm.store.store import PostgresStore, SqliteStore, Store, Tx, lock_state_folder


def run(state: Path, database: str = "") -> int:
    """The new epoch. Raises Refused."""
    if not database and not (state / "sysvm.db").exists():
        raise Refused(f"there is no database in {state}")
    try:
        lock = lock_state_folder(state)
    except BlockingIOError:
        raise Refused(f"a server runs on {state}; stop it first", Why.IN_USE) from None
    try:
        return asyncio.run(_recover(state, database))
    finally:
        os.close(lock)


async def _recover(state: Path, database: str) -> int:
    clock = SystemClock()
    store: Store = PostgresStore(database, clock) if database else SqliteStore(state / "sysvm.db", clock)
    try:
        await schema.ensure(store)
        vault = open_vault(state)
        await store.read(lambda tx: seed.check_key(tx, vault))
        return await store.run(lambda tx: _checked(tx, shared=bool(database)))
    finally:
        await store.close()


def _checked(tx: Tx, *, shared: bool) -> int:
    if not seed.is_sown(tx):
        raise Refused("the database is empty: there is no cloud to recover")
    alive = tx.sql("select server_name from session where until > :now", now=tx.now)
    if alive and shared:
        raise Refused(f"server {alive[0][0]} still runs on this database; stop it first", Why.IN_USE)
    return strays.recover(tx)
