"""Pods and their management ranges, from which system VMs get private addresses."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import pods as answers
from sysvm.api.call import Accepted, Call, One, Reply, Success
from sysvm.api.commands.infrastructure.ip_ranges import add_range, at_span, free_of_others
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import places, ranges
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import ip_ranges, zones
from sysvm.store.store import Row, Tx


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    by_pod = ip_ranges.of_pods(tx)
    return [answers.pod(row, by_pod.get(row.id, ())) for row in rows]


def _answer(call: Call, pod_id: int, what: str) -> One:
    row = call.tx.one(zones.pods().where(tables.pod.c.id == pod_id))
    assert row is not None
    return One(_answers(call.tx, [row])[0], call.about("Pod", row), f"{what} pod {row.name}")


def _free_name(tx: Tx, name: str, zone_id: int, but: int | None = None) -> str:
    wanted = places.name(name, "pod")
    same = zones.named(tx, tables.pod, wanted, tables.pod.c.zone_id == zone_id)
    if same is not None and same.id != but:
        raise Refused(f"A pod with name: {wanted} already exists in this zone. Please specify a different pod name.")
    return wanted


@handler("createPod")
def create_pod(call: Call) -> Reply:
    """A new pod with its first management range."""
    zone = call.need(tables.zone, "zoneid")
    name = _free_name(call.tx, call["name"], zone.id)
    for needed in ("gateway", "netmask", "startip"):
        if not call.get(needed):
            raise Refused(f"Please give {needed}: a pod has a range of addresses for its system VMs")
    span = ranges.span(call["gateway"], call["netmask"], call["startip"], call.get("endip"))
    free_of_others(call.tx, span, "Management", zone)
    pod_id = call.tx.insert(
        tables.pod,
        uuid=call.ids.uuid(),
        zone_id=zone.id,
        name=name,
        gateway=str(span.gateway),
        netmask=span.netmask,
        allocation_state=places.allocation_state(call.get("allocationstate"), "Enabled"),
        created=call.now,
    )
    add_range(call, span, "Management", zone, pod_id=pod_id)
    zones.changed(call.tx, zone.id)
    return _answer(call, pod_id, "Created")


@handler("listPods")
def list_pods(call: Call) -> Reply:
    """Pods."""
    pod = tables.pod
    equal = {"name": pod.c.name, "allocationstate": pod.c.allocation_state}
    return list_rows(call, zones.pods(), pod, _answers, equal=equal, refs={"zoneid": (tables.zone, pod.c.zone_id)})


@handler("updatePod")
def update_pod(call: Call) -> Reply:
    """Changes a pod's name, state or first management range."""
    pod = call.need(tables.pod, "id")
    changes: dict[str, Any] = {}
    if "name" in call:
        changes["name"] = _free_name(call.tx, call["name"], pod.zone_id, pod.id)
    changes["allocation_state"] = places.allocation_state(call.get("allocationstate"), pod.allocation_state)
    if any(name in call for name in ("gateway", "netmask", "startip", "endip")):
        changes |= _move_range(call, pod)
    call.tx.update(tables.pod, pod.id, **changes)
    zones.changed(call.tx, pod.zone_id)
    return _answer(call, pod.id, "Changed")


def _move_range(call: Call, pod: Row) -> dict[str, Any]:
    pools = ip_ranges.of_pods(call.tx).get(pod.id, [])
    if len(pools) != 1:
        raise Refused("This pod has several ranges; use updatePodManagementNetworkIpRange")
    zone = call.tx.get(tables.zone, pod.zone_id)
    assert zone is not None
    span = at_span(call, pools[0], zone)
    return {"gateway": str(span.gateway), "netmask": span.netmask}


@handler("deletePod")
def delete_pod(call: Call) -> Reply:
    """Removes a pod without clusters whose addresses are all free."""
    pod = call.need(tables.pod, "id")
    for table, what in ((tables.cluster, "clusters"), (tables.host, "hosts"), (tables.storage_pool, "storage pools")):
        if count := zones.living(call.tx, table, table.c.pod_id == pod.id):
            raise Refused(f"The pod {pod.name} is not deletable because there are {count} {what} in it")
    pools = ip_ranges.of_pods(call.tx).get(pod.id, [])
    for pool in pools:
        if count := ip_ranges.used(call.tx, pool):
            raise Refused(f"The pod {pod.name} is not deletable because {count} of its private addresses are in use")
    for pool in pools:
        ip_ranges.remove(call.tx, pool)
    call.tx.update(tables.pod, pod.id, removed=call.now)
    zones.changed(call.tx, pod.zone_id)
    return Success(about=call.about("Pod", pod), description=f"Deleted pod {pod.name}")


# ---------------------------------------------------------------- further management ranges
@handler("createManagementNetworkIpRange")
def create_management_range(call: Call) -> Reply:
    """A further range of private addresses for a pod."""
    pod = call.need(tables.pod, "podid")
    zone = call.tx.get(tables.zone, pod.zone_id)
    assert zone is not None
    span = ranges.span(call["gateway"], call["netmask"], call["startip"], call.get("endip"))
    free_of_others(call.tx, span, "Management", zone)
    reserved = bool(call.get("forsystemvms"))
    add_range(call, span, "Management", zone, pod_id=pod.id, vlan=ranges.vlan(call.get("vlan")), for_system_vms=reserved)
    zones.changed(call.tx, pod.zone_id)
    return Accepted((), call.about("Pod", pod), f"Creating management ip range {span} for pod {pod.name}")


@result("createManagementNetworkIpRange")
def _pod_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(zones.pods().where(tables.pod.c.id == job.instance_id))
    return _answers(tx, [row])[0] if row is not None else {}


def _named_range(call: Call, pod: Row, first: str, last: str) -> Row:
    begin, end = ranges.ipv4(first, "startip"), ranges.ipv4(last, "endip")
    wanted = (tables.pack_address(begin), tables.pack_address(end))
    for pool in ip_ranges.of_pods(call.tx).get(pod.id, []):
        if (bytes(pool.first), bytes(pool.last)) == wanted:
            return pool
    raise Refused(f"The pod {pod.name} has no management range {first}-{last}")


@handler("deleteManagementNetworkIpRange")
def delete_management_range(call: Call) -> Reply:
    """Removes a management range none of whose addresses is in use."""
    pod = call.need(tables.pod, "podid")
    pool = _named_range(call, pod, call["startip"], call["endip"])
    if count := ip_ranges.used(call.tx, pool):
        raise Refused(f"The ip range is in use: {count} of its addresses belong to system VMs", Why.IN_USE)
    ip_ranges.remove(call.tx, pool)
    zones.changed(call.tx, pod.zone_id)
    return Accepted((), call.about("Pod", pod), f"Deleting a management ip range of pod {pod.name}")


@handler("updatePodManagementNetworkIpRange")
def update_management_range(call: Call) -> Reply:
    """Moves the ends of a management range."""
    pod = call.need(tables.pod, "podid")
    pool = _named_range(call, pod, call["currentstartip"], call["currentendip"])
    zone = call.tx.get(tables.zone, pod.zone_id)
    assert zone is not None
    at_span(call, pool, zone, first="newstartip", last="newendip")
    zones.changed(call.tx, pod.zone_id)
    return Accepted((), call.about("Pod", pod), f"Changing a management ip range of pod {pod.name}")
