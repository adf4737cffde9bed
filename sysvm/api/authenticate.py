"""Who sent a request: by signature, by session, or nobody. Functions of a transaction; nothing is written here.

Whatever is wrong, the answer is one and the same 401, so that it tells an attacker nothing.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from sysvm.api import errors, signature
from sysvm.api.call import Caller
from sysvm.api.http import Request
from sysvm.api.live import Live
from sysvm.api.params import instant
from sysvm.basics.errors import Refused, Why
from sysvm.store.queries import callers
from sysvm.store.queries.callers import UserRow
from sysvm.store.secrets import Vault
from sysvm.store.store import Tx

SYSTEM_USER = 1
COOKIE, KEY_COOKIE = "JSESSIONID", "sessionkey"
FURTHEST_AHEAD_S = 15 * 60
TOUCH_AFTER_S = 60.0


def rejected() -> Refused:
    """The one answer to everything that is wrong."""
    return Refused(errors.UNVERIFIED, Why.UNAUTHENTICATED)


class SessionMismatch(Exception):
    """A session whose key does not fit: it must be ended, then the request is rejected."""

    def __init__(self, session_id: int) -> None:
        super().__init__(session_id)
        self.session_id = session_id


@dataclass(frozen=True, slots=True)
class Known:
    """Who it is. `touch`: the session whose use has to be noted."""

    caller: Caller
    touch: int | None = None


def hashed(secret: str) -> str:
    """What the database keeps of a cookie or session key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def caller_of(user: UserRow, *, address: str = "", numeric_ids: bool = False) -> Caller:
    """A user as a caller."""
    return Caller(
        user_id=user.id, user_uuid=user.uuid, username=user.username, account_id=user.account_id,
        account_uuid=user.account_uuid, account_name=user.account_name, account_type=user.account_type,
        domain_id=user.domain_id, domain_uuid=user.domain_uuid, domain_path=user.domain_path, role_id=user.role_id,
        role_type=user.role_type, role_by_type=bool(user.role_by_type), numeric_ids=numeric_ids, address=address,
    )  # fmt: skip


def known(tx: Tx, request: Request, lower: Mapping[str, str], vault: Vault, live: Live) -> Known:
    """Who sent `request`; `lower` are its parameters by lower-case name. Raises Refused or SessionMismatch."""
    if lower.get("apikey") and lower.get("signature"):
        return Known(_signed(tx, request, lower, vault, live))
    if COOKIE in request.cookies:
        return _in_session(tx, request, lower, live)
    raise rejected()


def system(tx: Tx, address: str) -> Known:
    """The caller of the integration port."""
    user = callers.by_id(tx, SYSTEM_USER)
    if user is None:
        raise rejected()
    return Known(caller_of(user, address=address, numeric_ids=True))


def _signed(tx: Tx, request: Request, lower: Mapping[str, str], vault: Vault, live: Live) -> Caller:
    user = callers.by_key(tx, lower["apikey"])
    if user is None or user.secret_key is None or not user.enabled:
        raise rejected()
    enforce = bool(live["enforce.post.requests.and.timestamps"])
    if not _in_time(lower, tx.now, enforce=enforce):
        raise rejected()
    if not signature.verify(request.params, lower["signature"], vault.open(user.secret_key)):
        raise rejected()
    return caller_of(user, address=request.address)


def _in_time(lower: Mapping[str, str], now: float, *, enforce: bool) -> bool:
    expires = lower.get("expires")
    if expires is None:
        return lower.get("signatureversion") != signature.VERSIONED and not enforce
    if lower.get("signatureversion") != signature.VERSIONED and not enforce:
        return True  # without version 3 `expires` means nothing
    try:
        until = instant(expires)
    except ValueError:
        return False
    return now <= until and (not enforce or until <= now + FURTHEST_AHEAD_S)


def _in_session(tx: Tx, request: Request, lower: Mapping[str, str], live: Live) -> Known:
    session = callers.session(tx, hashed(request.cookies[COOKIE]))
    if session is None or session.last_used < tx.now - live["session.timeout"] * 60:
        raise rejected()
    given = (lower.get(KEY_COOKIE), request.cookies.get(KEY_COOKIE))
    if not _key_fits(*given, session.sessionkey_hash, live["api.sessionkey.check.locations"]):
        raise SessionMismatch(session.id)
    user = callers.by_id(tx, session.user_id)
    if user is None or not user.enabled:
        raise rejected()
    touch = session.id if tx.now - session.last_used > TOUCH_AFTER_S else None
    return Known(caller_of(user, address=request.address), touch)


def _key_fits(param: str | None, cookie: str | None, expected: str, where: str) -> bool:
    by_param = param is not None and hmac.compare_digest(hashed(param), expected)
    by_cookie = cookie is not None and hmac.compare_digest(hashed(cookie), expected)
    if where == "CookieOrParameter":
        return by_param or by_cookie
    if where == "ParameterOnly":
        return by_param
    return by_param and by_cookie
