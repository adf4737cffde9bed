"""Primary storage and image stores: their rows with names and sizes, and what is on them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import snapshots, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx


def pools() -> sa.Select[Any]:
    """Pools with zone, pod, cluster and host, and the bytes promised to volumes."""
    pool, zone, pod = tables.storage_pool, tables.zone, tables.pod
    cluster, host, volume = tables.cluster, tables.host, tables.volume
    promised = (
        sa.select(sa.func.coalesce(sa.func.sum(volume.c.size_bytes), 0))
        .where(volume.c.pool_id == pool.c.id, volume.c.removed.is_(None))
        .correlate(pool)
        .scalar_subquery()
    )
    return (
        sa.select(
            pool,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
            cluster.c.uuid.label("cluster_uuid"),
            cluster.c.name.label("cluster_name"),
            host.c.address.label("host_address"),
            host.c.facts.label("host_facts"),
            promised.label("bytes_promised"),
        )
        .join(zone, zone.c.id == pool.c.zone_id)
        .outerjoin(pod, pod.c.id == pool.c.pod_id)
        .outerjoin(cluster, cluster.c.id == pool.c.cluster_id)
        .outerjoin(host, host.c.id == pool.c.host_id)
        .where(pool.c.removed.is_(None))
        .order_by(pool.c.id)
    )


def image_stores() -> sa.Select[Any]:
    """Image stores with their zone."""
    store, zone = tables.image_store, tables.zone
    return (
        sa.select(store, zone.c.uuid.label("zone_uuid"), zone.c.name.label("zone_name"))
        .outerjoin(zone, zone.c.id == store.c.zone_id)
        .where(store.c.removed.is_(None))
        .order_by(store.c.id)
    )


def hosts_of(tx: Tx, cluster_id: int) -> Sequence[Row]:
    """The living hosts of a cluster."""
    host = tables.host
    return tx.all(sa.select(host).where(host.c.cluster_id == cluster_id, host.c.removed.is_(None)).order_by(host.c.id))


def volumes_on(tx: Tx, pool_id: int) -> int:
    """How many volumes have their bytes on the pool."""
    volume = tables.volume
    count: int = tx.value(
        sa.select(sa.func.count())
        .select_from(volume)
        .where(volume.c.pool_id == pool_id, volume.c.removed.is_(None), volume.c.state != "Expunged")
    )
    return count


def machines_on(tx: Tx, pool_id: int) -> Sequence[Row]:
    """Machines that have a volume on the pool and shall run."""
    machine, volume = tables.machine, tables.volume
    theirs = sa.select(volume.c.machine_id).where(volume.c.pool_id == pool_id, volume.c.removed.is_(None))
    return tx.all(
        sa.select(machine)
        .where(machine.c.id.in_(theirs), machine.c.removed.is_(None), machine.c.wanted == "running")
        .order_by(machine.c.id)
    )


def writable_stores(tx: Tx, zone_id: int) -> Sequence[Row]:
    """Image stores of a zone that take new images."""
    store = tables.image_store
    return tx.all(
        sa.select(store)
        .where(store.c.removed.is_(None), store.c.read_only.is_(False))
        .where(sa.or_(store.c.zone_id == zone_id, store.c.zone_id.is_(None)))
        .order_by(store.c.id)
    )


def copies_on(tx: Tx, store_id: int) -> int:
    """How many images are wanted on an image store, or are on their way to it or from it."""
    copy = tables.template_copy
    here = sa.or_(copy.c.store_id == store_id, copy.c.wanted_store_id == store_id, copy.c.left_store_id == store_id)
    count: int = tx.value(
        sa.select(sa.func.count()).select_from(copy).where(here, copy.c.wanted.is_(True), copy.c.removed.is_(None))
    )
    return count


def snapshots_on(tx: Tx, store_id: int) -> int:
    """How many snapshots an image store has, or may have, bytes of; those that are deleted count until their bytes are."""
    snapshot = tables.snapshot
    here = sa.or_(
        sa.and_(snapshot.c.store_id == store_id, snapshot.c.stored.is_(True)),
        snapshot.c.wanted_store_id == store_id,
        snapshot.c.left_store_id == store_id,
    )
    return int(tx.value(sa.select(sa.func.count()).select_from(snapshot).where(here)))


def snapshots_coming(tx: Tx, store_id: int) -> bool:
    """Whether some are on their way from a host to the store."""
    where = "store_id = :store and state = 'BackingUp' and removed is null limit 1"
    return bool(tx.rows(tables.snapshot, where, store=store_id))


def snapshots_to_move(tx: Tx, store_id: int) -> Sequence[Row]:
    """Those that an image store has and that do not move already; deleted ones that later ones need as well. What its owner may
    download for a while, or what a volume is moved by, is over soon."""
    snapshot = tables.snapshot
    here = sa.select(snapshot).where(
        snapshot.c.store_id == store_id,
        snapshot.c.stored.is_(True),
        snapshot.c.state == "BackedUp",
        snapshot.c.kind.not_in(snapshots.CAPTURES),
        snapshot.c.wanted_store_id.is_(None),
        snapshot.c.left_store_id.is_(None),
    )
    return tx.all(here.order_by(snapshot.c.id))


def images_on(tx: Tx, store_id: int) -> Sequence[Row]:
    """The wanted copies on an image store that are not moving, arrived or not."""
    copy = tables.template_copy
    here = sa.select(copy).where(copy.c.store_id == store_id, copy.c.wanted.is_(True), copy.c.removed.is_(None))
    return tx.all(here.where(copy.c.wanted_store_id.is_(None)).order_by(copy.c.id))


def bytes_on(tx: Tx, store_id: int) -> int:
    """What images and snapshots on a store are in bytes, with those that are on their way to it."""
    copy = tables.template_copy
    there = sa.func.coalesce(copy.c.wanted_store_id, copy.c.store_id) == store_id
    total = sa.select(sa.func.coalesce(sa.func.sum(copy.c.size_bytes), 0))
    images = int(tx.value(total.where(there, copy.c.wanted.is_(True), copy.c.removed.is_(None))))
    snapshot = tables.snapshot
    there = sa.func.coalesce(snapshot.c.wanted_store_id, snapshot.c.store_id) == store_id
    total = sa.select(sa.func.coalesce(sa.func.sum(snapshot.c.size_bytes), 0))
    return images + int(tx.value(total.where(there, snapshot.c.stored.is_(True))))


def move_image(tx: Tx, copy_id: int, store_id: int) -> Part:
    """The image shall be on another store of its zone."""
    tx.update(tables.template_copy, copy_id, wanted_store_id=store_id, machine_id=None)
    return Part("template", copy_id, turns.wish(tx, "template", copy_id), "ready")


def move_snapshot(tx: Tx, row: Row, store_id: int) -> Part:
    """The same of a snapshot. A deleted one is there for those that need it."""
    tx.update(tables.snapshot, row.id, wanted_store_id=store_id)
    outcome = "gone" if row.removed is not None else "ready"
    return Part("snapshot", row.id, turns.wish(tx, "snapshot", row.id), outcome)
