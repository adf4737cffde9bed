"""Jobs: asynchronous API calls as rows. A job is done when each of its parts is.

A part says: (kind, thing) must have come to `outcome` for wish number `wish` or a later one. The release of a turn closes
parts in the same transaction in which it writes what it saw, so an outcome is never reported before it is true, nor
forgotten after. Two jobs may wait for one thing: a later wish serves the earlier job too when it brings the same outcome,
otherwise the earlier job fails as superseded. What is gone ends all jobs about it.

The result of a job is made when its last part closes, by the renderer that the API registered for its command
(`on_finish`), and is frozen then.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import events, settings
from sysvm.store.queries.events import About, Actor
from sysvm.store.store import Row, Tx

PENDING, DONE, FAILED = 0, 1, 2
OPEN, SATISFIED, FAILED_PART = 0, 1, 2
DEADLINE, EXPIRES = "job.cancel.threshold.minutes", "job.expire.minutes"

_ids: Ids = SystemIds()


@dataclass(frozen=True, slots=True)
class Part:
    """What a job waits for."""

    kind: str
    id: int
    wish: int
    outcome: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """An asynchronous call that has been accepted."""

    command: str
    actor: Actor
    parts: tuple[Part, ...]
    params: dict[str, Any]
    about: About
    event_type: str
    description: str
    uuid: str = ""  # chosen by the caller (injectedjobid), or empty
    secret: bool = False  # the result holds a secret: it is encrypted and expires


# Renders the result of a finished job: (tx, job row) -> JSON-able object. Registered once by the API.
Renderer = Callable[[Tx, Row], dict[str, Any]]
# Makes the text that is stored of (result, secret); the API's is encrypting.
_renderer: list[Renderer] = []


def on_finish(renderer: Renderer) -> None:
    """Registers how results are made."""
    _renderer[:] = [renderer]


def open_job(tx: Tx, new: NewJob) -> str:
    """Writes the job, its parts and its Scheduled event; the job's UUID. A job without parts is done at once."""
    start = events.record(
        tx, new.event_type, new.description, actor=new.actor, about=new.about, state="Scheduled"
    ) if new.event_type else None  # fmt: skip
    uuid = new.uuid or _ids.uuid()
    job = tx.insert(
        tables.job,
        uuid=uuid,
        command=new.command,
        user_id=new.actor.user_id,
        account_id=new.actor.account_id,
        domain_id=new.actor.domain_id,
        domain_path=new.actor.domain_path,
        params=new.params,
        instance_type=new.about.type,
        instance_uuid=new.about.uuid,
        instance_id=new.about.id,
        secret=new.secret,
        deadline=tx.now + _seconds(tx, DEADLINE),
        start_event=start,
        event_type=new.event_type,
        created=tx.now,
    )
    for part in new.parts:
        tx.insert(
            tables.job_part,
            job_id=job,
            kind=part.kind,
            thing_id=part.id,
            wish=part.wish,
            outcome=part.outcome,
            error="",
        )
    if start is not None:
        events.record(tx, new.event_type, new.description, actor=new.actor, about=new.about, state="Started", parent=start)
    _finish_if_over(tx, job)
    return uuid


def settle(tx: Tx, kind: str, id_: int, wish: int, outcome: str, *, most: int | None = None) -> bool:
    """(kind, id) has come to `outcome` and nothing newer than `wish` is wanted: closes the parts that waited.

    What is gone comes to nothing else, so that closes newer parts, too: a turn that was claimed before something was wished
    away, and looks after that, serves a wish whose number it does not know, and there will be no other turn.

    `most` bounds how many at once, so that a thousand jobs hold up nobody; False: some still wait.
    """
    waiting = [part for part in _open_parts(tx, kind, id_) if part.wish <= wish or outcome == "gone"]
    for part in waiting[:most]:
        if part.outcome == outcome or _serves(outcome, part.outcome):
            _close(tx, part, SATISFIED, "")
        else:
            _close(tx, part, FAILED_PART, f"superseded: it is now {outcome}, not {part.outcome}")
    return most is None or len(waiting) <= most


