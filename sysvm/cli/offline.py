"""A cloud's database for a command that is no server: opened, brought to this release, its key checked, closed again."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused, Why
from sysvm.store import schema, seed
from sysvm.store.secrets import Vault, open_vault
from sysvm.store.store import PostgresStore, SqliteStore, Store, Tx, lock_state_folder

T = TypeVar("T")


def need_database(state: Path) -> None:
    """Raises Refused where there is no SQLite database."""
    if not (state / "sysvm.db").exists():
        raise Refused(f"there is no database in {state}")


@contextmanager
def alone(state: Path, instead: str) -> Iterator[None]:
    """No server runs on this state folder meanwhile. Raises Refused, with what to do `instead`."""
    try:
        lock = lock_state_folder(state)
    except BlockingIOError:
        raise Refused(f"a server runs on {state}; {instead}", Why.IN_USE) from None
    try:
        yield
    finally:
        os.close(lock)


def in_store(state: Path, database: str, op: Callable[[Tx, Vault], T]) -> T:
    """What `op` makes of it, in one transaction; `database` names a PostgreSQL, or it is the state folder's."""
    return asyncio.run(_in_store(state, database, op))


async def _in_store(state: Path, database: str, op: Callable[[Tx, Vault], T]) -> T:
    clock = SystemClock()
    store: Store = PostgresStore(database, clock) if database else SqliteStore(state / "sysvm.db", clock)
    try:
        await schema.ensure(store)
        vault = open_vault(state)
        await store.read(lambda tx: seed.check_key(tx, vault))
        return await store.run(lambda tx: op(tx, vault))
    finally:
        await store.close()
