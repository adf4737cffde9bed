"""Where administrators want a guest to start: on a host, in a cluster or in a pod. The narrowest that is named counts, as in
CloudStack, whatever the wider ones say.

It is said for one start: later ones choose among all hosts again, though volumes that were made bind a guest to the host that has
them. What can be known to be in vain is refused here; a host that is full or down makes the guest wait, which its turn tells.
"""

from sysvm.api.call import Call
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import volumes
from sysvm.store.queries.machines import Within
from sysvm.store.store import Row

NAMES = ("hostid", "clusterid", "podid")


def chosen(call: Call, zone: Row, hypervisor: str) -> Within:
    """What the call says, if a guest of this hypervisor can be there."""
    for name in NAMES:
        if call.get(name) and not call.caller.is_root:
            raise Refused(f"Parameter {name} can be passed by root administrators only", Why.NOT_ALLOWED)
    host, cluster, pod = _named(call, zone)
    if host is not None:
        _must_run(hypervisor, {host.hypervisor}, f"Host {host.name}")
        return Within(host_id=host.id)
    if cluster is not None:
        _must_run(hypervisor, {cluster.hypervisor}, f"Cluster {cluster.name}")
        return Within(cluster_id=cluster.id)
    if pod is not None:
        found = call.tx.rows(tables.cluster, "pod_id = :pod and removed is null", pod=pod.id)
        _must_run(hypervisor, {row.hypervisor for row in found}, f"Pod {pod.name}")
        return Within(pod_id=pod.id)
    return Within()


def _named(call: Call, zone: Row) -> tuple[Row | None, Row | None, Row | None]:
    host, cluster, pod = (
        call.row(tables.host, "hostid"),
        call.row(tables.cluster, "clusterid"),
        call.row(tables.pod, "podid"),
    )
    for noun, row in (("Host", host), ("Cluster", cluster), ("Pod", pod)):
        if row is not None and row.zone_id != zone.id:
            raise Refused(f"{noun} {row.name} is not in zone {zone.name}")
    return host, cluster, pod


def _must_run(hypervisor: str, there: set[str], where: str) -> None:
    if hypervisor not in there:
        had = " and ".join(sorted(there)) or "no hypervisor"
        raise Refused(f"{where} has {had}, and the guest needs {hypervisor}")


def of_start(call: Call, machine: Row) -> Within:
    """What a call that starts this guest says, if its volumes let it be there."""
    zone = call.tx.get(tables.zone, machine.zone_id)
    assert zone is not None
    within = chosen(call, zone, machine.hypervisor)
    for volume in volumes.of_machine(call.tx, machine.id):
        here = call.tx.get(tables.host, volume.host_id) if volume.host_id is not None else None
        if here is not None and not _holds(within, here):
            text = f"Volume {volume.name} of the vm is on host {here.name}, so it can't start elsewhere"
            raise Refused(f"{text}; move its volumes first, with migrateVolume")
    return within


def _holds(within: Within, host: Row) -> bool:
    if within.host_id is not None:
        return bool(within.host_id == host.id)
    if within.cluster_id is not None:
        return bool(within.cluster_id == host.cluster_id)
    return within.pod_id in (None, host.pod_id)
