"""The console page and the status command: plain HTTP answers of the proxy. No console bytes pass here.

/                                    -> the page
/ajax?token=, /client/console?token= -> the page, for links of older times; the token goes with them
/getscreen?token=&w=&h=              a small picture of the screen, as PNG; the ticket is used up
/resource/noVNC/vnc.html             the page
/resource/...                        its scripts, pictures and libraries
/cmd/getstatus                       sessions as JSON (management and control NICs only)
"""

import functools
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from sysvm.agent.roles.consoleproxy.knock import plausible
from sysvm.agent.roles.consoleproxy.picture import Unpaintable
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.wire.channel import ConsoleSession

PAGE = "/resource/noVNC/vnc.html"
MOST_PIXELS = 4096
WEB = Path(__file__).resolve().parents[3] / "web" / "console"

# The page runs nothing but its own scripts, and is shown inside no other site's page. Images come as blobs and data.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # a ticket is in the page's address
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, in memory. Its tag is of its content: in a template all files have the same date."""

    kind: str
    tag: str
    body: bytes
    packed: bytes

    @classmethod
    def of(cls, place: Path) -> "Asset":
        """The file at `place`."""
        body = place.read_bytes()
        return cls(KINDS[place.suffix], hashlib.sha256(body).hexdigest()[:32], body, gzip.compress(body, 6, mtime=0))


Picture = Callable[[str, str, tuple[int, int]], Awaitable[bytes]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def console_pages(picture: Picture) -> web.Application:
    """What browsers see. `picture` gives a PNG for (ticket, client, (width, height))."""

    async def screen(request: web.Request) -> web.Response:
        ticket = request.query.get("token", "")
        if not plausible(ticket):
            raise web.HTTPForbidden(text="a ticket is needed: ask for the picture again")
        size = (side_of(request.query.get("w", "")), side_of(request.query.get("h", "")))
        try:
            png = await picture(ticket, request.remote or "", size)
        except Refused as refused:
            raise web.HTTPForbidden(text=refused.text) from refused
        except (NotYet, Unreachable, Broken, Stale, Unpaintable) as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error
        return web.Response(body=png, content_type="image/png", headers={"Cache-Control": "no-store"})

    app = web.Application(middlewares=[_with_headers])
    app.router.add_get("/getscreen", screen)
    for old in ("/", "/ajax", "/client/console"):
        app.router.add_get(old, _to_page)
    app.router.add_get(PAGE, _asset)
    app.router.add_get("/resource/{name:.+}", _asset)
    return app


def side_of(text: str) -> int:
    """A number of pixels; 0, which is no limit, for what is none."""
    return min(int(text), MOST_PIXELS) if text.isdecimal() and len(text) < 6 else 0


def missing() -> str:
    """What of the page is not in this machine; empty when all is there."""
    needed = ("vnc.html", "vendor/novnc/core/rfb.js", "vendor/xterm/xterm.mjs")
    return ", ".join(name for name in needed if not (WEB / name).exists())


def status_pages(sessions: Callable[[], tuple[ConsoleSession, ...]]) -> web.Application:
    """What operators and monitors see."""

    async def status(_: web.Request) -> web.Response:
        return web.Response(body=status_text(sessions()), content_type="application/json")

    app = web.Application()
    app.router.add_get("/cmd/getstatus", status)
    return app


def status_text(sessions: tuple[ConsoleSession, ...]) -> bytes:
    """The sessions under the names that CloudStack's proxies use."""
    rows = [
        {
            "sessionUuid": session.session,
            "tag": session.guest,
            "clientInfo": session.client,
            "createTime": int(session.since * 1000),
            "lastUsedTime": int(session.last_used * 1000),
        }
        for session in sessions
    ]
    return msgspec.json.encode({"connections": rows})


@web.middleware
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info.get("name", "vnc.html")
    asset = _assets().get(name)
    if asset is None:
        raise web.HTTPNotFound
    headers = {"ETag": f'"{asset.tag}"', "Vary": "Accept-Encoding"}
    if any(tag.value == asset.tag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    if packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=asset.packed if packed else asset.body, content_type=asset.kind, headers=headers)


@functools.cache
def _assets() -> dict[str, "Asset"]:
    """Every file of the page by its name. Only what is in here can be asked for."""
    files = (place for place in sorted(WEB.rglob("*")) if place.is_file() and place.suffix in KINDS)
    return {str(place.relative_to(WEB)): Asset.of(place) for place in files}


async def _to_page(request: web.Request) -> web.StreamResponse:
    query = {name: request.query[name] for name in ("token", "port", "language", "extra") if name in request.query}
    raise web.HTTPFound(f"{PAGE}?{urlencode({'autoconnect': 'true', **query})}")
