"""What becomes of sessions: the dead are buried, one that lost its database is succeeded, turns that nobody works on go back.

Claims, releases and beats are those of `turns`. Turns of most kinds are about one host, or about none. Those of the WANDERING
kinds speak to now this and now that host, through whatever machine does the work; they are sent to the server that
holds its link, and are anybody's again when that link ends.

Races thought of: a server that is slow hears of its burial by its next beat. `succeed` may be run again after a commit
whose outcome is unknown: it begins by undoing what it did then. A link that comes up in the name of a session that ends
at the same moment is refused by `is_alive` (both read the session's row, so one of the two transactions runs again).
"""

from collections.abc import Set
from dataclasses import dataclass

from sysvm.store.queries import alerts, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx

WANDERING = ("snapshot", "task", "template")
_WANDERING = ", ".join(f"'{kind}'" for kind in WANDERING)
Held = tuple[str, int, int]  # kind, id, fence


@dataclass(frozen=True, slots=True)
class Server:
    """What a session says of its process."""

    uuid: str
    name: str
    address: str
    version: str

    @property
    def shown(self) -> str:
        """In texts for operators: servers on one machine differ by their addresses."""
        return f"{self.name} ({self.address})" if self.address else self.name


def begin(tx: Tx, session: str, server: Server) -> None:
    """A server process begins, or begins anew."""
    turns.open_session(tx, session, server.uuid, server.name, server.address, server.version)
    alerts.resolve(tx, AlertType.MANAGEMENT_SERVER, subject=_gone(server))


def _gone(server: Server) -> str:
    return f"Management server {server.shown} is gone"


def is_alive(tx: Tx, session: str) -> bool:
    """Whether the session's time is not over."""
    return bool(tx.sql("select 1 from session where id = :id and until > :now", id=session, now=tx.now))


def are_some_over(tx: Tx) -> bool:
    """Whether a server has died since the last burial."""
    return bool(tx.sql("select 1 from session where until <= :now limit 1", now=tx.now))


def bury(tx: Tx) -> None:
    """Drops sessions that are over. Their turns and links are free at once; a host that never links again is told of."""
    if are_some_over(tx):
        for server in _gone_servers(tx):
            alerts.raise_alert(
                tx,
                AlertType.MANAGEMENT_SERVER,
                _gone(server),
                f"It has not been heard of for {turns.SESSION_TTL_S:g} s: it has ended, stands still, or cannot reach the "
                "database. Its work goes on at the other servers, and its hosts dial them. Look at its machine and its log.",
            )
        _orphan(tx, "select id from session where until <= :now")
        turns.bury_dead_sessions(tx)
        tx.wake("session", 0)


GONE = """
select distinct server_uuid, server_name, address, version from session
where until <= :now and server_uuid not in (select server_uuid from session where until > :now)
"""


def _gone_servers(tx: Tx) -> list[Server]:
    return [Server(*row) for row in tx.sql(GONE.lstrip(), now=tx.now)]


def take_over_all(tx: Tx, session: str) -> None:
    """SQLite only: the lock of the state folder proves that every other server process is dead."""
    _orphan(tx, "select link_session from host where link_session is not null and link_session <> :id", id=session)
    turns.end_other_sessions(tx, session)


def _orphan(tx: Tx, sessions: str, **params: object) -> None:
    """Since when hosts have no link; their state changes only if they stay away (links.alert_unreachable)."""
    tx.sql(f"update host set disconnected = :now where link_session in ({sessions})", now=tx.now, **params)


def succeed(tx: Tx, old: str, new: str, server: Server, linked: Set[int]) -> frozenset[int]:
    """The process of `old` goes on as `new`. Its turns are free. Those of the `linked` hosts that no other server has got
    meanwhile stay its own; they are returned. An operator hears of it."""
    tx.sql("update turn set session = null where session = :old or session = :new", old=old, new=new)
    tx.sql("delete from session where id = :old or id = :new", old=old, new=new)
    begin(tx, new, server)
    alerts.raise_alert(
        tx,
        AlertType.MANAGEMENT_SERVER,
        f"Management server {server.shown} was cut off from its database",
        f"For more than {turns.SESSION_TTL_S:g} s it could not reach it, or stood still. It has done nothing meanwhile and goes "
        "on under a new session; hosts and guests were not touched. When this repeats, look at the database and at its log.",
    )
    rows = tx.sql(
        "update host set link_session = :new where link_session = :old or link_session = :new returning id",
        old=old,
        new=new,
    )
    had = frozenset(id_ for (id_,) in rows)
    for id_ in had - linked:
        tx.sql("update host set link_session = null, disconnected = :now where id = :id", now=tx.now, id=id_)
    tx.wake("session", 0)
    return had & linked


SEND = f"""
update turn set host = :host, due = 0 where kind = :kind and id = :id and kind in ({_WANDERING}) and :host in (
    select host.id from host join session on session.id = host.link_session
    where session.until > :now and session.id <> :session)
returning fence
"""


def send(tx: Tx, session: str, turn: Turn, host: int) -> bool:
    """A turn that needs this host goes to the server that holds its link. False: no other one does, or it does not wander."""
    sent = tx.sql(SEND, kind=turn.kind, id=turn.id, host=host, now=tx.now, session=session)
    if sent:
        tx.wake(turn.kind, turn.id)
    return bool(sent)


def bring_back(tx: Tx) -> None:
    """Turns that were sent to a server whose host has lost its link are anybody's."""
    tx.sql(
        f"update turn set host = null where kind in ({_WANDERING}) and host is not null"
        " and host not in (select id from host where link_session is not null)"
    )


def give_back(tx: Tx, session: str, held: Set[Held]) -> int:
    """Frees turns of the session that none of its workers has: what a claim gave whose answer was lost. How many."""
    lost = set(tx.sql("select kind, id, fence from turn where session = :session", session=session)) - held
    for kind, id_, fence in lost:
        tx.sql(
            "update turn set session = null where kind = :kind and id = :id and fence = :fence and session = :session",
            kind=kind,
            id=id_,
            fence=fence,
            session=session,
        )
    return len(lost)
