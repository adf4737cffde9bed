"""Primary storage: directories of hosts on which guests' volumes are.

What a directory holds and how big it is, its host reports; here only rows and wishes change.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import storage_pools as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, One, Reply, Success
from sysvm.api.commands.infrastructure.hosts import SIMULATED
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.params import pairs
from sysvm.api.rules import places, stores
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machines, storage_pools, turns, zones
from sysvm.store.store import Row, Tx

SCOPES = ("HOST", "CLUSTER", "ZONE")
PROVIDERS = {"primary": ("DefaultPrimary",), "image": ("NFS", "Filesystem"), "object": ()}


def _answer(tx: Tx, pool_id: int) -> dict[str, Any]:
    row = tx.one(storage_pools.pools().where(tables.storage_pool.c.id == pool_id))
    assert row is not None
    return answers.pool(row)


@handler("createStoragePool")
def create_storage_pool(call: Call) -> Reply:
    """A directory of a host becomes primary storage."""
    zone = call.need(tables.zone, "zoneid")
    if (provider := call.get("provider")) and provider.lower() != "defaultprimary":
        raise Refused(f"The primary storage provider {provider!r} is not supported; it is DefaultPrimary")
    if call.get("managed"):
        raise Refused("Managed primary storage is not supported")
    scope = (call.get("scope") or ("CLUSTER" if call.get("clusterid") else "ZONE")).upper()
    if scope not in SCOPES:
        raise Refused(f"The scope {scope!r} is not one of {', '.join(SCOPES)}")
    cluster = _cluster(call, zone, scope)
    share = stores.shared(call["url"]) if cluster is None or cluster.hypervisor in SIMULATED else None
    where = stores.Directory("", share.path) if share is not None else stores.primary(call["url"])
    host = _host(call, cluster, where.host, shared=scope == "CLUSTER")
    name = places.name(call["name"], "storage pool")
    _not_there(call.tx, zone, cluster, host, where.path, name)
    pool_id = call.tx.insert(
        tables.storage_pool,
        uuid=call.ids.uuid(),
        zone_id=zone.id,
        pod_id=cluster.pod_id if cluster is not None else None,
        cluster_id=cluster.id if cluster is not None else None,
        host_id=host.id if host is not None else None,
        name=name,
        url=share.url if share is not None else f"file://{where.host}{where.path}",
        type="NetworkFilesystem" if share is not None else "Filesystem",
        path=where.path,
        scope=scope,
        tags=places.tags(call.get("tags")),
        hypervisor=cluster.hypervisor if cluster is not None else places.hypervisor(call["hypervisor"]),
        capacity_bytes=_capacity(call),
        details=pairs(call.get("details")),
        created=call.now,
    )
    _tell(call.tx, zone.id, cluster, host)
    about = call.about("StoragePool", call.tx.get(tables.storage_pool, pool_id))  # type: ignore[arg-type]
    return One(_answer(call.tx, pool_id), about, f"Created storage pool {name}")


def _capacity(call: Call) -> int:
    size: int = call.get("capacitybytes") or 0
    if size < 0:
        raise Refused("capacitybytes can't be negative")
    return size


def _cluster(call: Call, zone: Row, scope: str) -> Row | None:
    cluster, pod = call.row(tables.cluster, "clusterid"), call.row(tables.pod, "podid")
    if cluster is None:
        if scope == "ZONE" and (call.get("hypervisor") or "").lower() == "simulator":
            return None
        raise Refused(
            "Give clusterid: primary storage is a directory of hosts of one cluster (scope HOST or CLUSTER). Pools of scope "
            "ZONE exist for hypervisor Simulator only"
        )
    if cluster.zone_id != zone.id:
        raise Refused(f"The cluster {cluster.name} is not in zone {zone.name}")
    if pod is not None and cluster.pod_id != pod.id:
        raise Refused(f"The cluster {cluster.name} is not in pod {pod.name}")
    if scope == "ZONE":
        raise Refused("Storage of scope ZONE belongs to no cluster; use scope CLUSTER")
    return cluster


def _host(call: Call, cluster: Row | None, name: str, *, shared: bool) -> Row | None:
    """The host whose directory it is. Simulated hosts have none, so all of a cluster may share one pool."""
    if cluster is None:
        return None
    there = storage_pools.hosts_of(call.tx, cluster.id)
    if name:
        wanted = name.lower()
        named = [row for row in there if wanted in (row.name.lower(), row.address.lower(), row.uuid)]
        if not named:
            raise Refused(f"The url names host {name}, which is not in cluster {cluster.name}")
        return named[0]
    if shared and cluster.hypervisor in SIMULATED:
        return None
    if not there:
        raise Refused(f"No host up to associate a storage pool with in cluster {cluster.name}; use addHost first")
    if len(there) > 1:
        raise Refused(
            f"The cluster {cluster.name} has {len(there)} hosts, and a directory is of one of them: name it in the url, "
            f"file://{there[0].name}/<path>. Shared primary storage is not supported yet"
        )
    return there[0]


def _not_there(tx: Tx, zone: Row, cluster: Row | None, host: Row | None, path: str, name: str) -> None:
    pool = tables.storage_pool
    if zones.named(tx, pool, name, pool.c.zone_id == zone.id):
        raise Refused(f"A storage pool with name {name} already exists in zone {zone.name}")
    same = sa.select(pool).where(pool.c.path == path, pool.c.removed.is_(None), pool.c.zone_id == zone.id)
    same = same.where(pool.c.cluster_id == (cluster.id if cluster is not None else None))
    if host is not None:
        same = same.where(sa.or_(pool.c.host_id == host.id, pool.c.host_id.is_(None)))
    if (other := tx.one(same)) is not None:
        raise Refused(f"The directory {path} is primary storage already: pool {other.name}")


def _tell(tx: Tx, zone_id: int, cluster: Row | None, host: Row | None) -> None:
    """Hosts learn which directories are theirs."""
    if host is not None:
        turns.wish(tx, "host", host.id)
    elif cluster is not None:
        for row in storage_pools.hosts_of(tx, cluster.id):
            turns.wish(tx, "host", row.id)
    zones.changed(tx, zone_id)


@handler("listStoragePools")
def list_storage_pools(call: Call) -> Reply:
    """Primary storage."""
    pool, host = tables.storage_pool, tables.host
    equal = {
        "name": pool.c.name,
        "path": pool.c.path,
        "scope": pool.c.scope,
        "ipaddress": host.c.address,
    }
    refs = {
        "zoneid": (tables.zone, pool.c.zone_id),
        "podid": (tables.pod, pool.c.pod_id),
        "clusterid": (tables.cluster, pool.c.cluster_id),
    }
    return list_rows(call, storage_pools.pools(), pool, each(answers.pool), equal=equal, refs=refs)


@handler("listStorageTags")
def list_storage_tags(call: Call) -> Reply:
    """Every tag of every pool."""
    word = (call.get("keyword") or "").lower()
    found = call.tx.rows(tables.storage_pool, "removed is null and tags <> '' order by id")
    named = [(pool.id, tag) for pool in found for tag in pool.tags.split(",") if word in tag.lower()]
    return slice_rows(call, [{"id": f"{id_}-{tag}", "poolid": id_, "name": tag} for id_, tag in named])


@handler("updateStoragePool")
def update_storage_pool(call: Call) -> Reply:
    """Changes a pool's name, tags or size, or whether new volumes go to it."""
    pool = call.need(tables.storage_pool, "id")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = places.name(call["name"], "storage pool")
        same = zones.named(call.tx, tables.storage_pool, changes["name"], tables.storage_pool.c.zone_id == pool.zone_id)
        if same is not None and same.id != pool.id:
            raise Refused(f"A storage pool with name {same.name} already exists in this zone")
    if "tags" in call or call.raw.get("tags") == "":
        changes["tags"] = places.tags(call.get("tags"))
    if "capacitybytes" in call:
        changes["capacity_bytes"] = _capacity(call)
    if "enabled" in call:
        if pool.state not in ("Up", "Disabled"):
            raise Refused(f"The pool is in state {pool.state}; use cancelStorageMaintenance")
        changes["state"] = "Up" if call["enabled"] else "Disabled"
    if changes:
        call.tx.update(tables.storage_pool, pool.id, **changes)
    zones.changed(call.tx, pool.zone_id)
    return One(_answer(call.tx, pool.id), call.about("StoragePool", pool), f"Changed storage pool {pool.name}")


