"""Volumes as answers show them."""

from typing import Any

from sysvm.api.answers.offerings import disk_limits
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def volume(row: Row, *, admin: bool) -> dict[str, Any]:
    """One volume, from a row with the names around it. Where it is, is for administrators."""
    root = row.type == "ROOT"
    answer = {
        "id": row.uuid,
        "name": row.name,
        "type": row.type,
        "state": row.state,
        "status": row.note if row.state == "UploadError" else None,
        "size": row.size_bytes,
        "created": stamp(row.created),
        "attached": stamp(row.attached) if row.machine_id is not None else None,
        "deviceid": row.device if row.machine_id is not None else None,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "hypervisor": row.machine_hypervisor or row.host_hypervisor or None,
        "snapshotid": row.snapshot_uuid,
        "provisioningtype": "thin",
        "storagetype": "local" if row.pool_scope == "HOST" or row.host_id is not None else "shared",
        "destroyed": row.state in ("Destroy", "Expunged"),
        "displayvolume": bool(row.display),
        "isextractable": bool(row.template_is_extractable) if root else True,
        "quiescevm": False,
        "supportsstoragesnapshot": False,
        "hasannotations": False,
        **_made_of(row),
        **(_machine(row) if row.machine_uuid is not None else {}),
        **(_place(row) if admin else {}),
        **owner(row),
    }
    return without_empty(answer)


def _made_of(row: Row) -> dict[str, Any]:
    answer = {
        "diskofferingid": row.disk_offering_uuid,
        "diskofferingname": row.disk_offering_name,
        "diskofferingdisplaytext": row.disk_offering_text or row.disk_offering_name,
        "templateid": row.template_uuid,
        "templatename": row.template_name,
        "templatedisplaytext": row.template_text or row.template_name,
        **_limits(row),
    }
    if row.type != "ROOT":
        return answer
    service = {
        "serviceofferingid": row.service_offering_uuid,
        "serviceofferingname": row.service_offering_name,
        "serviceofferingdisplaytext": row.service_offering_text or row.service_offering_name,
    }
    return answer | service


def _limits(row: Row) -> dict[str, Any]:
    """How fast it may be, without the peaks."""
    own = row.disk_offering_uuid is not None
    found = row.disk_offering_limits if own else row.service_offering_limits if row.type == "ROOT" else None
    return {name: value for name, value in disk_limits(found).items() if name.endswith("Rate")}


def _machine(row: Row) -> dict[str, Any]:
    return {
        "virtualmachineid": row.machine_uuid,
        "vmname": row.machine_name,
        "vmdisplayname": row.machine_display_name,
        "vmstate": row.machine_state,
        "vmtype": "User",
    }


def _place(row: Row) -> dict[str, Any]:
    return {
        "storage": row.pool_name,
        "storageid": row.pool_uuid,
        "path": row.uuid if row.pool_uuid is not None else None,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "clusterid": row.cluster_uuid,
        "clustername": row.cluster_name,
    }
