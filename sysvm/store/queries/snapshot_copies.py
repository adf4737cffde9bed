"""Snapshots in other zones than their volume's: wanting and unwanting them, where their bytes are, and who needs those.

A copy is wanted by a row of `snapshot_copy`. Its bytes are those of the snapshot's whole chain, a file each, as the first zone
has them: a row of `template` of kind SNAPSHOT with that snapshot's UUID stands for a file, so that it comes as templates do
(chunks that the zone lacks, tries, secondary storage VMs that die). Nobody lists it or deploys of it. A file that two copies
of a zone have in common is there once, and stays as long as one of them is wanted. Copies go with their snapshot: its turn drops
them, whoever has removed it (orchestrator/turns/snapshot.py).
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_links, snapshots, templates
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

KIND = image_links.SNAPSHOT
Place = tuple[int, int]  # ids of snapshot and zone

READERS = """
select s.source_id from snapshot s
    where s.source_id is not null and s.zone_id = :zone and s.state <> 'Error' and s.removed is null
union select v.snapshot_id from volume v
    where v.snapshot_id is not null and v.zone_id = :zone and v.state = 'Creating' and v.removed is null
"""


# ---------------------------------------------------------------- wanting
def wanted(tx: Tx, snapshot_id: int, zone_id: int | None = None) -> Sequence[Row]:
    """Copies of a snapshot, in one zone or all."""
    where = "snapshot_id = :snapshot and removed is null"
    found = tx.rows(tables.snapshot_copy, f"{where} order by id", snapshot=snapshot_id)
    return [row for row in found if zone_id in (None, row.zone_id)]


def want(tx: Tx, snapshot: Row, zone_id: int) -> tuple[Part, ...]:
    """The zone shall have the snapshot. What could not be brought before is tried again."""
    if not wanted(tx, snapshot.id, zone_id):
        tx.insert(tables.snapshot_copy, snapshot_id=snapshot.id, zone_id=zone_id, created=tx.now)
    return tuple(_want_file(tx, file, zone_id) for file in snapshots.chain(tx, snapshot))


def _want_file(tx: Tx, file: Row, zone_id: int) -> Part:
    image = _image(tx, file)
    for copy in _files(tx, file.uuid, zone_id):
        if not copy.wanted:
            raise Refused(f"Snapshot {file.name} is just being deleted in that zone; copy it again later", Why.IN_USE)
        if copy.state == "DOWNLOAD_ERROR":
            tx.update(tables.template_copy, copy.id, state="NOT_DOWNLOADED", error="", tries=0, machine_id=None)
    return templates.want_copy(tx, image, zone_id)


def _image(tx: Tx, file: Row) -> int:
    table = tables.template
    found: int | None = tx.value(sa.select(table.c.id).where(table.c.uuid == file.uuid, table.c.kind == KIND))
    if found is not None:
        tx.update(table, found, removed=None)
        return found
    owner = {name: getattr(file, name) for name in ("account_id", "domain_id", "domain_path")}
    return tx.insert(
        table, uuid=file.uuid, name=file.name, display_text=file.name, kind=KIND, format="QCOW2",
        size_bytes=file.size_bytes, virtual_bytes=file.virtual_bytes, sha256=file.sha256, created=tx.now, **owner,
    )  # fmt: skip


def drop(tx: Tx, snapshot: Row, zone_id: int | None = None) -> tuple[Part, ...]:
    """Nobody wants the copies any more, in one zone or all; files that no other copy needs go."""
    parts: list[Part] = []
    for copy in wanted(tx, snapshot.id, zone_id):
        tx.update(tables.snapshot_copy, copy.id, removed=tx.now)
        needed = _needed(tx, snapshot.volume_id, copy.zone_id)
        for file in snapshots.chain(tx, snapshot):
            if file.id not in needed:
                parts += _drop_file(tx, file, copy.zone_id)
    return tuple(parts)


def _drop_file(tx: Tx, file: Row, zone_id: int) -> tuple[Part, ...]:
    table = tables.template
    image = tx.one(sa.select(table).where(table.c.uuid == file.uuid, table.c.kind == KIND))
    if image is None:
        return ()
    parts = templates.drop_copies(tx, image.id, zone_id)
    if not templates.copies(tx, image.id):
        tx.update(table, image.id, removed=tx.now)
    return parts


def _needed(tx: Tx, volume_id: int, zone_id: int) -> set[int]:
    """The files that copies in a zone are made of, of snapshots of one volume."""
    copy, snapshot = tables.snapshot_copy, tables.snapshot
    there = sa.select(copy.c.snapshot_id).where(copy.c.zone_id == zone_id, copy.c.removed.is_(None))
    heads = tx.all(sa.select(snapshot).where(snapshot.c.id.in_(there), snapshot.c.volume_id == volume_id))
    return {file.id for head in heads for file in snapshots.chain(tx, head)}


# ---------------------------------------------------------------- where the bytes are
def _files(tx: Tx, uuid: str, zone_id: int) -> Sequence[Row]:
    """Copies of one file in a zone, those that are about to be deleted as well."""
    copy, image = tables.template_copy, tables.template
    mine = sa.select(image.c.id).where(image.c.uuid == uuid, image.c.kind == KIND)
    here = sa.select(copy).where(copy.c.template_id.in_(mine), copy.c.zone_id == zone_id, copy.c.removed.is_(None))
    return tx.all(here.order_by(copy.c.wanted.desc(), copy.c.id))


def store_of(tx: Tx, file: Row, zone_id: int) -> int | None:
    """The image store on which a zone has a file of a chain; None while it has not."""
    if zone_id == file.zone_id:
        return int(file.store_id) if file.store_id is not None else None
    stored = [copy for copy in _files(tx, file.uuid, zone_id) if copy.state == image_links.STORED]
    return int(stored[0].store_id) if stored else None


def stored_in(tx: Tx, snapshot: Row, zone_id: int) -> image_links.Stored | None:
    """The snapshot's own file as a zone has it; None while it has not."""
    store = tx.get(tables.image_store, found) if (found := store_of(tx, snapshot, zone_id)) is not None else None
    if store is None:
        return None
    file = image_links.file_name(snapshot.name, "qcow2")
    return image_links.Stored(snapshot.uuid, snapshot.sha256, store.uuid, zone_id, file)


