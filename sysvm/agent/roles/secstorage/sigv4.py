"""Signature Version 4: how a request to an S3 server says who asks and that nobody has changed it. Pure.

All headers that are given are signed. The path and the query are those that go over the line, already encoded (`encoded`), so
that nothing can be read in two ways. Tested against AWS's published vectors. Not here: chunked uploads and presigned URLs, which
nobody needs who knows all bytes before they go.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
NOTHING = hashlib.sha256(b"").hexdigest()  # of a request without a body


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks."""

    access_key: str
    secret_key: str
    region: str
    service: str = "s3"


@dataclass(frozen=True, slots=True)
class Request:
    """What is signed. `query` is a list, for a name may come twice."""

    method: str
    path: str  # encoded
    query: tuple[tuple[str, str], ...]  # not encoded
    headers: dict[str, str]
    payload: str  # SHA-256 of the body, hexadecimal


def encoded(text: str, *, path: bool = False) -> str:
    """As S3 encodes: everything but A-Z a-z 0-9 - . _ ~, and slashes where it is a path."""
    return quote(text, safe="-._~/" if path else "-._~")


def query_of(query: tuple[tuple[str, str], ...]) -> str:
    """The query, as it is signed and as it goes over the line."""
    pairs = sorted((encoded(name), encoded(value)) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def stamp(now: float) -> str:
    """20130524T000000Z"""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def authorization(who: Credentials, request: Request, when: str) -> str:
    """The header Authorization; `when` is that of X-Amz-Date."""
    signed = ";".join(_headers(request))
    scope = f"{when[:8]}/{who.region}/{who.service}/aws4_request"
    signature = hmac.new(_key(who, when[:8]), _to_sign(request, when, scope).encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={who.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"


def _headers(request: Request) -> dict[str, str]:
    return {name.lower(): " ".join(value.split()) for name, value in sorted(request.headers.items(), key=_lower)}


def _lower(item: tuple[str, str]) -> str:
    return item[0].lower()


def _to_sign(request: Request, when: str, scope: str) -> str:
    headers = _headers(request)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = (request.method, request.path, query_of(request.query), lines, ";".join(headers), request.payload)
    return "\n".join((ALGORITHM, when, scope, hashlib.sha256("\n".join(canonical).encode()).hexdigest()))


def _key(who: Credentials, day: str) -> bytes:
    key = f"AWS4{who.secret_key}".encode()
    for part in (day, who.region, who.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
