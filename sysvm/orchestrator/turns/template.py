"""A template copy's turn: the bytes of a template or ISO come to the zone's secondary storage, or go from it.

The work is a named task in the ledger of a secondary storage VM: started once, found again after any crash of anybody,
looked at until it ends. If that machine is gone for good another one starts it anew.
"""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, NotYet, Refused, Unreachable
from sysvm.basics.log import get_logger
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import (
    alerts,
    events,
    fleets,
    image_links,
    jobs,
    machines,
    settings,
    snapshot_copies,
    turns,
    volume_images,
)
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import secstorage
from sysvm.systemvms.fleet import least_loaded, with_room
from sysvm.wire import channel, link
from sysvm.wire.machines import Kind, OperationSeen, OperationState

POLL_S = 2.0
QUEUE_S = 3.0
READ_S = 5.0
DELETE_AGAIN_S = 60.0
SETTLED_S = 600.0
OVER = ("DOWNLOADED", "DOWNLOAD_ERROR", "UPLOAD_ERROR")

TITLES = {volume_images.KIND: "Volume", snapshot_copies.KIND: "Snapshot"}
EVENTS = {volume_images.KIND: "VOLUME.UPLOAD", snapshot_copies.KIND: "SNAPSHOT.COPY"}

log = get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """What the turn needs to know."""

    copy: Row
    template: Row
    store: Row
    machine: Row
    placement: Row

    @property
    def is_upload(self) -> bool:
        """Somebody shall bring the bytes."""
        return self.copy.state in image_links.UPLOADING

    @property
    def done(self) -> str:
        """What becomes of it, in a word."""
        return "uploaded" if self.is_upload else "downloaded"

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{TITLES.get(self.template.kind, 'Template')} {self.template.name}"

    @property
    def name(self) -> str:
        """The work's name in the agent's ledger; a new try is a new name, and so is the same work begun anew."""
        return f"download-{self.template.uuid}-{self.copy.tries}-{int(self.copy.begun or 0)}"


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at the download (or the deletion)."""
    copy = await context.store.read(lambda tx: tx.get(tables.template_copy, turn.id))
    if copy is None or copy.removed is not None:
        return Gone()
    if copy.wanted and copy.state in OVER:
        return Result(SETTLED_S, lambda tx: _settle(tx, turn))
    if not copy.wanted and not await context.store.read(lambda tx: _is_stored(tx, copy)):
        await _forget_download(context, turn, copy)
        return Gone(lambda tx: _deleted(tx, turn))
    job = await context.store.run(lambda tx: load(tx, turn.id))
    if copy.wanted:
        return await _download(context, turn, job)
    if await context.store.read(lambda tx: snapshot_copies.is_read(tx, copy)):
        return Result(READ_S)
    return await _delete(context, turn, job)


def load(tx: Tx, id_: int) -> Job:
    """Chooses store and secondary storage VM where that has not been done. Raises NotYet while there is none."""
    copy = tx.get(tables.template_copy, id_)
    assert copy is not None
    template = tx.get(tables.template, copy.template_id)
    assert template is not None
    store = _store(tx, copy)
    machine = _machine(tx, copy)
    if copy.store_id != store.id or copy.machine_id != machine.id:
        begun = copy.begun if copy.machine_id == machine.id else tx.now
        tx.update(tables.template_copy, id_, store_id=store.id, machine_id=machine.id, begun=begun)
        copy = tx.get(tables.template_copy, id_)
        assert copy is not None
    placement = machines.current_placement(tx, machine)
    if placement is None:
        raise NotYet(2, f"secondary storage VM {machine.name} is being placed")
    return Job(copy, template, store, machine, placement)


def _store(tx: Tx, copy: Row) -> Row:
    table = tables.image_store
    if copy.store_id is not None:
        store = tx.get(table, copy.store_id)
        if store is not None and store.removed is None:
            return store
    store = tx.one(
        sa.select(table)
        .where(table.c.zone_id == copy.zone_id, table.c.removed.is_(None), table.c.read_only.is_(False))
        .order_by(table.c.id)
    )
    if store is None:
        raise NotYet(30, "the zone has no writable image store that can be used; add one with addImageStore")
    return store


def _machine(tx: Tx, copy: Row) -> Row:
    """The one that has the work already, while it lives; else the least loaded one that serves and has room.

    Deleting is asked of any: it is over in a moment, and makes room.
    """
    here = fleets.living(tx, copy.zone_id, Kind.SECONDARY_STORAGE)
    running = {row.id: row for row in here if row.wanted == "running"}
    if copy.machine_id in running:
        return running[copy.machine_id]
    members = fleets.members(tx, list(running.values()))
    any_one = least_loaded(members)
    if any_one is None:
        raise NotYet(2, "no secondary storage VM of the zone is up yet")
    chosen = with_room(members, int(settings.value(tx, "secstorage.session.max"))) if copy.wanted else any_one
    if chosen is None:
        raise NotYet(QUEUE_S, "all secondary storage VMs of the zone are at work: it waits for room")
    return running[chosen.id]


# ---------------------------------------------------------------- download
async def _download(context: Context, turn: Turn, job: Job) -> Outcome:
    if not job.machine.document_live:
        raise NotYet(1, f"secondary storage VM {job.machine.name} is not configured yet")
    body = await context.store.read(lambda tx: _body(tx, job, context.keys.ticket_key))
    await edge("template before task")
    seen = await ask(context, turn, job, channel.RunTask(name=job.name, body=body))
    match seen.state:
        case OperationState.RUNNING:
            return Result(POLL_S, lambda tx: _progress(tx, turn.id, job, seen.progress))
        case OperationState.FAILED:
            elsewhere = isinstance(body, channel.Download) and bool(body.peer and job.template.url)
            pause = secstorage.try_again(job.copy.tries + 1, seen.error, elsewhere=elsewhere)
            if pause is not None and not job.is_upload:
                return Result(pause, lambda tx: _postpone(tx, turn, job, seen.error, pause))
            await forget(context, turn, job, job.name)
            return Result(SETTLED_S, lambda tx: _failed(tx, turn, job, seen.error))
        case OperationState.DONE:
            assert seen.result is not None
            got = msgspec.msgpack.decode(seen.result, type=channel.Downloaded)
            return Result(SETTLED_S, lambda tx: _downloaded(tx, turn, job, got))


def _body(tx: Tx, job: Job, key: str) -> channel.Download | channel.TakeUpload:
    """How the bytes shall come."""
    store, image = job.store.uuid, job.template.uuid
    form, checksum = job.template.format.upper(), job.template.checksum or ""
    if job.is_upload:
        expires = image_links.upload_until(tx, job.copy)
        return channel.TakeUpload(store=store, image=image, format=form, checksum=checksum, expires=expires)
    url, address = job.template.url, ""
    if secstorage.asks_peer(job.copy.tries, has_source=bool(url)):
        peer = image_links.peer(tx, key, job.template, job.copy.zone_id)
        if peer is not None:
            url, address, checksum = peer.url, peer.address, f"{{SHA-256}}{peer.sha256}"
    if not url:
        raise NotYet(30, "no zone that has the image serves it now")
    return channel.Download(store=store, image=image, url=url, format=form, checksum=checksum, peer=address)


async def ask(context: Context, turn: Turn, job: Job, body: channel.RunTask) -> OperationSeen:
    """How far the work is; the first time it begins."""
    return await context.links.to(job.placement.host_id).call(_order(turn, job, body), OperationSeen)


async def forget(context: Context, turn: Turn, job: Job, name: str) -> None:
    """The work is not there any more, nor what it has brought if it is not done: the next try may have the same name."""
    order = _order(turn, job, channel.ForgetTask(name=name))
    await context.links.to(job.placement.host_id).call(order, link.Nothing)


def _order(turn: Turn, job: Job, body: channel.AgentCallBody) -> link.ToAgent:
    return link.ToAgent(machine=job.machine.uuid, incarnation=job.placement.incarnation, fence=turn.fence, body=body)


def _progress(tx: Tx, id_: int, job: Job, progress: float) -> None:
    state = "DOWNLOAD_IN_PROGRESS"
    if job.is_upload:
        state = image_links.UPLOADING[progress > 0]
    tx.update(tables.template_copy, id_, state=state, progress=100 * progress, error="")
    volume_images.follow(tx, job.template, id_)


def _downloaded(tx: Tx, turn: Turn, job: Job, got: channel.Downloaded) -> None:
    tx.update(
        tables.template_copy,
        turn.id,
        state="DOWNLOADED",
        progress=100.0,
        error="",
        size_bytes=got.size,
        sha256=got.sha256,
    )
    tx.update(tables.template, job.template.id, size_bytes=got.size, virtual_bytes=got.virtual_size, sha256=got.sha256)
    volume_images.follow(tx, job.template, turn.id)
    _say(
        tx,
        job,
        "SUCCESS",
        "INFO",
        f"{job.title} is {job.done}, SHA-256 {got.sha256}{_saved(got)}",
    )
    _settle(tx, turn)
    _stir_guests(tx, job.template.id)


def _saved(got: channel.Downloaded) -> str:
    return f"; {got.saved} of its {got.size} bytes were there already" if got.saved else ""


def _stir_guests(tx: Tx, template_id: int) -> None:
    """Guests that wait for the template."""
    table = tables.machine
    waiting = sa.select(table.c.id).where(table.c.template_id == template_id, table.c.removed.is_(None))
    for (id_,) in tx.all(waiting):
        turns.look_again(tx, "machine", id_)


def _postpone(tx: Tx, turn: Turn, job: Job, why: str, pause: float) -> None:
    """The next try is by whichever secondary storage VM is the best one then."""
    tries, most = job.copy.tries + 1, len(secstorage.RETRY_PAUSES_S) + 1
    error = f"try {tries} of {most} failed, the next is in {pause:.0f} s: {why}"
    tx.update(tables.template_copy, turn.id, state="NOT_DOWNLOADED", progress=0.0, error=error, tries=tries, machine_id=None)
    volume_images.follow(tx, job.template, turn.id)
    _say(tx, job, "FAILED", "WARN", f"{job.title} could not be downloaded yet: {error}")


def _failed(tx: Tx, turn: Turn, job: Job, why: str) -> None:
    state = "UPLOAD_ERROR" if job.is_upload else "DOWNLOAD_ERROR"
    tx.update(tables.template_copy, turn.id, state=state, error=why, tries=job.copy.tries + 1)
    volume_images.follow(tx, job.template, turn.id)
    text = f"{job.title} could not be {job.done}: {why}"
    _say(tx, job, "FAILED", "ERROR", text)
    if not job.is_upload:  # who uploads sees it; nobody else can do anything about it
        alerts.raise_alert(tx, AlertType.STORAGE_MISC, text, zone=job.copy.zone_id)
    jobs.fail(tx, "template", turn.id, why)


def _say(tx: Tx, job: Job, what: str, level: str, text: str) -> None:
    template = job.template
    type_, thing = f"TEMPLATE.DOWNLOAD.{what}", "Template"
    if template.is_iso:
        type_, thing = f"ISO.DOWNLOAD.{what}", "Iso"
    if template.kind in EVENTS:
        type_, thing = EVENTS[template.kind], TITLES[template.kind]
    actor = Actor(1, template.account_id, template.domain_id, template.domain_path)
    about = About(thing, template.id, template.uuid, template.name)
    events.record(tx, type_, text, actor=actor, about=about, level=level)


def _settle(tx: Tx, turn: Turn) -> None:
    copy = tx.get(tables.template_copy, turn.id)
    assert copy is not None
    if copy.state == "DOWNLOADED":
        jobs.settle(tx, "template", turn.id, turn.wish, "ready")
    else:
        jobs.fail(tx, "template", turn.id, copy.error)


# ---------------------------------------------------------------- deletion
def _is_stored(tx: Tx, copy: Row) -> bool:
    """Whether there are bytes that somebody must delete."""
    store = tx.get(tables.image_store, copy.store_id) if copy.store_id is not None else None
    return copy.state == "DOWNLOADED" and store is not None and store.removed is None


async def _forget_download(context: Context, turn: Turn, copy: Row) -> None:
    """Ends a download that is under way, or waits for its next try. Its partial file goes with it, or when it is old."""
    if copy.machine_id is None and not copy.tries:
        return
    try:
        job = await context.store.run(lambda tx: load(tx, turn.id))
        await forget(context, turn, job, job.name)
        if copy.tries:
            await ask(context, turn, job, _deletion(job))
    except (NotYet, Unreachable, Broken, Refused) as why:
        log.info("download_left_to_itself", copy=turn.id, why=str(why))


async def _delete(context: Context, turn: Turn, job: Job) -> Outcome:
    task = _deletion(job)
    seen = await ask(context, turn, job, task)
    if seen.state is OperationState.RUNNING:
        return Result(POLL_S)
    if seen.state is OperationState.FAILED:
        await forget(context, turn, job, task.name)
        return Result(DELETE_AGAIN_S, lambda tx: _not_deleted(tx, job, seen.error))
    return Gone(lambda tx: _deleted(tx, turn))


def _not_deleted(tx: Tx, job: Job, why: str) -> None:
    """Whoever waits for it sees nothing of the copy any more, so that an alert has the reason."""
    text = f"{job.title} could not be deleted from image store {job.store.name}: {why}"
    alerts.raise_alert(tx, AlertType.STORAGE_MISC, f"{text}; it is tried again each minute", zone=job.copy.zone_id)


def _deletion(job: Job) -> channel.RunTask:
    """The image may come again, and be deleted again."""
    body = channel.DeleteImage(store=job.store.uuid, image=job.template.uuid)
    return channel.RunTask(name=f"delete-{job.template.uuid}-{job.copy.id}", body=body)


def _deleted(tx: Tx, turn: Turn) -> None:
    tx.update(tables.template_copy, turn.id, removed=tx.now)
    jobs.settle(tx, "template", turn.id, turn.wish, "gone")


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason is the copy's status text."""
    copy = tx.get(tables.template_copy, id_)
    if copy is not None and copy.state not in OVER and copy.error != why:
        tx.update(tables.template_copy, id_, error=why)
