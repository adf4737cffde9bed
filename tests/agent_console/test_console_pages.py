"""HTTP as the proxy reads it: what is a request, what is not, and that no bytes bring it down."""

import asyncio
import socket
from http.client import HTTPConnection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.agent.roles.serving.door import listen
from sysvm.agent.roles.serving.whole import MOST_HEAD, Answer, Pages, Request, read_request, written


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /a%20b?x=1&x=2&y= HTTP/1.1\r\nHost: h\r\n\r\n", Request("/a b", {"x": "1", "y": ""}, {"host": "h"})),
        (b"HEAD / HTTP/1.1\r\nConnection: Close\r\n\r\n", Request("/", {}, {"connection": "Close"}, "", True, False)),
        (b"GET / HTTP/1.0\r\n\r\n", Request("/", {}, {}, stays=False)),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", Request("/../../etc/passwd", {}, {})),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length : 0\r\n\r\n", 400),
        (b"GET //other/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET /?" + b"&a" * 200 + b" HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_what_is_a_request(head: bytes, expected: Request | int) -> None:
    found = read_request(head)
    assert expected == (found if isinstance(found, Request) else found.status)


@given(st.binary(max_size=300))
def test_no_bytes_bring_it_down(noise: bytes) -> None:
    for head in (noise, b"GET /" + noise + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + noise + b"\r\n\r\n"):
        found = read_request(head)
        assert isinstance(found, Request) or written(found, head_only=False, stays=False).startswith(b"HTTP/1.1 4")


def test_an_answer_cannot_be_split_by_what_was_asked() -> None:
    """Line ends of a query come back encoded, in a Location as elsewhere."""
    found = read_request(b"GET /ajax?token=a%0d%0aSet-Cookie:x HTTP/1.1\r\n\r\n")
    assert isinstance(found, Request)
    assert found.query["token"] == "a\r\nSet-Cookie:x"
    sent = written(Answer(302, b"", {"Location": f"/x?{found.query['token']}"}), head_only=False, stays=True)
    assert b"\r\nSet-Cookie" not in sent


async def test_a_connection_stays_for_the_next_request_and_a_head_that_never_ends_does_not() -> None:
    async def echo(request: Request) -> Answer:
        return Answer(200, request.path.encode(), {"Content-Type": "text/plain"})

    pages, listening = Pages(echo), listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    acceptor = await pages.accept(listening, None)

    def ask() -> tuple[list[bytes], bytes]:
        line = HTTPConnection("127.0.0.1", port)
        got = []
        for method, path in (("GET", "/one"), ("HEAD", "/two"), ("GET", "/three")):
            line.request(method, path)
            got.append(line.getresponse().read())
        with socket.create_connection(("127.0.0.1", port)) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\n" + b"x" * 2 * MOST_HEAD)
            return got, endless.makefile("rb").read()

    assert await asyncio.to_thread(ask) == ([b"/one", b"", b"/three"], b"")
    await pages.stop()
    await acceptor.close()
