"""Clusters: hosts of one hypervisor in a pod."""

from typing import Any

from sysvm.api.answers import clusters as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Call, One, Reply, Rows, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules import places
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import events, zones
from sysvm.store.store import Row, Tx

TYPES = {"cloudmanaged": "CloudManaged", "externalmanaged": "ExternalManaged"}
MANAGED_STATES = {"managed": "Managed", "unmanaged": "Unmanaged"}


def _row(tx: Tx, cluster_id: int) -> Row:
    row = tx.one(zones.clusters().where(tables.cluster.c.id == cluster_id))
    assert row is not None
    return row


def cluster_type(text: str) -> str:
    """CloudManaged; a cluster that another program manages is not supported."""
    found = TYPES.get(text.strip().lower())
    if found is None:
        raise Refused(f"Unable to resolve cluster type {text!r}; it is CloudManaged")
    if found == "ExternalManaged":
        raise Refused("Clusters of type ExternalManaged are not supported; use CloudManaged")
    return found


def free_name(tx: Tx, name: str, pod_id: int, but: int | None = None) -> str:
    """The name, if no other cluster of the pod has it."""
    wanted = places.name(name, "cluster")
    same = zones.named(tx, tables.cluster, wanted, tables.cluster.c.pod_id == pod_id)
    if same is not None and same.id != but:
        raise Refused(f"Unable to create cluster: a cluster with name {wanted} already exists in this pod")
    return wanted


def pod_in_zone(call: Call) -> tuple[Row, Row]:
    """The zone and the pod that a call names; the pod must be of the zone."""
    zone, pod = call.need(tables.zone, "zoneid"), call.need(tables.pod, "podid")
    if pod.zone_id != zone.id:
        raise Refused(f"The pod {pod.name} is not in zone {zone.name}")
    return zone, pod


def new_cluster(call: Call, zone: Row, pod: Row, name: str, hypervisor: str, state: str = "Enabled") -> int:
    """A new cluster's id."""
    return call.tx.insert(
        tables.cluster,
        uuid=call.ids.uuid(),
        zone_id=zone.id,
        pod_id=pod.id,
        name=free_name(call.tx, name, pod.id),
        hypervisor=hypervisor,
        allocation_state=state,
        details={},
        created=call.now,
    )


@handler("addCluster")
def add_cluster(call: Call) -> Reply:
    """A new cluster. Answered as a list of one, as clients expect."""
    zone, pod = pod_in_zone(call)
    cluster_type(call["clustertype"])
    simulated = str(call.get("url") or "").lower().startswith("simulator")
    hypervisor = places.hypervisor(call["hypervisor"], simulated=simulated)
    state = places.allocation_state(call.get("allocationstate"), "Enabled")
    cluster_id = new_cluster(call, zone, pod, call["clustername"], hypervisor, state)
    zones.changed(call.tx, zone.id)
    row = _row(call.tx, cluster_id)
    about = call.about("Cluster", row)
    events.record(call.tx, "CLUSTER.CREATE", f"Added cluster {row.name}", actor=call.caller.actor, about=about)
    return Rows([answers.cluster(row)], 1)


@handler("listClusters")
def list_clusters(call: Call) -> Reply:
    """Clusters."""
    cluster = tables.cluster
    equal = {
        "name": cluster.c.name,
        "hypervisor": cluster.c.hypervisor,
        "clustertype": cluster.c.cluster_type,
        "allocationstate": cluster.c.allocation_state,
        "managedstate": cluster.c.managed_state,
    }
    refs = {"zoneid": (tables.zone, cluster.c.zone_id), "podid": (tables.pod, cluster.c.pod_id)}
    keyword = (cluster.c.name, cluster.c.hypervisor)
    return list_rows(call, zones.clusters(), cluster, each(answers.cluster), equal=equal, refs=refs, keyword=keyword)


@handler("updateCluster")
def update_cluster(call: Call) -> Reply:
    """Changes a cluster; its hypervisor only while it has no host."""
    cluster = call.need(tables.cluster, "id")
    changes: dict[str, Any] = {}
    if "clustername" in call:
        changes["name"] = free_name(call.tx, call["clustername"], cluster.pod_id, cluster.id)
    if call.get("clustertype"):
        changes["cluster_type"] = cluster_type(call["clustertype"])
    if call.get("hypervisor"):
        changes["hypervisor"] = _other_hypervisor(call, cluster)
    if call.get("managedstate"):
        state = MANAGED_STATES.get(call["managedstate"].strip().lower())
        if state is None:
            raise Refused(f"Unable to resolve Managed State '{call['managedstate']}': Managed or Unmanaged")
        changes["managed_state"] = state
    changes["allocation_state"] = places.allocation_state(call.get("allocationstate"), cluster.allocation_state)
    call.tx.update(tables.cluster, cluster.id, **changes)
    zones.changed(call.tx, cluster.zone_id)
    row = _row(call.tx, cluster.id)
    return One(answers.cluster(row), call.about("Cluster", row), f"Changed cluster {row.name}")


def _other_hypervisor(call: Call, cluster: Row) -> str:
    wanted = places.hypervisor(call["hypervisor"], simulated=cluster.hypervisor == "VMware")
    hosts = zones.living(call.tx, tables.host, tables.host.c.cluster_id == cluster.id)
    if wanted != cluster.hypervisor and hosts:
        raise Refused(f"The cluster {cluster.name} has {hosts} hosts of {cluster.hypervisor}; its hypervisor can't change")
    return wanted


@handler("deleteCluster")
def delete_cluster(call: Call) -> Reply:
    """Removes a cluster without hosts and storage."""
    cluster = call.need(tables.cluster, "id")
    for table, what in ((tables.host, "hosts"), (tables.storage_pool, "storage pools")):
        if count := zones.living(call.tx, table, table.c.cluster_id == cluster.id):
            raise Refused(f"Cluster {cluster.name} cannot be removed: there are {count} {what} in it")
    call.tx.update(tables.cluster, cluster.id, removed=call.now)
    zones.changed(call.tx, cluster.zone_id)
    return Success(about=call.about("Cluster", cluster), description=f"Deleted cluster {cluster.name}")
