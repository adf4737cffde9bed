"""`/client/console` of older clients: `cmd=access` leads to a console page, `cmd=thumbnail` to a small picture of the screen.

Both are createConsoleEndpoint in other words, for whoever is logged in: the same rights, the same ticket; the answer is a
redirect to the proxy instead of an object.
"""

from dataclasses import replace
from urllib.parse import urlencode

import msgspec

from sysvm.api.dispatch import Dispatcher
from sysvm.api.http import Request, Response

PATH = "/client/console"
TEXT = "text/plain; charset=utf-8"
MOST_PIXELS = 4096


async def answer(dispatcher: Dispatcher, request: Request) -> Response:
    """A redirect, or why there is none."""
    given = {name.lower(): value for name, value in request.params.items()}
    command, machine = given.get("cmd", ""), given.get("vm", "")
    if command not in ("access", "thumbnail") or not machine:
        return _said(400, "Use cmd=access&vm=ID, or cmd=thumbnail&vm=ID&w=WIDTH&h=HEIGHT")
    asked = {"command": "createConsoleEndpoint", "virtualmachineid": machine, "response": "json"}
    kept = {name: value for name, value in given.items() if name == "sessionkey"}
    said = await dispatcher.answer(replace(request, params={**asked, **kept}))
    if said.status != 200:
        return said
    endpoint = msgspec.json.decode(said.body)["createconsoleendpointresponse"]["consoleendpoint"]
    if not endpoint["success"]:
        return _said(503, endpoint["details"])
    url = endpoint["url"] if command == "access" else _picture(endpoint, given)
    return Response(302, b"", TEXT, [(b"location", url.encode()), (b"cache-control", b"no-store")])


def _picture(endpoint: dict[str, object], given: dict[str, str]) -> str:
    socket = endpoint["websocket"]
    assert isinstance(socket, dict)
    page = str(endpoint["url"]).split("/resource/", 1)[0]
    return f"{page}/getscreen?{urlencode({'token': socket['token'], 'w': _side(given, 'w'), 'h': _side(given, 'h')})}"


def _side(given: dict[str, str], name: str) -> int:
    text = given.get(name, "")
    return min(max(int(text), 1), MOST_PIXELS) if text.isdecimal() and len(text) < 6 else 0


def _said(status: int, text: object) -> Response:
    return Response(status, f"{text}\n".encode(), TEXT)
