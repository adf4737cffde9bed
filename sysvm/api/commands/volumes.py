"""Volumes: list."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import volumes as answers
from sysvm.api.call import Call, Reply
from sysvm.api.commands.owned import is_admin
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.store import tables
from sysvm.store.queries import volumes
from sysvm.store.store import Row, Tx


@handler("listVolumes")
def list_volumes(call: Call) -> Reply:
    """Volumes of guests; system VMs have none, their root is the template."""
    volume, host = tables.volume.c, tables.host.c
    admin = is_admin(call.caller)

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.volume(row, admin=admin) for row in found]

    statement = volumes.statement()
    if (type_ := call.get("type")) is not None:
        statement = statement.where(sa.func.lower(volume.type) == type_.lower())
    if call.get("displayvolume") is False:
        statement = statement.where(sa.false())  # every volume is shown
    return list_rows(
        call,
        statement,
        tables.volume,
        rows,
        equal={"name": volume.name, "state": volume.state},
        refs={
            "zoneid": (tables.zone, volume.zone_id),
            "virtualmachineid": (tables.machine, volume.machine_id),
            "diskofferingid": (tables.disk_offering, volume.disk_offering_id),
            "storageid": (tables.storage_pool, volume.pool_id),
            "hostid": (tables.host, volume.host_id),
            "podid": (tables.pod, host.pod_id),
            "clusterid": (tables.cluster, host.cluster_id),
        },
        keyword=(volume.name,),
        tagged="Volume",
    )
