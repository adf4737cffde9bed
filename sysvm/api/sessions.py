"""Login and logout. A session is a row; the database keeps only hashes of the cookie and of the session key.

Unknown user, wrong password, unknown domain and a disabled account get the same text after the same time.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sysvm.api.authenticate import COOKIE, KEY_COOKIE, hashed
from sysvm.api.http import Request
from sysvm.api.live import Live
from sysvm.api.passwords import Passwords
from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import callers, events
from sysvm.store.queries.callers import UserRow
from sysvm.store.store import Store, Tx

KEY_BYTES = 20
FAILED = "Failed to authenticate user {} in domain {}; please provide valid credentials"
NOT_NATIVE = "User is not allowed CloudStack login"
Header = tuple[bytes, bytes]


async def login(
    store: Store, passwords: Passwords, ids: Ids, live: Live, lower: Mapping[str, str]
) -> tuple[dict[str, Any], str, str]:
    """(body, cookie, session key) of a new session; raises Refused (531)."""
    name, password = lower.get("username", ""), lower.get("password", "")
    user = await store.read(lambda tx: _find(tx, lower))
    failed = Refused(FAILED.format(name[:64], lower.get("domain", "/")[:64]), Why.NOT_ALLOWED)
    if user is not None and user.source != "native":
        raise Refused(NOT_NATIVE, Why.NOT_ALLOWED)
    fits = await passwords.matches(user.password_hash if user else None, password)
    if user is None or not fits or not user.enabled:
        raise failed
    cookie, key = ids.token(32), ids.token(KEY_BYTES)
    minutes = live["session.timeout"]

    def open_session(tx: Tx) -> float:
        callers.forget_old_sessions(tx, tx.now - minutes * 60)
        tx.insert(tables.api_session, cookie_hash=hashed(cookie), sessionkey_hash=hashed(key), user_id=user.id,
                  last_used=tx.now, created=tx.now)  # fmt: skip
        events.record(tx, "USER.LOGIN", "user has logged in", actor=_actor(user))
        return tx.now

    now = await store.run(open_session)
    return _body(user, key, minutes * 60, now), cookie, key


def _find(tx: Tx, lower: Mapping[str, str]) -> UserRow | None:
    by_id = lower.get("domainid")
    domain = callers.domain_by_id(tx, by_id) if by_id else callers.domain_by_path(tx, lower.get("domain", ""))
    return None if domain is None else callers.by_name(tx, lower.get("username", ""), domain)


def _actor(user: UserRow) -> events.Actor:
    return events.Actor(user.id, user.account_id, user.domain_id, user.domain_path)


def _body(user: UserRow, key: str, seconds: int, now: float) -> dict[str, Any]:
    """CloudStack's fields, several of them numbers and booleans as text. Its web UI can't do without an offset."""
    body: dict[str, Any] = {
        "username": user.username, "userid": user.uuid, "account": user.account_name, "firstname": user.firstname,
        "lastname": user.lastname, "domainid": user.domain_uuid, "timeout": seconds, "type": str(user.account_type),
        "timezone": user.timezone or None, "timezoneoffset": _offset(user.timezone, now), "registered": "false",
        "sessionkey": key, "is2faenabled": "false", "is2faverified": "true",
    }  # fmt: skip
    return body


def _offset(timezone: str, now: float) -> str:
    """Hours east of Greenwich; what is no time zone has none."""
    try:
        offset = datetime.fromtimestamp(now, ZoneInfo(timezone) if timezone else UTC).utcoffset()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        offset = None
    return str(offset.total_seconds() / 3600 if offset is not None else 0.0)


def set_cookies(cookie: str, key: str, *, secure: bool) -> list[Header]:
    """Both cookies; cmk reads the session key from its cookie, not from the body."""
    tail = ";Secure" if secure else ""
    return [
        (b"set-cookie", f"{COOKIE}={cookie};Path=/client;HttpOnly;SameSite=Lax{tail}".encode()),
        (b"set-cookie", f"{KEY_COOKIE}={key};Path=/client;HttpOnly;SameSite=Lax{tail}".encode()),
    ]


def drop_cookies() -> list[Header]:
    """Both cookies expire."""
    return [(b"set-cookie", f"{name}=;Path=/client;HttpOnly;SameSite=Lax;Max-Age=0".encode()) for name in (COOKIE, KEY_COOKIE)]


async def logout(store: Store, request: Request) -> dict[str, Any]:
    """Ends the session of the cookie, if there is one: clients log out before they log in."""
    cookie = request.cookies.get(COOKIE)

    def end(tx: Tx) -> None:
        session = callers.session(tx, hashed(cookie)) if cookie else None
        if session is None:
            return
        user = callers.by_id(tx, session.user_id)
        if user is not None:
            events.record(tx, "USER.LOGOUT", "user has logged out", actor=_actor(user))
        callers.end_session(tx, session.id)

    if cookie:
        await store.run(end)
    return {"description": "success"}
