"""Clusters as answers show them."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.store.store import Row


def cluster(row: Row) -> dict[str, Any]:
    """One cluster."""
    details = dict(row.details) if row.details else {}
    answer = {
        "id": row.uuid,
        "name": row.name,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "hypervisortype": row.hypervisor,
        "clustertype": row.cluster_type,
        "allocationstate": row.allocation_state,
        "managedstate": row.managed_state,
        "cpuovercommitratio": str(details.get("cpuOvercommitRatio", "1.0")),
        "memoryovercommitratio": str(details.get("memoryOvercommitRatio", "1.0")),
        "arch": "x86_64",
        "resourcedetails": details or None,
        "hasannotations": False,
    }
    return without_empty(answer)
