"""An image store's turn: now and then everything on it is read and compared with its SHA-256; what is damaged comes anew.

A secondary storage VM reads (`agent/roles/secstorage/scrub.py`) and sets aside what has other bytes. Then the copy of that image
is to be downloaded again: from another zone that has it, by its SHA-256, else from its own source. An alert tells of it, and of
what nobody can bring anew. Races thought of: an answer that is lost is asked for again, and names the same images; a copy that is
being brought anew already is left alone.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import asking
from sysvm.store import tables
from sysvm.store.queries import alerts, fleets, image_links, jobs, settings, snapshot_copies, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import LONGEST_SLEEP_S, Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import secstorage
from sysvm.systemvms.fleet import least_loaded
from sysvm.wire.channel import Scrub, Scrubbed
from sysvm.wire.machines import Kind

DAY_S = 24 * 3600.0
LOOK_S = 2.0


async def work(context: Context, turn: Turn) -> Outcome:
    """One look."""
    store = await context.store.read(lambda tx: tx.get(tables.image_store, turn.id))
    if store is None or store.removed is not None:
        return Gone()
    days = await context.store.read(lambda tx: float(settings.value(tx, "secstorage.scrub.interval")))
    wait = secstorage.scrub_in(store.scrubbed, context.clock.now(), days * DAY_S)
    if wait > 0:
        return Result(min(wait, LONGEST_SLEEP_S), lambda tx: jobs.settle(tx, "scrub", turn.id, turn.wish, "ready"))
    machine = await context.store.read(lambda tx: _machine(tx, store))
    body = Scrub(store=store.uuid, mend=not store.read_only)
    try:
        found = await asking.ask(context, turn, machine, f"scrub-{store.uuid}", body, Scrubbed)
    except Refused as refused:
        raise NotYet(LONGEST_SLEEP_S, f"image store {store.name} could not be read through: {refused.text}") from refused
    if found is None:
        return Result(LOOK_S)
    return Result(0.0, lambda tx: _done(tx, store, found))


def _machine(tx: Tx, store: Row) -> int:
    here = fleets.living(tx, store.zone_id, Kind.SECONDARY_STORAGE)
    chosen = least_loaded(fleets.members(tx, here))
    if chosen is None:
        raise NotYet(30, "no secondary storage VM of the zone is up yet")
    return chosen.id


def _done(tx: Tx, store: Row, found: Scrubbed) -> None:
    tx.update(tables.image_store, store.id, scrubbed=tx.now)
    for image in found.damaged:
        _say(tx, store, f"the bytes of {_mend(tx, store, image)}")


def _mend(tx: Tx, store: Row, image: str) -> str:
    """Orders it anew where somebody has it; what it is and what becomes of it, in words."""
    template = tx.one(sa.select(tables.template).where(tables.template.c.uuid == image))
    copy = tables.template_copy
    if template is None or (template.kind == snapshot_copies.KIND and not _has_copy(tx, template, store)):
        return _others(tx, image)
    name = f"{_word(template)} {template.name} ({image}) are damaged"
    here = sa.select(copy).where(
        copy.c.template_id == template.id,
        copy.c.store_id == store.id,
        copy.c.removed.is_(None),
        copy.c.wanted.is_(True),
    )
    elsewhere = [there for there in image_links.everywhere(tx, template) if there.zone_id != store.zone_id]
    if store.read_only:
        return f"{name}; the store is read-only, so nothing is mended"
    if not elsewhere and not template.url:
        _forget(tx, tx.all(here))
        return f"{name}, and nobody else has them: delete it, and bring it anew"
    _forget(tx, tx.all(here), again=True)
    return f"{name}; they are brought anew from {'another zone' if elsewhere else 'its source'}"


def _forget(tx: Tx, copies: Sequence[Row], *, again: bool = False) -> None:
    """The copy is not there any more. It shall come again, or nobody can say from where."""
    state = {"state": "NOT_DOWNLOADED", "error": ""} if again else {
        "state": "DOWNLOAD_ERROR", "error": "its bytes were damaged in the image store",
    }  # fmt: skip
    for copy in copies:
        if copy.state == image_links.STORED:
            tx.update(tables.template_copy, copy.id, progress=0.0, tries=0, machine_id=None, **state)
            turns.wish(tx, "template", copy.id)


def _word(template: Row) -> str:
    return {snapshot_copies.KIND: "snapshot"}.get(template.kind, "ISO" if template.is_iso else "template")


def _has_copy(tx: Tx, template: Row, store: Row) -> bool:
    """A snapshot's own zone has it, and no copy of it."""
    where = "template_id = :template and store_id = :store and removed is null limit 1"
    return bool(tx.rows(tables.template_copy, where, template=template.id, store=store.id))


def _others(tx: Tx, image: str) -> str:
    row = tx.one(sa.select(tables.snapshot).where(tables.snapshot.c.uuid == image))
    if row is None:
        return f"image {image} are damaged; no record knows it"
    name = f"snapshot {row.name} ({image}) are damaged"
    for copy in snapshot_copies.wanted(tx, row.id):
        zone = tx.get(tables.zone, copy.zone_id)
        if zone is not None and snapshot_copies.is_whole(tx, row, zone.id):
            return f"{name}; zone {zone.name} has a copy, of which createVolume and createTemplate can still make something"
    return f"{name}, and nobody else has them: take another one, and delete it"


def _say(tx: Tx, store: Row, text: str) -> None:
    alerts.raise_alert(tx, AlertType.STORAGE_MISC, f"Image store {store.name}: {text}", zone=store.zone_id)


def complain(tx: Tx, id_: int, why: str) -> None:
    """A store that could not be read through is looked at again."""
    store = tx.get(tables.image_store, id_)
    if store is not None and "could not be read through" in why:
        alerts.raise_alert(tx, AlertType.STORAGE_MISC, why, zone=store.zone_id)