def to_come(tx: Tx, snapshot: Row) -> int:
    """Bytes of the chain that no other zone has yet: what one more copy adds to what its owner has stored."""
    table = tables.template
    chain = snapshots.chain(tx, snapshot)
    here = sa.select(table.c.uuid).where(
        table.c.uuid.in_([file.uuid for file in chain]), table.c.kind == KIND, table.c.removed.is_(None)
    )
    known = {row.uuid for row in tx.all(here)}
    return sum(file.size_bytes for file in chain if file.uuid not in known)


def is_whole(tx: Tx, snapshot: Row, zone_id: int) -> bool:
    """Whether the zone has all of it, and it is wanted there."""
    if zone_id == snapshot.zone_id:
        return bool(snapshot.state == "BackedUp")
    return states(tx, [(snapshot.id, zone_id)]).get((snapshot.id, zone_id)) == "BackedUp"


def is_read(tx: Tx, copy: Row) -> bool:
    """Whether a volume or a template is being made of a chain that the file is in, in its zone."""
    image = tx.get(tables.template, copy.template_id)
    if image is None or image.kind != KIND:
        return False
    for (head_id,) in tx.sql(READERS, zone=copy.zone_id):
        head = tx.get(tables.snapshot, head_id)
        if head is not None and any(file.uuid == image.uuid for file in snapshots.chain(tx, head)):
            return True
    return False


# ---------------------------------------------------------------- states
def states(tx: Tx, places: Iterable[Place]) -> dict[Place, str]:
    """Copying, BackedUp or Error of each copy, in as few questions as for one."""
    asked = list(places)
    if not asked:
        return {}
    snapshot = tables.snapshot
    volumes = sa.select(snapshot.c.volume_id).where(snapshot.c.id.in_({id_ for id_, _ in asked}))
    family = tx.all(sa.select(snapshot.c.id, snapshot.c.uuid, snapshot.c.parent_id).where(snapshot.c.volume_id.in_(volumes)))
    by_id = {row.id: row for row in family}
    files = _file_states(tx, {zone for _, zone in asked}, [row.uuid for row in family])
    return {(id_, zone): _state([files.get((uuid, zone)) for uuid in _chain(by_id, id_)]) for id_, zone in asked}


def _chain(by_id: dict[int, Row], id_: int | None) -> list[str]:
    found = []
    while id_ is not None:
        found.append(by_id[id_].uuid)
        id_ = by_id[id_].parent_id
    return found


def _file_states(tx: Tx, zones: set[int], uuids: Sequence[str]) -> dict[tuple[str, int], str]:
    copy, image = tables.template_copy, tables.template
    rows = tx.all(
        sa.select(image.c.uuid, copy.c.zone_id, copy.c.state)
        .join(image, image.c.id == copy.c.template_id)
        .where(image.c.kind == KIND, image.c.uuid.in_(uuids), copy.c.zone_id.in_(zones))
        .where(copy.c.wanted.is_(True), copy.c.removed.is_(None))
    )
    return {(row.uuid, row.zone_id): row.state for row in rows}


def _state(files: Sequence[str | None]) -> str:
    if "DOWNLOAD_ERROR" in files:
        return "Error"
    return "BackedUp" if all(state == image_links.STORED for state in files) else "Copying"
