"""Templates and ISOs: rows with their copies, who may see which, and wanting copies.

A template is one row; where its bytes are is a copy per zone. A copy's own turn downloads it. Deleting marks copies
unwanted; their turns clear the bytes away.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

# Images that come and go as templates do, and are none: of uploaded volumes, and of snapshots in other zones.
INNER = ("VOLUME", "SNAPSHOT")


def listing() -> sa.Select[Any]:
    """One row a template and zone, with the best copy there and the names around it."""
    template, copy, zone = tables.template, tables.template_copy, tables.zone
    account, domain, os, store = tables.account, tables.domain, tables.guest_os, tables.image_store
    live = sa.and_(copy.c.template_id == template.c.id, copy.c.wanted.is_(True), copy.c.removed.is_(None))
    return (
        sa.select(
            template,
            copy.c.id.label("copy_id"),
            copy.c.state.label("copy_state"),
            copy.c.progress.label("copy_progress"),
            copy.c.error.label("copy_error"),
            copy.c.size_bytes.label("copy_bytes"),
            copy.c.created.label("copy_created"),
            zone.c.id.label("zone_id"),
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            store.c.name.label("store_name"),
            account.c.uuid.label("account_uuid"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            os.c.uuid.label("os_uuid"),
            os.c.name.label("os_name"),
        )
        .outerjoin(copy, live)
        .outerjoin(zone, zone.c.id == copy.c.zone_id)
        .outerjoin(store, store.c.id == copy.c.store_id)
        .join(account, account.c.id == template.c.account_id)
        .join(domain, domain.c.id == template.c.domain_id)
        .outerjoin(os, os.c.id == template.c.guest_os_id)
        .where(template.c.kind.not_in(INNER))
        .order_by(template.c.sort_key, template.c.id, zone.c.id)
    )


def copies(tx: Tx, template_id: int, zone_id: int | None = None) -> Sequence[Row]:
    """Wanted copies of a template, in one zone or all."""
    copy = tables.template_copy
    wanted = sa.select(copy).where(copy.c.template_id == template_id, copy.c.wanted.is_(True), copy.c.removed.is_(None))
    if zone_id is not None:
        wanted = wanted.where(copy.c.zone_id == zone_id)
    return tx.all(wanted.order_by(copy.c.id))


def want_copy(tx: Tx, template_id: int, zone_id: int) -> Part:
    """The zone shall have a copy of the template; the turn picks its image store."""
    there = copies(tx, template_id, zone_id)
    if there:
        copy_id = there[0].id
    else:
        copy_id = tx.insert(tables.template_copy, template_id=template_id, zone_id=zone_id, created=tx.now)
    return Part("template", copy_id, turns.wish(tx, "template", copy_id), "ready")


def drop_copies(tx: Tx, template_id: int, zone_id: int | None = None) -> tuple[Part, ...]:
    """Nobody wants the template's copies any more."""
    parts = []
    for copy in copies(tx, template_id, zone_id):
        tx.update(tables.template_copy, copy.id, wanted=False)
        parts.append(Part("template", copy.id, turns.wish(tx, "template", copy.id), "gone"))
    return tuple(parts)


def users_of(tx: Tx, template_id: int, zone_id: int | None = None) -> int:
    """How many machines were made from the template, or have the ISO in their drive."""
    machine = tables.machine
    theirs = sa.or_(machine.c.template_id == template_id, machine.c.iso_id == template_id)
    found = sa.select(sa.func.count()).select_from(machine).where(theirs, machine.c.removed.is_(None))
    if zone_id is not None:
        found = found.where(machine.c.zone_id == zone_id)
    count: int = tx.value(found)
    return count


def cross_zone(tx: Tx) -> Sequence[Row]:
    """Templates that every zone shall have."""
    template = tables.template
    return tx.all(sa.select(template).where(template.c.cross_zones.is_(True), template.c.removed.is_(None)))


def shared_with(account_id: int) -> sa.ColumnElement[bool]:
    """Templates whose permissions name the account. The list is JSON text: [3, 17]."""
    text = sa.cast(tables.template.c.permissions, sa.Text)
    forms = (f"[{account_id}]", f"[{account_id},", f" {account_id},", f" {account_id}]")
    return sa.or_(*(text.contains(form) for form in forms))


def ready() -> sa.ColumnElement[bool]:
    """Whether the listed copy can be used."""
    copy = tables.template_copy
    return sa.and_(copy.c.state.in_(("DOWNLOADED", "BYPASSED")), copy.c.error == "")


def default_os(tx: Tx) -> int | None:
    """What a template is when nobody says what."""
    os = tables.guest_os
    found: int | None = tx.value(sa.select(os.c.id).where(os.c.name == "Other (64-bit)", os.c.removed.is_(None)))
    return found


def zones_with_store(tx: Tx) -> list[int]:
    """Zones that can have copies."""
    store = tables.image_store
    found = sa.select(store.c.zone_id).where(store.c.removed.is_(None), store.c.read_only.is_(False)).distinct()
    return [row.zone_id for row in tx.all(found) if row.zone_id is not None]
