"""HTTP/1.1 for answers that are whole in memory: GET and HEAD, connections that stay open for a while, TLS or not.

A console proxy serves a page, a small picture and a status with it; aiohttp would do so, too, and costs the process 12 MB.
Reading a request and writing an answer are pure. Not here: bodies of requests (refused), ranges, files, chunks.
Races thought of: a client that sends a head drop by drop, or takes no answer, is cut off after a while; a site that stops
cuts its connections, also those in the middle of an answer.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import socket
from urllib.parse import parse_qsl, unquote, urlsplit

from sysvm.basics.transports import cut

MOST_HEAD = 16 * 1024
MOST_FIELDS = 100
IDLE_S = 15.0
TAKE_S = 60.0
_METHODS = ("GET", "HEAD")
_NO_LINES = {ord("\r"): None, ord("\n"): None}  # a header is one line, whatever is in it


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for. Header names are in lower case; of a name that comes twice the first value counts."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str = ""
    head_only: bool = False
    stays: bool = True  # the connection, after the answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What he gets."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: int, text: str = "") -> "Answer":
        """A sentence; the status in words when there is none."""
        body = (text or HTTPStatus(status).phrase).encode()
        return cls(status, body, {"Content-Type": "text/plain; charset=utf-8"})


Handler = Callable[[Request], Awaitable[Answer]]


def read_request(head: bytes, client: str = "") -> Request | Answer:
    """A request from its head (with or without the empty line); the answer to one that is not understood."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or len(lines) > MOST_FIELDS:
        return Answer.text(400)
    if words[0] not in _METHODS:
        return Answer.text(405)
    headers = _fields(lines)
    if headers is None or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return Answer.text(400)
    try:
        target = urlsplit(words[1])
        query = parse_qsl(target.query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return Answer.text(400)
    if not words[1].startswith("/") or target.netloc:
        return Answer.text(400)
    stays = words[2] == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
    return Request(unquote(target.path), dict(reversed(query)), headers, client, words[0] == "HEAD", stays)


def _fields(lines: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        found.setdefault(name.lower(), value.strip())
    return found


def written(answer: Answer, *, head_only: bool, stays: bool) -> bytes:
    """The bytes of an answer."""
    headers = {
        **answer.headers,
        "Content-Length": str(len(answer.body)),
        "Connection": "keep-alive" if stays else "close",
    }
    if answer.status == HTTPStatus.NOT_MODIFIED:
        del headers["Content-Length"]
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value.translate(_NO_LINES)}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head if head_only else head + answer.body


class PagesAcceptor:
    """A site on one socket."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    async def close(self) -> None:
        """No more connections from here; those that are open end by themselves."""
        self._server.close()


class Pages:
    """What a handler answers, at several doors (`door.Door`)."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._open: set[asyncio.StreamWriter] = set()

    async def accept(self, listening: socket, context: ssl.SSLContext | None) -> PagesAcceptor:
        """See `door.Accept`."""
        return PagesAcceptor(await asyncio.start_server(self._serve, sock=listening, ssl=context, limit=MOST_HEAD))

    async def stop(self) -> None:
        """Ends all connections."""
        for writer in list(self._open):
            cut(writer.transport)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                while await self._turn(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _turn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another."""
        async with asyncio.timeout(IDLE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        peer = writer.get_extra_info("peername")
        asked = read_request(head, peer[0] if peer else "")
        if isinstance(asked, Answer):
            writer.write(written(asked, head_only=False, stays=False))
            return False
        writer.write(written(await self._handler(asked), head_only=asked.head_only, stays=asked.stays))
        async with asyncio.timeout(TAKE_S):
            await writer.drain()
        return asked.stays
