"""Wishes that nobody could serve in time: each becomes one alert with the reason and the next step.

The wish itself goes on; the reason stands in the machine's `note`, which the API shows. What is withdrawn, and when, is
the jobs' affair (upkeep).
"""

from sysvm.orchestrator.turns.ending import ALERT_OF, words_of
from sysvm.store import tables
from sysvm.store.queries import alerts
from sysvm.store.queries.machines import DEADLINE_S
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Kind

LATE = "select id from machine where deadline < :now and removed is null order by id limit 100"
WORD = {"running": "is not running", "stopped": "has not stopped", "gone": "is not gone"}


def sweep(tx: Tx) -> None:
    """Tells of each late machine once."""
    for (id_,) in tx.sql(LATE, now=tx.now):
        machine = tx.get(tables.machine, id_)
        assert machine is not None
        kind = Kind(machine.kind)
        tx.update(tables.machine, id_, deadline=None)
        alerts.raise_alert(tx, ALERT_OF[kind], _text(machine, kind), zone=machine.zone_id)


def _text(machine: Row, kind: Kind) -> str:
    reason = machine.error or machine.note or "nobody has said why"
    remedy = words_of(machine).remedy if machine.wanted == "running" else "look at its host with listHosts"
    return (
        f"{words_of(machine).title} {machine.name} {WORD[machine.wanted]} {DEADLINE_S / 60:.0f} minutes after it was asked for: "
        f"{reason}. It is tried on and on; remove the reason, or {remedy}"
    )
