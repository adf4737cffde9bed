"""HTTP as the API needs it: what was asked, what is answered, and the little between them and ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from sysvm.basics.errors import Refused, Why

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

FORM = "application/x-www-form-urlencoded"
MOST_QUERY = 65_536
MOST_BODY = 4_194_304  # user data: 1 MB, as base64, form-encoded
MOST_PARAMS = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `params`: decoded, names as received, the last of each name; the query wins over the body."""

    method: str
    params: dict[str, str]
    cookies: dict[str, str]
    address: str = ""
    secure: bool = False

    @property
    def is_post(self) -> bool:
        """Whether it may change things where that is enforced."""
        return self.method == "POST"


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def decode_form(raw: bytes) -> dict[str, str]:
    """Names and values of a query string or form; raises Refused for what is no UTF-8."""
    if raw.count(b"&") >= MOST_PARAMS:
        raise Refused(f"More than {MOST_PARAMS} parameters", Why.MALFORMED)
    found: dict[str, str] = {}
    try:
        for word in raw.decode().split("&"):
            name, _, value = word.partition("=")
            if name:
                found[_decode(name)] = _decode(value)
    except UnicodeDecodeError:
        raise Refused("A parameter is not encoded as UTF-8", Why.MALFORMED) from None
    return found


def _decode(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


def cookies_of(header: str) -> dict[str, str]:
    """Cookies by name; the first of each name counts, as browsers send the most specific one first."""
    found: dict[str, str] = {}
    for word in header.split(";"):
        name, equals, value = word.strip().partition("=")
        if equals and name not in found:
            found[name] = value.strip('"')
    return found


async def read_request(scope: Scope, receive: Receive) -> Request:
    """The request of an ASGI scope; raises Refused when it is too big or not decodable."""
    query = scope["query_string"]
    if len(query) > MOST_QUERY:
        raise Refused(f"The request line is longer than {MOST_QUERY} bytes; use POST", Why.MALFORMED)
    headers = {name: value for name, value in scope["headers"] if name in (b"cookie", b"content-type")}
    params: dict[str, str] = {}
    if scope["method"] == "POST":
        body = await _read_body(receive)
        if body and headers.get(b"content-type", FORM.encode()).decode("latin-1").lower().startswith(FORM):
            params = decode_form(body)
    if query:
        params = {**params, **decode_form(query)}
    client = scope.get("client")
    cookie = headers.get(b"cookie")
    return Request(
        scope["method"], params, cookies_of(cookie.decode("latin-1")) if cookie else {},
        client[0] if client else "", scope.get("scheme") == "https",
    )  # fmt: skip


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("The request ended early", Why.MALFORMED)
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BODY:
            raise Refused(f"The request body is longer than {MOST_BODY} bytes", Why.MALFORMED)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def send_response(send: Send, response: Response) -> None:
    """Answers."""
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
