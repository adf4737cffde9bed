"""The rows around a snapshot that is being taken, read and written for its turn (snapshot.py): where, since when, for what."""

from dataclasses import dataclass

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.turns import hosttasks
from sysvm.store import tables
from sysvm.store.queries import fleets, jobs, snapshots, turns, volumes
from sysvm.store.store import Row, Tx
from sysvm.systemvms.fleet import least_loaded
from sysvm.wire import link
from sysvm.wire.machines import Kind


@dataclass(frozen=True, slots=True)
class Taking:
    """What a host has to know."""

    host: int
    pool: str
    volume: str
    snapshot: str
    image: str  # its name in the store
    parent: str
    live: bool
    mark: bool  # a later snapshot will want to know what has changed since
    quiesce: bool
    chain: hosttasks.Chain | None


# ---------------------------------------------------------------- before
def begin(tx: Tx, id_: int) -> None:
    """Chooses the host and the parent, for one try. NotYet while the volume is not to be read."""
    row = tx.get(tables.snapshot, id_)
    assert row is not None
    volume = tx.get(tables.volume, row.volume_id)
    assert volume is not None
    if row.source_id is not None:
        host = volumes.some_host(tx, row.zone_id, volume.host_id)
        if host is None:
            raise NotYet(10, "no host of the zone is up that could read the snapshot")
        _take_at(tx, row, host, live=False, parent_id=None)
        return
    if volume.removed is not None:
        why = "the volume has been deleted meanwhile"
        tx.update(tables.snapshot, id_, state="Error", error=why, note=why)
        jobs.fail(tx, "snapshot", id_, why)
        return
    host = _host_of(tx, volume)
    _must_be_still(tx, row, volume)
    machine = tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    if machine is not None and machine.migrate_host_id is not None:
        raise NotYet(5, f"{machine.name} is being migrated to another host")
    parent = snapshots.parent_for(tx, volume) if row.kind not in snapshots.CAPTURES else None
    live = machine is not None and machine.wanted == "running"
    _take_at(tx, row, host, live=live, parent_id=parent.id if parent is not None else None)


def _take_at(tx: Tx, row: Row, host: Row, *, live: bool, parent_id: int | None) -> None:
    pool = volumes.pool_on(tx, host)
    if pool is None:
        raise NotYet(10, f"host {host.name} has no primary storage that is up")
    tx.update(
        tables.snapshot, row.id, state="Creating", host_id=host.id, pool_id=pool.id, live=live, parent_id=parent_id,
        staged=True,
    )  # fmt: skip


def _host_of(tx: Tx, volume: Row) -> Row:
    host = tx.get(tables.host, volume.host_id) if volume.host_id is not None else None
    if host is None or host.removed is not None:
        raise NotYet(10, f"volume {volume.name} is on no host")
    return host


def _must_be_still(tx: Tx, row: Row, volume: Row) -> None:
    still = "Migrating" if row.kind == snapshots.MOVE else "Ready"
    if volume.state != still or volume.revert_id is not None:
        raise NotYet(1, f"volume {volume.name} is {volume.state}: it is waited for")
    other = "volume_id = :volume and id <> :id and state = 'Creating' and removed is null limit 1"
    if tx.rows(tables.snapshot, other, volume=volume.id, id=row.id):
        raise NotYet(1, "another snapshot of the volume is being taken")


def taking(tx: Tx, row: Row) -> Taking | None:
    """What was chosen; None when the host is no more."""
    host = tx.get(tables.host, row.host_id) if row.host_id is not None else None
    pool = tx.get(tables.storage_pool, row.pool_id) if row.pool_id is not None else None
    volume = tx.get(tables.volume, row.volume_id)
    if host is None or host.removed is not None or pool is None or volume is None:
        return None
    parent = tx.get(tables.snapshot, row.parent_id) if row.parent_id is not None else None
    template = tx.get(tables.template, row.template_id) if row.template_id is not None else None
    source = tx.get(tables.snapshot, row.source_id) if row.source_id is not None else None
    return Taking(
        host=host.id,
        pool=pool.path,
        volume=volume.uuid,
        snapshot=row.uuid,
        image=template.uuid if template is not None else row.uuid,
        parent=parent.uuid if parent is not None else "",
        live=row.live,
        mark=row.kind not in snapshots.CAPTURES,
        quiesce=row.quiesce,
        chain=hosttasks.chain_of(tx, source, row.zone_id) if source is not None and row.state == "Creating" else None,
    )


