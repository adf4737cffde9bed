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
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from sysvm.agent.roles.consoleproxy.knock import plausible
from sysvm.agent.roles.consoleproxy.picture import Unpaintable
from sysvm.agent.roles.serving.whole import Answer, Handler, Request
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.wire.channel import ConsoleSession

PAGE = "/resource/noVNC/vnc.html"
OLD = ("/", "/ajax", "/client/console")
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

FIRST_MODULES = ("console.js", "screen.js")
_IMPORT = re.compile(r"""^\s*(?:import|export)\b[^;"']*?["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)

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
        """The file at `place`; of the page itself, one that asks for all its modules at once."""
        body = place.read_bytes()
        if place == WEB / "vnc.html":
            body = body.replace(b"</head>", preloads(FIRST_MODULES) + b"</head>")
        return cls(KINDS[place.suffix], hashlib.sha256(body).hexdigest()[:32], body, gzip.compress(body, 6, mtime=0))


def preloads(modules: tuple[str, ...]) -> bytes:
    """Links to modules and to all that they import: else a browser learns of the fifth one when it has the fourth."""
    found: dict[Path, None] = {}
    left = [WEB / name for name in modules if (WEB / name).exists()]
    while left:
        module = left.pop()
        if module not in found:
            found[module] = None
            imported = (match[1] for match in _IMPORT.finditer(module.read_text()))
            left += [(module.parent / name).resolve() for name in imported]
    links = (f'  <link rel="modulepreload" href="../{module.relative_to(WEB)}">\n' for module in found)
    return "".join(links).encode()


Picture = Callable[[str, str, tuple[int, int]], Awaitable[bytes]]


def console_pages(picture: Picture) -> Handler:
    """What browsers see. `picture` gives a PNG for (ticket, client, (width, height))."""

    async def answer(request: Request) -> Answer:
        if request.path == "/getscreen":
            given = await _screen(request, picture)
        elif request.path in OLD:
            given = _to_page(request)
        else:
            given = _asset(request)
        return Answer(given.status, given.body, {**_HEADERS, **given.headers})

    return answer


async def _screen(request: Request, picture: Picture) -> Answer:
    ticket = request.query.get("token", "")
    if not plausible(ticket):
        return Answer.text(403, "a ticket is needed: ask for the picture again")
    size = (side_of(request.query.get("w", "")), side_of(request.query.get("h", "")))
    try:
        png = await picture(ticket, request.client, size)
    except Refused as refused:
        return Answer.text(403, refused.text)
    except (NotYet, Unreachable, Broken, Stale, Unpaintable) as error:
        return Answer.text(503, str(error))
    return Answer(200, png, {"Content-Type": "image/png", "Cache-Control": "no-store"})


def side_of(text: str) -> int:
    """A number of pixels; 0, which is no limit, for what is none."""
    return min(int(text), MOST_PIXELS) if text.isdecimal() and len(text) < 6 else 0


def missing() -> str:
    """What of the page is not in this machine; empty when all is there."""
    needed = ("vnc.html", "vendor/novnc/core/rfb.js", "vendor/xterm/xterm.mjs")
    return ", ".join(name for name in needed if not (WEB / name).exists())


def status_pages(sessions: Callable[[], tuple[ConsoleSession, ...]]) -> Handler:
    """What operators and monitors see."""

    async def answer(request: Request) -> Answer:
        if request.path != "/cmd/getstatus":
            return Answer.text(404)
        return Answer(200, status_text(sessions()), {"Content-Type": "application/json"})

    return answer


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


def _asset(request: Request) -> Answer:
    name = "vnc.html" if request.path == PAGE else request.path.removeprefix("/resource/")
    asset = _assets().get(name) if request.path.startswith("/resource/") else None
    if asset is None:
        return Answer.text(404)
    headers = {"ETag": f'"{asset.tag}"', "Vary": "Accept-Encoding"}
    if f'"{asset.tag}"' in request.headers.get("if-none-match", ""):
        return Answer(304, b"", headers)
    headers["Content-Type"] = f"{asset.kind}; charset=utf-8"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Answer(200, asset.body, headers)
    return Answer(200, asset.packed, {**headers, "Content-Encoding": "gzip"})


@functools.cache
def _assets() -> dict[str, "Asset"]:
    """Every file of the page by its name. Only what is in here can be asked for."""
    files = (place for place in sorted(WEB.rglob("*")) if place.is_file() and place.suffix in KINDS)
    return {str(place.relative_to(WEB)): Asset.of(place) for place in files}


def _to_page(request: Request) -> Answer:
    query = {name: request.query[name] for name in ("token", "port", "language", "extra") if name in request.query}
    where = f"{PAGE}?{urlencode({'autoconnect': 'true', **query})}"
    return Answer(302, b"", {"Location": where})
