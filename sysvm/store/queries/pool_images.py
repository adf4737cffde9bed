"""Images on hosts' primary storage: wanted ahead of time, used by volumes, and needed by nobody."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Row, Tx

SYSTEM_KINDS = ("SYSTEM", "ROUTING")

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


def want(tx: Tx, template: Row, zone_id: int, host_id: int | None = None) -> None:
    """All primary storage of the zone that can take the template shall have it. A cluster of KVM hosts runs system VMs in
    containers, too: what such a template is for is not what the cluster's guests are."""
    host, pool = tables.host, tables.storage_pool
    fits = sa.true() if template.kind in SYSTEM_KINDS else host.c.hypervisor == template.hypervisor
    places = tx.all(
        sa.select(host, pool.c.id.label("pool_id"))
        .join(pool, pool.c.zone_id == host.c.zone_id)
        .where(
            host.c.zone_id == zone_id,
            host.c.removed.is_(None),
            fits,
            sa.true() if host_id is None else host.c.id == host_id,
        )
        .where(pool.c.removed.is_(None), sa.or_(pool.c.host_id == host.c.id, pool.c.host_id.is_(None)))
        .where(sa.or_(pool.c.cluster_id == host.c.cluster_id, pool.c.cluster_id.is_(None)))
        .order_by(host.c.id, pool.c.id)
    )
    for place in places:
        if template.kind not in SYSTEM_KINDS or template.hypervisor in place.facts.get("hypervisors", ()):
            _want_at(tx, template, place.id, place.pool_id)


def _want_at(tx: Tx, template: Row, host_id: int, pool_id: int) -> None:
    table = tables.pool_image
    name_ = template.sha256 or f"of-{template.id}"  # until the bytes have a name
    there = tx.one(sa.select(table).where(table.c.host_id == host_id, table.c.pool_id == pool_id, table.c.sha256 == name_))
    if there is None:
        id_ = tx.insert(
            table, template_id=template.id, pool_id=pool_id, host_id=host_id, sha256=name_, created=tx.now
        )  # fmt: skip
    else:
        id_ = there.id
    if there is None or there.state != "ready":
        turns.wish(tx, "image", id_, host=host_id)


def has_come(tx: Tx, id_: int) -> None:
    """The bytes are there. Of a template of system VMs the host has yet to take what is in them."""
    row = tx.get(tables.pool_image, id_)
    template = tx.get(tables.template, row.template_id) if row is not None else None
    state = "fetched" if template is not None and template.kind in SYSTEM_KINDS else "ready"
    tx.update(tables.pool_image, id_, state=state, progress=1.0, note="")


def installed(tx: Tx, id_: int, version: str) -> None:
    """The host can start system VMs of it."""
    row = tx.get(tables.pool_image, id_)
    if row is not None:
        tx.update(tables.template, row.template_id, version=version)
        tx.update(tables.pool_image, id_, state="ready", note="")


LOST = """
select i.id, t.version from pool_image i join template t on t.id = i.template_id
where i.host_id = :host and i.state = 'ready' and t.kind in ('SYSTEM', 'ROUTING')
"""


def reported(tx: Tx, host_id: int, versions: tuple[str, ...]) -> None:
    """A host has said which templates of system VMs it has: what it lost it shall take in again."""
    for id_, version in tx.sql(LOST, host=host_id):
        if version not in versions:
            tx.update(tables.pool_image, id_, state="wanted")
            turns.wish(tx, "image", id_, host=host_id)


def of_zone(tx: Tx, template_id: int, zone_id: int) -> list[Row]:
    """Where on primary storage of the zone a template is, or is on its way to."""
    image, pool, host = tables.pool_image, tables.storage_pool, tables.host
    found = (
        sa.select(image, pool.c.name.label("pool_name"), host.c.name.label("host_name"))
        .join(pool, pool.c.id == image.c.pool_id)
        .join(host, host.c.id == image.c.host_id)
        .where(image.c.template_id == template_id, host.c.zone_id == zone_id, host.c.removed.is_(None))
    )
    return list(tx.all(found.order_by(image.c.id)))


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
