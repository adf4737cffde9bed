"""`sysvm recover`: after a database was restored from a backup, its cloud begins a new epoch.

It must run while no server does: on SQLite the lock of the state folder sees to that. Servers that are started afterwards
adopt what runs on the hosts before they change anything there (store/queries/strays).
"""

from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.cli import offline
from sysvm.store import seed
from sysvm.store.queries import strays
from sysvm.store.store import Tx


def run(state: Path, database: str = "") -> int:
    """The new epoch. Raises Refused."""
    if not database:
        offline.need_database(state)
    with offline.alone(state, "stop it first"):
        return offline.in_store(state, database, lambda tx, _: _checked(tx, shared=bool(database)))


def _checked(tx: Tx, *, shared: bool) -> int:
    if not seed.is_sown(tx):
        raise Refused("the database is empty: there is no cloud to recover")
    alive = tx.sql("select server_name from session where until > :now", now=tx.now)
    if alive and shared:
        raise Refused(f"server {alive[0][0]} still runs on this database; stop it first", Why.IN_USE)
    return strays.recover(tx)
