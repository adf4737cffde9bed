"""Where a turn tells why it does not get on: in the note of the thing that it is about."""

import sqlalchemy as sa

from sysvm.orchestrator.engine import Complain
from sysvm.store.store import Tx


def in_note_of(table: sa.Table) -> Complain:
    """A `complain` for things of this table. A note that says so already is not written again."""
    statement = f"update {table.name} set note = :why where id = :id and note <> :why"

    def complain(tx: Tx, id_: int, why: str) -> None:
        tx.sql(statement, id=id_, why=why)

    return complain
