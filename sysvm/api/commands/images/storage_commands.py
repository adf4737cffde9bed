"""Commands of secondary storage VMs: what they have to do, with weight, age and place (an extension)."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.api.call import Call, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.store import tables
from sysvm.store.queries import commands, settings
from sysvm.store.queries.commands import Command
from sysvm.store.store import Row, Tx


@handler("listSecondaryStorageCommands")
def list_secondary_storage_commands(call: Call) -> Rows:
    """Those that are under way or wait for room, the oldest first."""
    zone, machine = call.row(tables.zone, "zoneid"), call.row(tables.machine, "systemvmid")
    found = commands.under_way(call.tx, zone.id if zone is not None else None)
    if machine is not None:
        found = [one for one in found if one.machine_id == machine.id]
    counts_s = 60 * float(settings.value(call.tx, "secstorage.cmd.execution.time.max"))
    return slice_rows(call, [_answer(call.tx, one, counts_s) for one in found])


def _answer(tx: Tx, one: Command, counts_s: float) -> dict[str, Any]:
    zone = tx.get(tables.zone, one.zone_id)
    machine = tx.get(tables.machine, one.machine_id) if one.machine_id is not None else None
    host = _host(tx, machine)
    age = max(0.0, tx.now - one.begun)
    answer = {
        "id": one.template.uuid,
        "name": one.template.name,
        "type": one.kind,
        "state": "Queued" if machine is None else "Running",
        "weight": one.weight,
        "size": one.template.size_bytes,
        "progress": f"{one.progress:.0f}%",
        "age": int(age),
        "counts": machine is not None and age <= counts_s,
        "created": stamp(one.begun),
        "zoneid": zone.uuid if zone is not None else None,
        "zonename": zone.name if zone is not None else None,
        "systemvmid": machine.uuid if machine is not None else None,
        "systemvmname": machine.name if machine is not None else None,
        "hostid": host.uuid if host is not None else None,
        "hostname": host.name if host is not None else None,
    }
    return without_empty(answer)


def _host(tx: Tx, machine: Row | None) -> Row | None:
    return tx.get(tables.host, machine.host_id) if machine is not None and machine.host_id is not None else None
