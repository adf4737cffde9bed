"""Images on hosts' primary storage: wanted ahead of time, used by volumes, and needed by nobody."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Row, Tx

# Nobody can make a volume from it any more, and no volume there was made from it.
UNUSED = """
select i.id, i.host_id from pool_image i
where i.state = 'ready'
    and not exists (select 1 from template t where t.sha256 = i.sha256 and t.removed is null)
    and not exists (
        select 1 from volume v join template t on t.id = v.template_id
        where t.sha256 = i.sha256 and v.host_id = i.host_id and v.removed is null)
    and not exists (select 1 from machine m where m.iso_id = i.template_id and m.removed is null)
limit 100
"""


def want(tx: Tx, template: Row, zone_id: int) -> None:
    """All primary storage of the zone that can take the template shall have it."""
    host, pool = tables.host, tables.storage_pool
    places = tx.all(
        sa.select(host.c.id.label("host_id"), pool.c.id.label("pool_id"))
        .join(pool, pool.c.zone_id == host.c.zone_id)
        .where(host.c.zone_id == zone_id, host.c.removed.is_(None), host.c.hypervisor == template.hypervisor)
        .where(pool.c.removed.is_(None), sa.or_(pool.c.host_id == host.c.id, pool.c.host_id.is_(None)))
        .where(sa.or_(pool.c.cluster_id == host.c.cluster_id, pool.c.cluster_id.is_(None)))
        .order_by(host.c.id, pool.c.id)
    )
    for place in places:
        _want_at(tx, template, place.host_id, place.pool_id)


def _want_at(tx: Tx, template: Row, host_id: int, pool_id: int) -> None:
    table = tables.pool_image
    name_ = template.sha256 or f"of-{template.id}"  # until the bytes have a name
    there = tx.one(
        sa.select(table).where(table.c.host_id == host_id, table.c.pool_id == pool_id, table.c.sha256 == name_)
    )
    if there is None:
        id_ = tx.insert(
            table, template_id=template.id, pool_id=pool_id, host_id=host_id, sha256=name_, created=tx.now
        )  # fmt: skip
    else:
        id_ = there.id
    if there is None or there.state != "ready":
        turns.wish(tx, "image", id_, host=host_id)


def name(tx: Tx, row: Row, sha256: str) -> bool:
    """The bytes have a name now. False: an image of that name is there already."""
    table = tables.pool_image
    same = (table.c.host_id == row.host_id, table.c.pool_id == row.pool_id, table.c.sha256 == sha256)
    if tx.one(sa.select(table.c.id).where(*same)) is not None:
        return False
    tx.update(table, row.id, sha256=sha256)
    return True


def forget_double(tx: Tx, id_: int) -> None:
    """A row that stands for nothing on the host."""
    tx.sql("delete from pool_image where id = :id and state <> 'ready'", id=id_)


def remove(tx: Tx, id_: int) -> None:
    """The image is no longer there."""
    tx.sql("delete from pool_image where id = :id", id=id_)


def collect(tx: Tx) -> None:
    """Images that nobody needs shall go."""
    for id_, host_id in tx.sql(UNUSED):
        tx.update(tables.pool_image, id_, state="unwanted")
        turns.wish(tx, "image", id_, host=host_id)
