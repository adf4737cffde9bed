"""The public door of a zone's secondary storage, and the signed addresses that lead through it to one image.

A link holds all that it allows (see `wire/grants.py`), so making one writes nothing and nobody cleans up after it. Any
secondary storage VM of the zone serves all its stores; a link names the one with least to do now.
"""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import consoles, fleets, settings
from sysvm.store.store import Row, Tx
from sysvm.systemvms.consoleproxy import host_name
from sysvm.systemvms.fleet import least_loaded
from sysvm.wire.grants import LONGEST_TICKET, FetchTicket, sign_link
from sysvm.wire.machines import Kind

STORED = "DOWNLOADED"
SNAPSHOT = "SNAPSHOT"  # template.kind of a file of a snapshot's chain (queries/snapshot_copies.py)
UPLOADING = ("NOT_UPLOADED", "UPLOAD_IN_PROGRESS")  # before the first byte, and after it


def door(tx: Tx, zone_id: int) -> Row | None:
    """The secondary storage VM that users of the zone are sent to; None while there is none."""
    here = {row.id: row for row in fleets.living(tx, zone_id, Kind.SECONDARY_STORAGE)}
    reached = [member for member in fleets.members(tx, list(here.values())) if consoles.public_address(tx, member.id)]
    chosen = least_loaded(reached)
    return here[chosen.id] if chosen is not None else None


def root(tx: Tx, machine: Row, *, secure: bool) -> str:
    """How an address at this secondary storage VM begins."""
    domain = str(settings.value(tx, "secstorage.ssl.cert.domain", zone_id=machine.zone_id) or "")
    address = consoles.public_address(tx, machine.id)
    return f"{'https' if secure else 'http'}://{host_name(address, domain) if secure else address}"


def stored(tx: Tx, template_id: int, zone_id: int | None = None) -> list[tuple[Row, Row]]:
    """Copies whose bytes are there, each with its store; the oldest first."""
    copy, store = tables.template_copy, tables.image_store
    query = sa.select(copy).where(
        copy.c.template_id == template_id, copy.c.state == STORED, copy.c.sha256 != "",
        copy.c.wanted.is_(True), copy.c.removed.is_(None),
    )  # fmt: skip
    if zone_id is not None:
        query = query.where(copy.c.zone_id == zone_id)
    found = [(row, tx.get(store, row.store_id)) for row in tx.all(query.order_by(copy.c.id)) if row.store_id is not None]
    return [(row, kept) for row, kept in found if kept is not None and kept.removed is None]


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes on an image store."""

    image: str
    sha256: str
    store: str
    zone_id: int
    file: str  # what a browser calls it


def of_template(template: Row, copy: Row, store: Row) -> Stored:
    """A copy of a template or ISO."""
    return Stored(template.uuid, copy.sha256, store.uuid, copy.zone_id, file_name(template.name, template.format))


def of_snapshot(tx: Tx, snapshot: Row) -> Stored | None:
    """The bytes of a snapshot, or of a capture, in its own zone; None while they are not there."""
    store = tx.get(tables.image_store, snapshot.store_id) if snapshot.store_id is not None else None
    if store is None or store.removed is not None or not snapshot.stored or snapshot.state != "BackedUp":
        return None
    file = file_name(snapshot.name, "qcow2")
    return Stored(snapshot.uuid, snapshot.sha256, store.uuid, snapshot.zone_id, file)


def link(tx: Tx, key: str, what: Stored, machine: Row) -> str:
    """The address that these bytes can be fetched from, by anybody, until it expires."""
    expires = tx.now + link_seconds(tx)
    ticket = FetchTicket(store=what.store, image=what.image, sha256=what.sha256, expires=expires)
    secure = bool(settings.value(tx, "secstorage.encrypt.copy", zone_id=what.zone_id))
    return f"{root(tx, machine, secure=secure)}/userdata/{sign_link(key, ticket)}/{what.file}"


def link_seconds(tx: Tx) -> float:
    """How long a new address leads somewhere."""
    # A server's clock and the machine's are not the same one: a ticket of the longest life must not look longer there.
    return min(float(settings.value(tx, "extract.url.expiration.interval")), LONGEST_TICKET - 600)


@dataclass(frozen=True, slots=True)
class Peer:
    """A secondary storage VM of another zone that has the bytes."""

    url: str
    address: str
    sha256: str


def peer(tx: Tx, key: str, template: Row, zone_id: int) -> Peer | None:
    """Where a zone can take its copy from; None while no other zone has one and serves it."""
    for there in everywhere(tx, template):
        machine = door(tx, there.zone_id) if there.zone_id != zone_id else None
        if machine is not None:
            return Peer(link(tx, key, there, machine), consoles.public_address(tx, machine.id), there.sha256)
    return None


def everywhere(tx: Tx, template: Row) -> list[Stored]:
    """Where the image is; a snapshot's file first of all where it was taken."""
    found = [of_template(template, copy, store) for copy, store in stored(tx, template.id)]
    if template.kind == SNAPSHOT:
        taken = tx.rows(tables.snapshot, "uuid = :uuid", uuid=template.uuid)
        found = [there for row in taken if (there := of_snapshot(tx, row)) is not None] + found
    return found


def upload_until(tx: Tx, copy: Row) -> float:
    """When the bytes of an upload must have begun to come."""
    return float(copy.created + 60 * float(settings.value(tx, "upload.operation.timeout")))


def file_name(name: str, format_: str) -> str:
    """What a browser calls the file."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "image"
    return f"{plain[:100]}.{format_.lower()}"