def body(context: Context, what: Taking) -> link.HostTaskBody:
    """The host's order."""
    if what.chain is not None:
        return link.FlattenSnapshot(
            pool=what.pool, snapshot=what.snapshot, chain=hosttasks.sources(context, what.chain, what.pool)
        )
    return link.TakeSnapshot(
        pool=what.pool,
        volume=what.volume,
        snapshot=what.snapshot,
        parent=what.parent,
        live=what.live,
        mark=what.mark,
        quiesce=what.quiesce,
    )


# ---------------------------------------------------------------- after
def became_template(tx: Tx, row: Row) -> None:
    """The store has the bytes under the template's name. If nobody wants it any more, its own turn deletes them."""
    tx.update(tables.template, row.template_id, size_bytes=row.size_bytes, virtual_bytes=row.virtual_bytes, sha256=row.sha256)
    for copy in _copies(tx, row):
        tx.update(
            tables.template_copy, copy.id, state="DOWNLOADED", progress=100.0, error="", size_bytes=row.size_bytes,
            sha256=row.sha256, store_id=row.store_id,
        )  # fmt: skip
        turns.wish(tx, "template", copy.id)


def became_nothing(tx: Tx, row: Row, why: str) -> None:
    """The template has no bytes and will have none."""
    for copy in _copies(tx, row):
        tx.update(tables.template_copy, copy.id, state="DOWNLOAD_ERROR", error=why)


def goes_on(tx: Tx, row: Row) -> None:
    """The store has what moves: its volume is made of it at the other host."""
    volume = tx.get(tables.volume, row.volume_id)
    if volume is not None and volume.state == "Migrating":
        turns.wish(tx, "volume", volume.id, host=volume.move_host_id)


def stays(tx: Tx, row: Row, why: str) -> None:
    """The volume cannot be copied, so it does not move."""
    volume = tx.get(tables.volume, row.volume_id)
    if volume is not None and volume.state == "Migrating":
        volumes.stay(tx, volume)
        jobs.fail(tx, "volume", volume.id, why)


def _copies(tx: Tx, row: Row) -> list[Row]:
    where = "template_id = :template and zone_id = :zone and removed is null"
    return list(tx.rows(tables.template_copy, where, template=row.template_id, zone=row.zone_id))


@dataclass(frozen=True, slots=True)
class Deleting:
    """Who deletes the bytes."""

    host: int
    machine: str
    incarnation: int
    store: str


def deleting(tx: Tx, row: Row) -> Deleting | None:
    """A secondary storage VM of the zone; None when there is nothing to delete any more. NotYet while there is none."""
    store = tx.get(tables.image_store, row.store_id) if row.store_id is not None else None
    if store is None or store.removed is not None:
        return None
    here = fleets.living(tx, row.zone_id, Kind.SECONDARY_STORAGE)
    chosen = least_loaded(fleets.members(tx, [machine for machine in here if machine.wanted == "running"]))
    machine = tx.get(tables.machine, chosen.id) if chosen is not None else None
    where = "machine_id = :machine and incarnation = :incarnation and removed is null"
    placed = tx.rows(tables.placement, where, machine=machine.id, incarnation=machine.incarnation) if machine is not None else ()
    if machine is None or not placed:
        raise NotYet(2, "no secondary storage VM of the zone is up yet")
    return Deleting(placed[0].host_id, machine.uuid, machine.incarnation, store.uuid)
