"""Console proxies and secondary storage VMs as the API lists them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machine_rows

KINDS = {"consoleproxy": "consoleproxy", "secondarystoragevm": "secstorage"}  # the API's word, ours


def statement() -> sa.Select[Any]:
    """All living ones."""
    machine = tables.machine.c
    return machine_rows.statement(machine.kind.in_(tuple(KINDS.values())), machine.removed.is_(None))


def api_type(kind: str) -> str:
    """The API's word for a kind."""
    return next(word for word, ours in KINDS.items() if ours == kind)
