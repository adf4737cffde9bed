"""Snapshots and their policies as answers show them."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row

# CloudStack says the interval's number for policies and its name for snapshots.


def snapshot(row: Row, copied: str | None = None) -> dict[str, Any]:
    """One snapshot, from a row with the names around it; `copied`: the state of a copy in another zone."""
    state = copied or row.state
    answer = {
        "id": row.uuid,
        "name": row.name,
        "state": state,
        "created": stamp(row.taken if row.taken is not None else row.created),
        "snapshottype": row.kind,
        "intervaltype": row.kind,
        "locationtype": "SECONDARY" if copied or state == "BackedUp" else "PRIMARY",
        "virtualsize": row.virtual_bytes,
        "physicalsize": row.size_bytes,
        "revertable": not copied and state == "BackedUp" and row.volume_removed is None,
        "volumeid": row.volume_uuid,
        "volumename": row.volume_name,
        "volumetype": row.volume_type,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "ostypeid": row.os_uuid,
        "osdisplayname": row.os_name,
        "hasannotations": False,
        "account": row.account_name,
        "domainid": row.domain_uuid,
        "domain": row.domain_name,
        "project": row.project_name,
        "projectid": row.project_uuid,
    }
    return without_empty(answer)


def policy(row: Row) -> dict[str, Any]:
    """One policy, from a row with its volume's UUID."""
    return {
        "id": row.uuid,
        "volumeid": row.volume_uuid,
        "intervaltype": row.interval,
        "schedule": row.schedule,
        "timezone": row.timezone,
        "maxsnaps": row.most,
        "fordisplay": bool(row.display),
        "hasannotations": False,
        "tags": [],
    }