def fail(tx: Tx, kind: str, id_: int, why: str, *, outcome: str = "") -> None:
    """(kind, id) has been given up: the jobs that waited for it (for this outcome of it) fail with the reason."""
    for part in _open_parts(tx, kind, id_):
        if outcome in ("", part.outcome):
            _close(tx, part, FAILED_PART, why)


def _serves(outcome: str, wanted: str) -> bool:
    """A running machine whose document is live also satisfies who waited for the document only."""
    return outcome == "running" and wanted == "live"


def _open_parts(tx: Tx, kind: str, id_: int) -> list[Row]:
    return tx.rows(tables.job_part, "kind = :kind and thing_id = :id and state = 0 order by id", kind=kind, id=id_)


def _close(tx: Tx, part: Row, state: int, error: str) -> None:
    tx.update(tables.job_part, part.id, state=state, error=error)
    _finish_if_over(tx, part.job_id)


def _finish_if_over(tx: Tx, job_id: int) -> None:
    job = tx.get(tables.job, job_id)
    if job is None or job.status != PENDING:
        return
    table = tables.job_part
    parts = tx.all(sa.select(table.c.state, table.c.error).where(table.c.job_id == job_id))
    failed = next((part for part in parts if part.state == FAILED_PART), None)
    if failed is not None:
        _freeze(tx, job, FAILED, {"errorcode": 530, "errortext": failed.error}, 530)
    elif all(part.state == SATISFIED for part in parts):
        _freeze(tx, job, DONE, _renderer[0](tx, job) if _renderer else {"success": True}, 0)


def _freeze(tx: Tx, job: Row, status: int, result: dict[str, Any], code: int) -> None:
    tx.update(tables.job, job.id, status=status, result=json.dumps(result), result_code=code, completed=tx.now)
    if not job.event_type:
        return
    actor = Actor(job.user_id, job.account_id, job.domain_id, job.domain_path)
    about = About(job.instance_type, job.instance_id, job.instance_uuid)
    ok = status == DONE
    events.record(
        tx,
        job.event_type,
        f"Successfully completed {job.command}" if ok else f"Error while {job.command}: {result['errortext']}",
        actor=actor,
        about=about,
        level="INFO" if ok else "ERROR",
        parent=job.start_event,
    )


def forget_old(tx: Tx) -> None:
    """Jobs that ended long ago are not found any more, and what they said is kept nowhere."""
    table = tables.job
    old = sa.update(table).where(table.c.completed < tx.now - _seconds(tx, EXPIRES), table.c.removed.is_(None))
    tx.change(old.values(removed=tx.now, result=None))


def _seconds(tx: Tx, minutes: str) -> float:
    return 60.0 * float(settings.value(tx, minutes))


def overdue(tx: Tx) -> list[Row]:
    """Pending jobs whose deadline has passed."""
    table = tables.job
    return list(tx.all(sa.select(table).where(table.c.status == PENDING, table.c.deadline < tx.now).limit(100)))


def prolong(tx: Tx, kind: str, id_: int) -> None:
    """What (kind, id) has to do is going on: the jobs that wait for it have as long again. No copy is too large for that."""
    given = _seconds(tx, DEADLINE)
    later = tx.now + given
    tx.sql(
        "update job set deadline = :later where status = 0 and deadline < :soon and id in"
        " (select job_id from job_part where kind = :kind and thing_id = :id and state = 0)",
        later=later, soon=later - given / 4, kind=kind, id=id_,
    )  # fmt: skip


def open_parts_of(tx: Tx, job_id: int) -> list[Row]:
    """What a job still waits for."""
    table = tables.job_part
    return list(tx.all(sa.select(table).where(table.c.job_id == job_id, table.c.state == OPEN)))
