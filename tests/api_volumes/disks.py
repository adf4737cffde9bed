"""Volumes as only the orchestrator makes them, for tests of the API alone."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import Asker
from tests.api_networks.land import Land


async def offering(land: Land, gib: int = 1, **params: Any) -> str:
    """A disk offering's id."""
    given = {"name": f"disk{gib}", "displaytext": "disk", **({"disksize": gib} if gib else {"customized": True})}
    made = await land.admin("createDiskOffering", **{**given, **params})
    return str(made["id"])


async def volume(land: Land, who: Asker | None = None, **params: Any) -> dict[str, Any]:
    """A data volume that nobody has attached."""
    given = {
        "zoneid": land.zone,
        "name": "data",
        "diskofferingid": params.pop("diskofferingid", None) or await offering(land),
    }
    return dict(await land.job("createVolume", who=who, **given, **params))


async def made(land: Land, uuid: str, **values: Any) -> None:
    """The volume's bytes are on the zone's host."""

    def write(tx: Tx) -> None:
        host = tx.value(sa.select(tables.host.c.id))
        pool = tx.value(sa.select(tables.storage_pool.c.id))
        table = tables.volume
        found = {"state": "Ready", "host_id": host, "pool_id": pool, **values}
        tx.change(sa.update(table).where(table.c.uuid == uuid).values(**found))

    await land.stage.store.run(write)


async def backed_up(land: Land, uuid: str, **values: Any) -> None:
    """The snapshot is on the store."""
    found = {"state": "BackedUp", "stored": True, "sha256": "0" * 64, "taken": 1_700_000_000.0, "size_bytes": 1 << 20}
    await land.cloud.change(tables.snapshot, uuid, **{**found, **values})


async def row(land: Land, table: sa.Table, uuid: str) -> Any:
    """What the database has."""
    (found,) = await land.rows(sa.select(table).where(table.c.uuid == uuid))
    return found
