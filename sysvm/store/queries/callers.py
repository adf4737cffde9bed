"""Who asks: the user behind an API key, a session cookie or an id. Hot statements, one each."""

from typing import Any, NamedTuple

from sysvm.store.store import Tx

ENABLED = "enabled"

FIND = """
select u.id, u.uuid, u.username, u.password_hash, u.state, u.secret_key, u.source, u.firstname, u.lastname, u.timezone,
    a.id, a.uuid, a.name, a.type, a.state, d.id, d.uuid, d.id_path, r.id, r.type, r.by_type
from "user" u join account a on a.id = u.account_id join domain d on d.id = a.domain_id join role r on r.id = a.role_id
where u.removed is null and a.removed is null and d.removed is null and """
BY_KEY = FIND + "u.api_key = :key"
BY_ID = FIND + "u.id = :id"
BY_NAME = FIND + "u.username = :name and d.id = :domain"
RULES = "select rule, permission from role_permission where role_id = :role order by sort_order, id"


class UserRow(NamedTuple):
    """A user with account, domain and role."""

    id: int
    uuid: str
    username: str
    password_hash: str
    state: str
    secret_key: str | None
    source: str
    firstname: str
    lastname: str
    timezone: str
    account_id: int
    account_uuid: str
    account_name: str
    account_type: int
    account_state: str
    domain_id: int
    domain_uuid: str
    domain_path: str
    role_id: int
    role_type: str
    role_by_type: bool

    @property
    def enabled(self) -> bool:
        """Whether user and account may act."""
        return self.state == ENABLED and self.account_state == ENABLED


def by_key(tx: Tx, key: str) -> UserRow | None:
    """The user of an API key."""
    return _first(tx.sql(BY_KEY, key=key))


def by_id(tx: Tx, id_: int) -> UserRow | None:
    """The user with this id."""
    return _first(tx.sql(BY_ID, id=id_))


def by_name(tx: Tx, name: str, domain_id: int) -> UserRow | None:
    """The user of that name in a domain."""
    return _first(tx.sql(BY_NAME, name=name, domain=domain_id))


def _first(rows: list[tuple[Any, ...]]) -> UserRow | None:
    return UserRow(*rows[0]) if rows else None


def rules(tx: Tx, role_id: int) -> list[tuple[Any, ...]]:
    """(rule, permission) of a role, in order."""
    return tx.sql(RULES, role=role_id)


def domain_by_path(tx: Tx, path: str) -> int | None:
    """The domain that users call `/east/` or `east`; nothing means ROOT."""
    words = [word for word in path.split("/") if word]
    if words[:1] != ["ROOT"]:
        words.insert(0, "ROOT")
    found = tx.sql("select id from domain where path = :path and removed is null", path="/".join(words))
    return int(found[0][0]) if found else None


def domain_by_id(tx: Tx, given: str) -> int | None:
    """The domain of a UUID or an internal id."""
    text = "select id from domain where removed is null and "
    if given.isdecimal() and len(given) < 19:
        found = tx.sql(text + "id = :id", id=int(given))
    else:
        found = tx.sql(text + "uuid = :id", id=given)
    return int(found[0][0]) if found else None


# ---------------------------------------------------------------- sessions
class SessionRow(NamedTuple):
    """A logged-in session."""

    id: int
    sessionkey_hash: str
    user_id: int
    last_used: float


def session(tx: Tx, cookie_hash: str) -> SessionRow | None:
    """The session of a cookie."""
    text = "select id, sessionkey_hash, user_id, last_used from api_session where cookie_hash = :hash"
    rows = tx.sql(text, hash=cookie_hash)
    return SessionRow(*rows[0]) if rows else None


def touch_session(tx: Tx, id_: int) -> None:
    """It was used just now."""
    tx.sql("update api_session set last_used = :now where id = :id", now=tx.now, id=id_)


def end_session(tx: Tx, id_: int) -> None:
    """Nobody can use it any more."""
    tx.sql("delete from api_session where id = :id", id=id_)


def end_sessions_of(tx: Tx, user_id: int) -> None:
    """The user has to log in again."""
    tx.sql("delete from api_session where user_id = :id", id=user_id)


def forget_old_sessions(tx: Tx, before: float) -> None:
    """Drops sessions that were last used before an instant."""
    tx.sql("delete from api_session where last_used < :before", before=before)
