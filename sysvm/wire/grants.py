"""Short-lived permissions that a server signs and a host or a system VM checks: console grants, fetch tickets, links of users.

A console grant is Ed25519-signed, because every relay may check it and none may make one. A fetch ticket carries an HMAC
with a secret of the cloud, because a secondary storage VM checks it with the standard library alone.

Text form of both: base64url(JSON) "." base64url(signature), without padding. That a grant works only once is the relay's
memory, not this module's. Expiry is compared with the checker's clock, so servers and hosts keep time; what would live
longer than LONGEST_GRANT or LONGEST_TICKET is refused too, which bounds what a relay must remember.

Only the standard library is imported at the top: system VMs import this module and have no `cryptography`.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LONGEST_GRANT = 600.0
LONGEST_TICKET = 24 * 3600.0
_MAX_TEXT = 4096

T = TypeVar("T")


class BadGrant(Exception):
    """A grant or ticket that gives nothing; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One look at one screen of one machine."""

    guest: str  # UUID that users know
    machine: str  # UUID that the host knows
    kind: str  # vnc | text
    session: str
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTicket:
    """One host may take one image from a store."""

    store: str
    image: str
    sha256: str
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepTicket:
    """One host may bring certain bytes into a store, as one image."""

    store: str
    image: str
    sha256: str
    size: str  # decimal
    expires: float


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _payload(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _halves(text: str) -> tuple[bytes, bytes]:
    if len(text) > _MAX_TEXT or text.count(".") != 1:
        raise BadGrant("not a grant")
    try:
        body, signature = (_decode(half) for half in text.split("."))
    except (ValueError, binascii.Error) as error:
        raise BadGrant("not a grant") from error
    return body, signature


def _parse(body: bytes, kind: type[T], names: tuple[str, ...], now: float, longest: float) -> T:
    """The signed fields as `kind`. Unknown fields are ignored, so that a newer server can say more."""
    try:
        fields = json.loads(body)
        known = {name: fields[name] for name in names}
    except (ValueError, TypeError, KeyError) as error:
        raise BadGrant("its fields are not those of a grant") from error
    texts, expires = [known[name] for name in names if name != "expires"], known["expires"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(expires, int | float):
        raise BadGrant("its fields are not those of a grant")
    if expires <= now:
        raise BadGrant("it has expired")
    if expires > now + longest:
        raise BadGrant("it would live too long: compare the clocks of server and host")
    return kind(**known)


# ---------------------------------------------------------------- console grants: Ed25519
def new_grant_key() -> bytes:
    """A new private key (32 raw bytes)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def _private(key: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(key)


def public_grant_key(key: bytes) -> str:
    """What hosts are given to check grants with (base64, for HostDocument.grant_key)."""
    return base64.b64encode(_private(key).public_key().public_bytes_raw()).decode()


def sign_grant(key: bytes, grant: Grant) -> str:
    """The text that a console proxy shows to the relay."""
    body = _payload(asdict(grant))
    return f"{_encode(body)}.{_encode(_private(key).sign(body))}"


def check_grant(public_key: str, text: str, now: float) -> Grant:
    """The grant in `text`; raises BadGrant unless the server signed it and it is still good."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    body, signature = _halves(text)
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(signature, body)
    except (InvalidSignature, ValueError) as error:
        raise BadGrant("its signature is not the server's") from error
    grant = _parse(body, Grant, ("guest", "machine", "kind", "session", "expires"), now, LONGEST_GRANT)
    if grant.kind not in ("vnc", "text"):
        raise BadGrant(f"there is no console of kind {grant.kind[:20]!r}")
    return grant


# ---------------------------------------------------------------- tickets: HMAC-SHA256
def sign_ticket(secret: str, ticket: FetchTicket) -> str:
    """The bearer text that a host shows to a secondary storage VM; `secret` is SecStorageDocument.ticket_key."""
    return _signed(secret, _FETCH, asdict(ticket))


def check_ticket(secret: str, text: str, now: float) -> FetchTicket:
    """The ticket in `text`; raises BadGrant unless it was made with `secret` and is still good."""
    return _parse(_checked(secret, _FETCH, text), FetchTicket, ("store", "image", "sha256", "expires"), now, LONGEST_TICKET)


def sign_keep_ticket(secret: str, ticket: KeepTicket) -> str:
    """The same, to bring something. Neither ticket passes as the other."""
    return _signed(secret, _KEEP, asdict(ticket))


def check_keep_ticket(secret: str, text: str, now: float) -> KeepTicket:
    """The ticket in `text`; raises BadGrant unless it was made with `secret` and is still good."""
    names = ("store", "image", "sha256", "size", "expires")
    ticket = _parse(_checked(secret, _KEEP, text), KeepTicket, names, now, LONGEST_TICKET)
    if not (ticket.size.isascii() and ticket.size.isdigit()):
        raise BadGrant("its fields are not those of a grant")
    return ticket


def sign_link(secret: str, ticket: FetchTicket) -> str:
    """The secret part of an address that anybody may download one image from, until it expires."""
    return _signed(secret, _LINK, asdict(ticket))


def check_link(secret: str, text: str, now: float) -> FetchTicket:
    """The ticket in `text`; raises BadGrant unless it was made with `secret`, for users, and is still good."""
    body = _checked(secret, _LINK, text)
    return _parse(body, FetchTicket, ("store", "image", "sha256", "expires"), now, LONGEST_TICKET)


def sign_upload(secret: str, said: tuple[str, str, str]) -> str:
    """What a client shows with an upload: path, metadata and the instant of its end (ISO 8601) are those of the server."""
    return base64.b64encode(_mac(secret, _UPLOAD, _payload(said))).decode()


def check_upload(secret: str, signature: str, said: tuple[str, str, str], now: float) -> None:
    """Raises BadGrant unless `signature` was made with `secret` for what is said, and the end is yet to come."""
    if not secret or not hmac.compare_digest(signature.encode(), sign_upload(secret, said).encode()):
        raise BadGrant("its signature is not the server's")
    if datetime.fromisoformat(said[2]).timestamp() <= now:
        raise BadGrant("it has expired")


_FETCH, _KEEP, _LINK, _UPLOAD = b"fetch", b"keep", b"link", b"upload"


def _signed(secret: str, purpose: bytes, fields: object) -> str:
    body = _payload(fields)
    return f"{_encode(body)}.{_encode(_mac(secret, purpose, body))}"


def _checked(secret: str, purpose: bytes, text: str) -> bytes:
    body, signature = _halves(text)
    if not secret or not hmac.compare_digest(signature, _mac(secret, purpose, body)):
        raise BadGrant("its signature is not the server's")
    return body


def _mac(secret: str, purpose: bytes, body: bytes) -> bytes:
    return hmac.new(secret.encode(), purpose + b"\0" + body, hashlib.sha256).digest()