@handler("deleteStoragePool")
def delete_storage_pool(call: Call) -> Reply:
    """Removes a pool that is in maintenance and holds no volume. Nothing in its directory is deleted."""
    pool = call.need(tables.storage_pool, "id")
    if count := storage_pools.volumes_on(call.tx, pool.id):
        raise Refused(f"Cannot delete pool {pool.name} as there are {count} volumes on it", Why.IN_USE)
    if pool.state != "Maintenance" and not call.get("forced"):
        raise Refused(f"Unable to delete storage {pool.name} due to it is not in Maintenance state; use enableStorageMaintenance")
    call.tx.update(tables.storage_pool, pool.id, removed=call.now)
    cluster = call.tx.get(tables.cluster, pool.cluster_id) if pool.cluster_id is not None else None
    host = call.tx.get(tables.host, pool.host_id) if pool.host_id is not None else None
    _tell(call.tx, pool.zone_id, cluster, host)
    return Success(about=call.about("StoragePool", pool), description=f"Deleted storage pool {pool.name}")


@handler("enableStorageMaintenance")
def enable_maintenance(call: Call) -> Reply:
    """No new volume goes to the pool, and machines with one on it stop."""
    pool = call.need(tables.storage_pool, "id")
    if pool.state == "Maintenance":
        raise Refused(f"The storage pool {pool.name} is already in Maintenance")
    call.tx.update(tables.storage_pool, pool.id, state="Maintenance")
    parts = tuple(machines.want(call.tx, row, "stopped") for row in storage_pools.machines_on(call.tx, pool.id))
    zones.changed(call.tx, pool.zone_id)
    return Accepted(parts, call.about("StoragePool", pool), f"Preparing storage pool {pool.name} for maintenance")


@handler("cancelStorageMaintenance")
def cancel_maintenance(call: Call) -> Reply:
    """The pool takes volumes again."""
    pool = call.need(tables.storage_pool, "id")
    if pool.state != "Maintenance":
        raise Refused(f"The storage pool {pool.name} is not in Maintenance but {pool.state}")
    call.tx.update(tables.storage_pool, pool.id, state="Up")
    zones.changed(call.tx, pool.zone_id)
    return Accepted((), call.about("StoragePool", pool), f"Cancelling the maintenance of storage pool {pool.name}")


@result("enableStorageMaintenance", "cancelStorageMaintenance")
def _maintained(tx: Tx, job: Row) -> dict[str, Any]:
    return _answer(tx, job.instance_id)


@handler("listStorageProviders")
def list_storage_providers(call: Call) -> Reply:
    """Providers of primary storage and of image stores."""
    kind = call["type"].strip().lower()
    if kind not in PROVIDERS:
        raise Refused(f"The type {call['type']!r} is not primary or image")
    word = (call.get("keyword") or "").lower()
    rows = [{"name": name, "type": kind.upper()} for name in PROVIDERS[kind] if word in name.lower()]
    return slice_rows(call, rows)
