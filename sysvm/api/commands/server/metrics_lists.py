"""The lists of metrics: the rows of the plain lists with their sums. Thresholds and load over time are not kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sysvm.api.answers import metrics as answers
from sysvm.api.call import Call, One, Reply, Rows
from sysvm.api.commands.guests import guests
from sysvm.api.commands.infrastructure import clusters, hosts, zones
from sysvm.api.commands.server import metrics as servers
from sysvm.api.commands.volumes import storage_pools, volumes
from sysvm.api.handlers import handler
from sysvm.store import tables
from sysvm.store.queries import capacity
from sysvm.store.queries.capacity import Capacity, Place

More = Callable[[dict[str, Any]], dict[str, Any]]


def _with(reply: Reply, more: More) -> Reply:
    assert isinstance(reply, Rows)
    return replace(reply, rows=[{**row, **more(row)} for row in reply.rows])


@handler("listZonesMetrics")
def list_zones_metrics(call: Call) -> Reply:
    """Zones."""
    return _with(zones.list_zones(call), lambda row: _place(call, row["id"], "zone"))


@handler("listClustersMetrics")
def list_clusters_metrics(call: Call) -> Reply:
    """Clusters."""
    return _with(clusters.list_clusters(call), lambda row: _place(call, row["id"], "cluster"))


def _place(call: Call, uuid: str, kind: str) -> dict[str, Any]:
    (row,) = call.tx.rows(tables.zone if kind == "zone" else tables.cluster, "uuid = :uuid", uuid=uuid)
    place = Place(row.id) if kind == "zone" else Place(row.zone_id, row.pod_id, row.id)
    amounts = {amount.kind: (amount.total, amount.used) for amount in capacity.amounts(call.tx, place)}
    cpu, memory = amounts.get(Capacity.CPU, (0, 0)), amounts.get(Capacity.MEMORY, (0, 0))
    up, total = _hosts_up(call, place) if kind == "cluster" else _clusters_up(call, row.id)
    counted = {"hosts" if kind == "cluster" else "clusters": f"{up}/{total}"}
    return {**answers.of_place(cpu, memory), **counted, "state": row.allocation_state}


def _hosts_up(call: Call, place: Place) -> tuple[int, int]:
    found = call.tx.rows(tables.host, "cluster_id = :cluster and removed is null", cluster=place.cluster_id)
    return sum(row.state == "Up" for row in found), len(found)


def _clusters_up(call: Call, zone: int) -> tuple[int, int]:
    found = call.tx.rows(tables.cluster, "zone_id = :zone and removed is null", zone=zone)
    return sum(row.allocation_state == "Enabled" for row in found), len(found)


@handler("listHostsMetrics")
def list_hosts_metrics(call: Call) -> Reply:
    """Hosts with their machines."""
    return _with(hosts.list_hosts(call), lambda row: answers.of_host(row, *_machines(call, row["id"])))


def _machines(call: Call, host: str) -> tuple[int, int]:
    counted = (
        "select sum(case when power = 'running' then 1 else 0 end), count(*) from machine"
        " where removed is null and host_id = (select id from host where uuid = :host)"
    )
    ((running, total),) = call.tx.sql(counted, host=host)
    return int(running or 0), int(total)


@handler("listStoragePoolsMetrics")
def list_storage_pools_metrics(call: Call) -> Reply:
    """Primary storage."""
    return _with(storage_pools.list_storage_pools(call), answers.of_pool)


@handler("listVirtualMachinesMetrics")
def list_virtual_machines_metrics(call: Call) -> Reply:
    """Guests; what they use over time is not kept."""
    return guests.list_virtual_machines(call)


@handler("listVolumesMetrics")
def list_volumes_metrics(call: Call) -> Reply:
    """Volumes with their size in words; what they read and write over time is not kept."""
    return _with(volumes.list_volumes(call), answers.of_volume)


@handler("listManagementServersMetrics")
def list_management_servers_metrics(call: Call) -> Reply:
    """Servers with the hosts that they hold the links of."""
    linked = "select count(*) from host join session on session.id = host.link_session where session.server_uuid = :server"

    def more(row: dict[str, Any]) -> dict[str, Any]:
        ((count,),) = call.tx.sql(linked, server=row["id"])
        return {"agentcount": int(count), "dbislocal": call.tx.connection.dialect.name == "sqlite", "usageislocal": True}

    return _with(servers.list_management_servers(call), more)


@handler("listDbMetrics")
def list_db_metrics(call: Call) -> Reply:
    """The database as this server sees it."""
    dialect = call.tx.connection.dialect.name
    ((version,),) = call.tx.sql("select sqlite_version()" if dialect == "sqlite" else "show server_version")
    return One({"version": str(version), "versioncomment": dialect, "connections": 1})
