"""Primary storage and image stores as answers show them."""

from typing import Any
from urllib.parse import urlsplit

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def pool(row: Row) -> dict[str, Any]:
    """One pool. Its size is what the host reports for it, else what the host's disk has."""
    facts = row.host_facts or {}
    answer = {
        "id": row.uuid,
        "name": row.name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "clusterid": row.cluster_uuid,
        "clustername": row.cluster_name,
        "ipaddress": row.host_address or urlsplit(row.url).hostname or "localhost",
        "path": row.path,
        "type": row.type,
        "scope": row.scope,
        "state": row.state,
        "provider": row.provider,
        "hypervisor": row.hypervisor or None,
        "tags": row.tags or None,
        "created": stamp(row.created),
        "disksizetotal": int(row.capacity_bytes or facts.get("disk_bytes") or 0),
        "disksizeused": int(row.used_bytes or facts.get("disk_used") or 0),
        "disksizeallocated": int(row.bytes_promised),
        "overprovisionfactor": "1.0",
        "suitableformigration": False,
        "hasannotations": False,
        "storagecapabilities": {"VOLUME_SNAPSHOT_QUIESCEVM": "false"},
    }
    return without_empty(answer)


def image_store(row: Row) -> dict[str, Any]:
    """One image store."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "url": row.url,
        "protocol": row.protocol,
        "providername": row.provider,
        "scope": row.scope,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "readonly": row.read_only,
        "disksizetotal": row.capacity_bytes,
        "disksizeused": row.used_bytes,
        "hasannotations": False,
        "message": row.note or None,
    }
    return without_empty(answer)
