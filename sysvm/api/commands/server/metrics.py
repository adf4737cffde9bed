"""How much there is of what, and which servers run it."""

from typing import Any

import sqlalchemy as sa

from sysvm import __version__
from sysvm.api.answers.times import stamp
from sysvm.api.call import Call, One, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.store import tables
from sysvm.store.queries import capacity, machines
from sysvm.store.queries.capacity import Amount, Place
from sysvm.store.store import Row


# ---------------------------------------------------------------- capacity
@handler("listCapacity")
def list_capacity(call: Call) -> Rows:
    """Per zone, or for one pod or cluster; the fullest first with sortby=usage."""
    rows = [row for place, names in _places(call) for row in _rows(call, place, names)]
    if call.get("sortby", "").lower() == "usage":
        rows.sort(key=lambda row: -float(row["percentused"]))
    return slice_rows(call, rows)


def _places(call: Call) -> list[tuple[Place, dict[str, Any]]]:
    zone, pod, cluster = (
        call.row(tables.zone, "zoneid"), call.row(tables.pod, "podid"), call.row(tables.cluster, "clusterid"),
    )  # fmt: skip
    inner = cluster if cluster is not None else pod
    if inner is not None:
        zone = call.tx.get(tables.zone, inner.zone_id)
        pod = call.tx.get(tables.pod, cluster.pod_id) if cluster is not None else pod
    if zone is not None:
        place = Place(zone.id, None if pod is None else pod.id, None if cluster is None else cluster.id)
        return [(place, _names(zone, pod, cluster))]
    table = tables.zone
    zones = call.tx.all(sa.select(table).where(table.c.removed.is_(None)).order_by(table.c.id))
    return [(Place(row.id), _names(row, None, None)) for row in zones]


def _names(zone: Row, pod: Row | None, cluster: Row | None) -> dict[str, Any]:
    names = {"zoneid": zone.uuid, "zonename": zone.name}
    for word, row in (("pod", pod), ("cluster", cluster)):
        if row is not None:
            names |= {f"{word}id": row.uuid, f"{word}name": row.name}
    return names


def _rows(call: Call, place: Place, names: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = call.get("type")
    found = capacity.amounts(call.tx, place)
    return [{**names, **_amount(amount)} for amount in found if wanted in (None, int(amount.kind))]


def _amount(amount: Amount) -> dict[str, Any]:
    share = 100 * amount.used / amount.total if amount.total else 0.0
    return {
        "type": int(amount.kind), "name": capacity.NAMES[amount.kind], "capacitytotal": amount.total,
        "capacityused": amount.used, "capacityallocated": amount.used, "percentused": f"{share:.2f}",
    }  # fmt: skip


# ---------------------------------------------------------------- the whole
def _count(call: Call, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    found = sa.select(sa.func.count()).select_from(table).where(table.c.removed.is_(None), *conditions)
    return int(call.tx.value(found))


@handler("listInfrastructure", reads=True)
def list_infrastructure(call: Call) -> One:
    """How many of everything."""
    machine, alert, host = tables.machine, tables.alert, tables.host
    router = machine.c.kind == "router"
    alerts = sa.select(sa.func.count()).select_from(alert).where(alert.c.archived.is_(False))
    servers = sa.select(sa.func.count()).select_from(tables.session).where(tables.session.c.until > call.now)
    return One({
        "zones": _count(call, tables.zone),
        "pods": _count(call, tables.pod),
        "clusters": _count(call, tables.cluster),
        "hosts": _count(call, host),
        "cpusockets": _count(call, host),
        "storagepools": _count(call, tables.storage_pool),
        "imagestores": _count(call, tables.image_store),
        "systemvms": _count(call, machine, machine.c.kind.in_(("consoleproxy", "secstorage"))),
        "routers": _count(call, machine, sa.and_(router, machine.c.role != machines.INTERNAL_LB)),
        "ilbvms": _count(call, machine, sa.and_(router, machine.c.role == machines.INTERNAL_LB)),
        "managementservers": int(call.tx.value(servers)),
        "alerts": int(call.tx.value(alerts)),
    })  # fmt: skip


@handler("listManagementServers")
def list_management_servers(call: Call) -> Rows:
    """The living servers."""
    table = tables.session
    statement = sa.select(table).where(table.c.until > call.now).order_by(table.c.started)
    for name, column in (("id", table.c.server_uuid), ("name", table.c.server_name)):
        if call.get(name):
            statement = statement.where(column == call[name])
    return slice_rows(call, [_server(row) for row in call.tx.all(statement)])


def _server(row: Row) -> dict[str, Any]:
    return {
        "id": row.server_uuid, "name": row.server_name, "state": "Up", "version": row.version or __version__,
        "lastserverstart": stamp(row.started),
    }  # fmt: skip
