"""The API as ASGI applications: the main one (`/client/api`) and the one of the integration port.

Nothing is read or opened when they are made. A bug in a handler is answered with 530 and ends in the log with its
traceback, by Starlette's error middleware.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import FileResponse
from starlette.responses import Response as StarletteResponse

from sysvm.api import catalogue, commands, console_page, envelopes, errors, metrics, results, template_files
from sysvm.api.dispatch import Dispatcher
from sysvm.api.http import Asgi, Receive, Request, Response, Scope, Send, decode_form, read_request, send_response
from sysvm.api.live import Live
from sysvm.api.passwords import Passwords
from sysvm.api.ui import ABSENT, make_ui
from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import Ids
from sysvm.basics.log import get_logger
from sysvm.store.secrets import Vault
from sysvm.store.store import Store

CLOUDSTACK_VERSION = "4.20.0.0"
PATHS = frozenset({"/client/api", "/client/api/"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})

log = get_logger()
assert commands  # importing it registers the handlers


class Apps(NamedTuple):
    """`main` for everybody, `integration` for loopback only: it knows no login."""

    main: Asgi
    integration: Asgi


def make_apps(store: Store, ids: Ids, vault: Vault, passwords: Passwords, *, ui: Path | None = None) -> Apps:
    """The API over a store, and a built web interface beside it. Raises Refused for a folder that has none."""
    results.register(vault)
    live = Live(store)
    make = partial(Dispatcher, store, ids, vault, passwords, live, CLOUDSTACK_VERSION)
    main = partial(_main, make(), make_ui(ui) if ui is not None else None)
    return Apps(_guarded(main), _guarded(partial(_integration, make(integration=True), store)))


def make_app(store: Store, ids: Ids, vault: Vault, passwords: Passwords) -> Asgi:
    """Only the main application."""
    return make_apps(store, ids, vault, passwords).main


def _guarded(app: Asgi) -> Asgi:
    return ServerErrorMiddleware(app, handler=_broken)


async def _broken(request: StarletteRequest, error: Exception) -> StarletteResponse:
    log.error("api_call_failed", path=request.url.path, error=f"{type(error).__name__}: {error}")
    params = decode_form(request.scope["query_string"])
    command = catalogue.commands().get(params.get("command", ""))
    envelope = command.envelope if command else envelopes.ERROR
    answer = envelopes.refusal(envelope, Refused(errors.INTERNAL, Why.INTERNAL), as_json=params.get("response") == "json")
    return StarletteResponse(answer.body, answer.status, media_type=answer.content_type)


async def _main(dispatcher: Dispatcher, ui: Asgi | None, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == console_page.PATH:
        await _answer(partial(console_page.answer, dispatcher), scope, receive, send)
        return
    if (file := template_files.found(scope["path"])) is not None:
        await FileResponse(file)(scope, receive, send)
        return
    if scope["path"] in PATHS:
        await _answer(dispatcher.answer, scope, receive, send)
    elif ui is not None:
        await ui(scope, receive, send)
    else:
        await send_response(send, ABSENT)


async def _integration(dispatcher: Dispatcher, store: Store, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if not _is_loopback(scope):
        # A page in a browser may reach this port under a name that resolves to loopback.
        await send_response(send, Response(403, b"This port answers only to loopback names\n", "text/plain"))
        return
    if scope["path"] == "/metrics":
        await send_response(send, Response(200, await metrics.exposition(store), metrics.CONTENT_TYPE))
        return
    await _answer(dispatcher.answer, scope, receive, send)


def _is_loopback(scope: Scope) -> bool:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    name = host if host.endswith("]") or (host.count(":") > 1 and "]" not in host) else host.rsplit(":", 1)[0]
    return name in LOOPBACK_NAMES


async def _answer(to: Callable[[Request], Awaitable[Response]], scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "POST"):
        refused = Refused(f"{scope['method']} is not used here", Why.METHOD)
        await send_response(send, envelopes.refusal(envelopes.ERROR, refused, as_json=True))
        return
    try:
        request = await read_request(scope, receive)
    except Refused as refused:
        await send_response(send, envelopes.refusal(envelopes.ERROR, refused, as_json=True))
        return
    await send_response(send, await to(request))
