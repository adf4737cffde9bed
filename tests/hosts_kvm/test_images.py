"""Fetching images over TLS with a ticket: from a server of this test, which breaks the line, lies and forgets."""

import asyncio
import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts.storage.images import fetch_image
from sysvm.hosts.storage.pools import image_file, list_images
from sysvm.wire.link import FetchImage
from tests.hosts_kvm.test_volumes import make_qcow2

CONTENT = bytes(range(256)) * 16384  # 4 MiB


@dataclass
class Source:
    """A secondary storage VM's serving side."""

    content: bytes = CONTENT
    break_after: int | None = None
    ignores_ranges: bool = False
    status: int | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Range", "")
        self.asked.append((request.path, request.headers["Authorization"], given))
        if self.status:
            return web.Response(status=self.status)
        start = 0 if self.ignores_ranges or not given else int(given.removeprefix("bytes=").rstrip("-"))
        answer = web.StreamResponse(status=206 if given else 200)
        if given:
            answer.headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        answer.content_length = len(self.content) - start
        await answer.prepare(request)
        end = len(self.content) if self.break_after is None else self.break_after
        await answer.write(self.content[start:end])
        if self.break_after is not None:
            request.transport.close()
        return answer


@pytest.fixture
async def source():
    """A server with a certificate of its own CA; `.order(pool)` asks for its content."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    made = Source()
    app = web.Application()
    app.router.add_get("/images/{store}/{image}", made.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]

    def order(pool: Path, **more) -> FetchImage:
        values = {
            "pool": str(pool), "sha256": hashlib.sha256(made.content).hexdigest(), "size": len(made.content),
            "format": "raw", "address": "127.0.0.1", "port": port, "store": "st", "image": "im",
            "ticket": "the ticket", "ca": authority.cert_pem.bytes().decode(),
        }  # fmt: skip
        return FetchImage(**{**values, **more})

    made.order = order
    yield made
    await runner.cleanup()


def nothing(part: float) -> None:
    """Progress that nobody watches."""


async def test_an_image_is_fetched_once_and_is_what_was_promised(source, tmp_path):
    seen: list[float] = []
    order = source.order(tmp_path)
    for _ in range(2):
        await fetch_image(order, seen.append)
    assert image_file(order.pool, order.sha256, "raw").read_bytes() == CONTENT
    assert source.asked == [("/images/st/im", "Bearer the ticket", "")]
    assert (seen, seen[-1]) == (sorted(seen), 1.0)


async def test_a_broken_line_goes_on_where_it_ended(source, tmp_path):
    order = source.order(tmp_path)
    source.break_after = 1_000_000
    with pytest.raises(NotYet):
        await fetch_image(order, nothing)
    assert list_images([order.pool]) == ()
    (half,) = (tmp_path / "images").iterdir()
    had = half.stat().st_size
    source.break_after = None
    await fetch_image(order, nothing)
    assert (had > 0, source.asked[1][2]) == (True, f"bytes={had}-")
    assert image_file(order.pool, order.sha256, "raw").read_bytes() == CONTENT


async def test_callers_of_one_image_share_one_download(source, tmp_path):
    order = source.order(tmp_path)
    await asyncio.gather(*(fetch_image(order, nothing) for _ in range(5)))
    assert len(source.asked) == 1


@pytest.mark.parametrize(
    ("why", "more"),
    [
        ("SHA-256", {"sha256": "0" * 64}),
        ("more than the promised", {"size": 1000}),
        ("does not begin like a qcow2", {"format": "qcow2"}),
    ],
)
async def test_an_image_is_refused_and_nothing_of_it_is_kept_for(source, tmp_path, why, more):
    order = source.order(tmp_path, **more)
    with pytest.raises(Refused, match=why):
        await fetch_image(order, nothing)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size] == []


async def test_an_image_with_a_backing_file_is_refused(source, tmp_path):
    source.content = make_qcow2(tmp_path / "q", "-u", "-b", "/etc/shadow", "-F", "raw", "1M").read_bytes()
    with pytest.raises(Refused, match="backing file"):
        await fetch_image(source.order(tmp_path / "pool", format="qcow2"), nothing)


async def test_too_few_bytes_are_not_an_image_yet(source, tmp_path):
    order = source.order(tmp_path, size=len(CONTENT) + 1)
    with pytest.raises((NotYet, Refused)):
        await fetch_image(order, nothing)
    assert list_images([order.pool]) == ()


async def test_a_server_that_ignores_ranges_is_not_believed(source, tmp_path):
    order = source.order(tmp_path)
    source.break_after = 1000
    with pytest.raises(NotYet):
        await fetch_image(order, nothing)
    source.break_after, source.ignores_ranges = None, True
    with pytest.raises(NotYet, match="another range"):
        await fetch_image(order, nothing)


@pytest.mark.parametrize(("status", "error"), [(403, Refused), (404, Refused), (503, NotYet), (302, NotYet)])
async def test_the_server_s_no_is_told(source, tmp_path, status, error):
    source.status = status
    with pytest.raises(error, match=str(status)):
        await fetch_image(source.order(tmp_path), nothing)


async def test_a_server_of_another_authority_gets_no_ticket(source, tmp_path):
    order = source.order(tmp_path, ca=trustme.CA().cert_pem.bytes().decode())
    with pytest.raises(NotYet, match="certificate verify failed"):
        await fetch_image(order, nothing)
    assert source.asked == []
