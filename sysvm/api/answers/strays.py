"""Strays as answers show them."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def stray(row: Row, grace_s: float) -> dict[str, Any]:
    """One; the row carries its host, its zone, and the machine with its UUID where there is or was one."""
    answer = {
        "id": row.uuid,
        "machineid": row.machine,
        "incarnation": row.incarnation,
        "name": row.machine_name,
        "type": row.machine_kind,
        "state": row.power.capitalize(),
        "reason": _reason(row),
        "hostid": row.host_uuid,
        "hostname": row.host_name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "found": stamp(row.found),
        "kept": row.kept,
        "keptuntil": stamp(row.found if row.doomed else row.found + grace_s) if not row.kept else None,
    }
    return without_empty(answer)


def _reason(row: Row) -> str:
    if row.machine_name is None:
        return "no machine of this cloud has or had this id"
    if row.machine_removed is not None:
        return f"{row.machine_name} was removed from the records"
    if row.machine_incarnation > row.incarnation:
        return f"{row.machine_name} has been replaced: it lives its incarnation {row.machine_incarnation}"
    return f"{row.machine_name} is not recorded to be on this host"
