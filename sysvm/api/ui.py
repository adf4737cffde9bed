"""A web interface beside the API: the files of a built CloudStack UI, at /client/ where it looks for them.

Which one, and of which version, is the operator's choice: nothing of it is part of sysvm. Reading and caching is Starlette's:
only regular files below the folder, also when links lead elsewhere, with an ETag. What begins with a dot is not there for
anybody. The folder may be exchanged while the server runs.
"""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from sysvm.api.http import Asgi, Receive, Response, Scope, Send, send_response
from sysvm.basics.errors import Refused

ROOT = "/client"
INDEX = "index.html"
TEXT = "text/plain; charset=utf-8"
ABSENT = Response(404, b"There is nothing here; the API is at /client/api\n", TEXT)
FORWARD = Response(302, b"", TEXT, [(b"location", f"{ROOT}/".encode())])
# A browser asks whether its copy is still right, and nobody frames the page to have its buttons clicked.
HEADERS = (
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
)


def make_ui(folder: Path) -> Asgi:
    """What answers below /client/ and forwards there. Raises Refused for a folder without a page."""
    if not (folder / INDEX).is_file():
        raise Refused(f"{folder} is no built web interface: it has no {INDEX}")
    files = StaticFiles(directory=folder, html=True)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in ("/", ROOT):
            await send_response(send, FORWARD)
        elif not path.startswith(f"{ROOT}/") or "/." in path:
            await send_response(send, ABSENT)
        else:
            await _file(files, scope, receive, send)

    return serve


async def _file(files: StaticFiles, scope: Scope, receive: Receive, send: Send) -> None:
    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]
        await send(message)

    try:
        await files({**scope, "root_path": ROOT}, receive, with_headers)
    except HTTPException as refused:
        absent = refused.status_code == 404
        await send_response(send, ABSENT if absent else Response(refused.status_code, b"Not possible here\n", TEXT))
