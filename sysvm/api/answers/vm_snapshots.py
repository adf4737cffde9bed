"""Snapshots of whole guests as answers show them."""

from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def vm_snapshot(row: Row) -> dict[str, Any]:
    """One, from a row with the names around it."""
    owned = owner(row)
    owned.pop("domainpath")
    answer = {
        "id": row.uuid,
        "name": row.name,
        "displayname": row.display_name or row.name,
        "description": row.description or None,
        "state": "Creating" if row.state == "Clearing" else row.state,
        "type": row.kind,
        "current": bool(row.current),
        "created": stamp(row.created),
        "parent": row.parent_uuid,
        "parentName": row.parent_name,
        "virtualmachineid": row.machine_uuid,
        "virtualmachinename": row.machine_name,
        "hypervisor": row.hypervisor,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "hasannotations": False,
        **owned,
    }
    return without_empty(answer)
