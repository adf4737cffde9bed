"""Turns: who works on what. Claims, releases and sessions, by the same SQL on SQLite and PostgreSQL.

A turn is free when nobody's session holds it, or that session is over. `fence` is raised by each claim; a worker that was
paused and wakes up late finds a higher one and changes nothing. `wish` counts changes of what is wanted, `stir` changes
of the world that somebody noticed: a release that sees other numbers than its claim makes the turn due at once, so that
nothing is slept over. Jobs wait for wishes only.

Not a lock: a paused owner may still act on a host. There the same fence stops it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysvm.store.store import Tx

SESSION_TTL_S = 5.0
SESSION_BEAT_S = 1.0
CLAIM_BATCH = 32
LONGEST_SLEEP_S = 600.0  # a due time further away than this is a clock that was set back


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed piece of work."""

    kind: str
    id: int
    fence: int
    tries: int
    wish: int
    stir: int


CLAIM = """
update turn set session = :session, fence = fence + 1, tries = tries + 1
where (kind, id) in (
    select kind, id from turn
    where due <= :now
      and (session is null or session not in (select id from session where until > :now))
      and (host is null or host in (select id from host where link_session = :session))
    order by due limit :batch {lock})
  and (session is null or session not in (select id from session where until > :now))
  and exists (select 1 from session where id = :session and until > :now)
returning kind, id, fence, tries, wish, stir
"""

RELEASE = """
update turn set session = null, tries = :tries,
    due = case when wish = :wish and stir = :stir then :due else 0 end
where kind = :kind and id = :id and fence = :fence and session = :session
returning wish, stir
"""

LEAVE = """
delete from turn where kind = :kind and id = :id and fence = :fence and session = :session
and wish = :wish and stir = :stir returning fence
"""

WISH = """
insert into turn (kind, id, due, session, fence, tries, wish, stir, host)
values (:kind, :id, :due, null, :fence, 0, 1, 0, :host)
on conflict (kind, id) do update set wish = turn.wish + 1, tries = 0, due = least_of(turn.due, :due),
    host = coalesce(excluded.host, turn.host)
returning wish
"""


def _statement(tx: Tx, text: str) -> str:
    postgres = tx.connection.dialect.name == "postgresql"
    least = "least" if postgres else "min"
    return text.replace("least_of", least).replace("{lock}", "for update skip locked" if postgres else "")


def wish(tx: Tx, kind: str, id_: int, *, after: float = 0.0, host: int | None = None, fence: int = 0) -> int:
    """Something about (kind, id) is wanted differently: its turn is due in `after` seconds. Returns the wish's number.

    `fence`: where the fences of a new turn begin, when a host has already seen those of an earlier turn about the same.
    """
    tx.wake(kind, id_)
    due = tx.now + after if after else 0.0
    ((number,),) = tx.sql(_statement(tx, WISH), kind=kind, id=id_, due=due, host=host, fence=fence)
    return int(number)


def put_off(tx: Tx, kind: str, id_: int, *, after: float) -> None:
    """What is wanted is being done by somebody else, who will say so: the turn is not due before."""
    tx.sql("update turn set due = :due where kind = :kind and id = :id", due=tx.now + after, kind=kind, id=id_)


def look_again(tx: Tx, kind: str, id_: int) -> None:
    """The world may have changed: the turn is due now, but nothing else is wanted."""
    tx.wake(kind, id_)
    tx.sql("update turn set due = 0, stir = stir + 1 where kind = :kind and id = :id", kind=kind, id=id_)


def claim(tx: Tx, session: str, batch: int = CLAIM_BATCH) -> Sequence[Turn]:
    """Up to `batch` due turns, oldest first, now held by `session`. None when that session is itself over."""
    return [Turn(*row) for row in tx.sql(_statement(tx, CLAIM), session=session, now=tx.now, batch=batch)]


