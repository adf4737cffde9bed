"""Console proxies and secondary storage VMs as the API lists them."""

from functools import cache

from sysvm.store import tables
from sysvm.store.prepared import Prepared
from sysvm.store.queries import machine_rows

KINDS = {"consoleproxy": "consoleproxy", "secondarystoragevm": "secstorage"}  # the API's word, ours


@cache
def living() -> Prepared:
    """All living ones."""
    machine = tables.machine.c
    ours = machine.kind.in_(tuple(KINDS.values()))
    statement = machine_rows.statement(ours, machine.removed.is_(None), without=machine_rows.OF_GUESTS)
    return Prepared(statement, order=(machine.id,))


def api_type(kind: str) -> str:
    """The API's word for a kind."""
    return next(word for word, ours in KINDS.items() if ours == kind)