def release(tx: Tx, session: str, turn: Turn, *, after: float, tries: int = 0) -> bool:
    """Gives the turn back, due in `after` seconds, or at once when something changed since the claim.

    False: the turn is no longer ours, and whatever else was to be written with it must not be.
    """
    rows = tx.sql(
        RELEASE,
        session=session,
        tries=tries,
        wish=turn.wish,
        stir=turn.stir,
        due=tx.now + min(after, LONGEST_SLEEP_S),
        kind=turn.kind,
        id=turn.id,
        fence=turn.fence,
    )
    if rows and rows[0] != (turn.wish, turn.stir):
        tx.wake(turn.kind, turn.id)
    return bool(rows)


def holds(tx: Tx, session: str, turn: Turn) -> bool:
    """Whether the turn is still ours."""
    return bool(
        tx.sql(
            "select 1 from turn where kind = :kind and id = :id and fence = :fence and session = :session",
            kind=turn.kind,
            id=turn.id,
            fence=turn.fence,
            session=session,
        )
    )


def forget(tx: Tx, kind: str, id_: int) -> int:
    """There is nothing left to work on. The last fence that it had, 0 when there was no such turn."""
    rows = tx.sql("delete from turn where kind = :kind and id = :id returning fence", kind=kind, id=id_)
    return int(rows[0][0]) if rows else 0


def leave(tx: Tx, session: str, turn: Turn) -> bool:
    """There is nothing left to work on, nobody has wished or noticed anything since the claim, and it is still ours."""
    values = {"kind": turn.kind, "id": turn.id, "fence": turn.fence, "wish": turn.wish, "stir": turn.stir}
    return bool(tx.sql(LEAVE, session=session, **values))


def next_due(tx: Tx, session: str) -> float | None:
    """The earliest due time of a free turn that the session may take, or None."""
    rows = tx.sql(
        "select min(due) from turn"
        " where (session is null or session not in (select id from session where until > :now))"
        " and (host is null or host in (select id from host where link_session = :session))",
        now=tx.now,
        session=session,
    )
    due = rows[0][0]
    # A clock that was set back must not strand what was due in its future.
    return None if due is None else min(float(due), tx.now + LONGEST_SLEEP_S)


def mend_clock_step(tx: Tx) -> None:
    """Due times in an impossible future come back to the longest sleep."""
    tx.sql("update turn set due = :cap where due > :cap", cap=tx.now + LONGEST_SLEEP_S)


# ---------------------------------------------------------------- sessions
def open_session(tx: Tx, session: str, server_uuid: str, name: str, address: str, version: str) -> None:
    """A server process begins."""
    tx.sql(
        "insert into session (id, until, server_uuid, server_name, address, version, started)"
        " values (:id, :until, :uuid, :name, :address, :version, :now)",
        id=session, until=tx.now + SESSION_TTL_S, uuid=server_uuid, name=name, address=address, version=version,
        now=tx.now,
    )  # fmt: skip


def beat(tx: Tx, session: str) -> bool:
    """Prolongs the session. False: it is over, its work may be somebody else's by now, and the process must end."""
    return bool(
        tx.sql(
            "update session set until = :until where id = :id and until > :now returning id",
            id=session,
            until=tx.now + SESSION_TTL_S,
            now=tx.now,
        )
    )


def end_other_sessions(tx: Tx, session: str) -> None:
    """SQLite only: the state folder's lock proves that every other server process is dead."""
    tx.sql("delete from session where id <> :id", id=session)
    tx.sql("update turn set session = null where session is not null and session <> :id", id=session)
    tx.sql("update host set link_session = null where link_session is not null and link_session <> :id", id=session)


def bury_dead_sessions(tx: Tx) -> None:
    """Drops sessions that are over; their turns and links are free."""
    tx.sql("update turn set session = null where session in (select id from session where until <= :now)", now=tx.now)
    tx.sql(
        "update host set link_session = null where link_session in (select id from session where until <= :now)",
        now=tx.now,
    )
    tx.sql("delete from session where until <= :now", now=tx.now)


def close_session(tx: Tx, session: str) -> None:
    """A server process ends in order; its turns and links are free at once."""
    tx.sql("update turn set session = null where session = :id", id=session)
    tx.sql("update host set link_session = null where link_session = :id", id=session)
    tx.sql("delete from session where id = :id", id=session)
