"""Downloads arrive whole or not at all, whatever the source does."""

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest
import trustme
from storage_stage import PATIENCE, Exchange, Source, Stage, partial, pieces, qcow2, raw, stage, whole

from sysvm.agent.roles.secstorage.fetch import READ_BUFFER
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.basics.errors import Refused
from sysvm.wire.channel import DeleteImage, Download

DATA = raw(3 * 1024 * 1024)
SHA256 = hashlib.sha256(DATA).hexdigest()


async def test_an_image_comes_with_its_digest_size_and_progress(ssvm: Stage) -> None:
    got = await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)), checksum=f"{{SHA-256}}{SHA256}")
    assert (SHA256, len(DATA), len(DATA), "RAW") == (got.sha256, got.size, got.virtual_size, got.format)
    assert ssvm.said[-1] == 1.0
    assert ssvm.left() == {f"objects/{SHA256}", "images/image-1.json"}
    assert (ssvm.store / "objects" / SHA256).read_bytes() == DATA


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
async def test_every_checksum_that_cloudstack_knows_is_checked(ssvm: Stage, name: str) -> None:
    url = ssvm.source.serve("/a", whole(DATA))
    await ssvm.fetch(url, checksum=hashlib.new(name, DATA).hexdigest())
    with pytest.raises(Refused, match="the checksum is wrong"):
        await ssvm.fetch(url, "image-2", checksum=hashlib.new(name, b"other").hexdigest())
    assert ssvm.left() == {f"objects/{SHA256}", "images/image-1.json"}


async def test_the_same_bytes_are_kept_once_and_go_with_their_last_image(ssvm: Stage) -> None:
    url = ssvm.source.serve("/a", whole(DATA))
    await ssvm.fetch(url, "image-1")
    await ssvm.fetch(url, "image-2")
    assert ssvm.left() == {f"objects/{SHA256}", "images/image-1.json", "images/image-2.json"}
    await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), None)
    assert ssvm.left() == {f"objects/{SHA256}", "images/image-2.json"}
    for _ in range(2):
        await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-2"), None)
    assert ssvm.left() == set()


async def test_the_same_order_again_is_answered_without_asking_the_source(ssvm: Stage) -> None:
    url = ssvm.source.serve("/a", whole(DATA))
    first, second = await asyncio.gather(ssvm.fetch(url), ssvm.fetch(url))
    assert (first, 1) == (second, len(ssvm.source.asked))


# ---------------------------------------------------------------- sources that fail
async def test_a_connection_cut_at_forty_percent_goes_on_from_there(ssvm: Stage) -> None:
    cut = len(DATA) * 4 // 10

    async def answer(ask: Exchange) -> None:
        if ask.start is None:
            await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=DATA[:cut])
        else:
            await partial(ask, DATA, ask.start, len(DATA))

    got = await ssvm.fetch(ssvm.source.serve("/a", answer))
    first, second = ssvm.source.ranges()
    assert (got.sha256, first) == (SHA256, None)
    assert cut - 2 * READ_BUFFER <= (second or 0) <= cut
    assert ssvm.source.asked[1].headers["if-range"] == '"1"'


async def test_a_source_that_stalls_is_noticed_and_asked_again(ssvm: Stage) -> None:
    stop = asyncio.Event()

    async def answer(ask: Exchange) -> None:
        start = ask.start or 0
        if len(ssvm.source.asked) < 3:
            await (partial(ask, DATA, start, start + 1_000_000) if start else cut(ask))
            await stop.wait()  # and then nothing, for ever
        else:
            await partial(ask, DATA, start, len(DATA))

    async def cut(ask: Exchange) -> None:
        await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=DATA[:1_000_000])

    got = await ssvm.fetch(ssvm.source.serve("/a", answer))
    stop.set()
    assert (got.sha256, ssvm.source.ranges()) == (SHA256, [None, 1_000_000, 2_000_000])


async def test_a_server_without_ranges_is_begun_anew(ssvm: Stage) -> None:
    async def answer(ask: Exchange) -> None:
        body = DATA[:1_000_000] if len(ssvm.source.asked) == 1 else DATA
        await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=body)

    assert (await ssvm.fetch(ssvm.source.serve("/a", answer))).sha256 == SHA256


async def test_a_file_that_changes_midway_is_begun_anew(ssvm: Stage) -> None:
    """If-Range with the old ETag brings the whole new file."""
    new = raw(2_000_000)[::-1]

    async def answer(ask: Exchange) -> None:
        if len(ssvm.source.asked) == 1:
            await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=DATA[:1_000_000])
        else:
            await ask.say("200 OK", f"Content-Length: {len(new)}", 'ETag: "2"', body=new)

    assert hashlib.sha256(new).hexdigest() == (await ssvm.fetch(ssvm.source.serve("/a", answer))).sha256


@pytest.mark.parametrize(
    ("headers", "sent", "sentence"),
    [
        (("Content-Length: 5000000",), b"", "larger than the 4000000 bytes"),
        (("Transfer-Encoding: chunked",), raw(5_000_000), "larger than the 4000000 bytes"),
    ],
    ids=["said", "sent"],
)
async def test_an_image_that_is_too_big_is_refused(ssvm: Stage, headers: tuple[str, ...], sent: bytes, sentence: str) -> None:
    async def answer(ask: Exchange) -> None:
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(sent, 65536)]
        await ask.say("200 OK", *headers, body=b"".join(chunks))

    with pytest.raises(Refused, match=sentence):
        await ssvm.fetch(ssvm.source.serve("/a", answer), max_bytes=4_000_000)
    assert ssvm.left() == set()


@pytest.mark.parametrize(
    ("status", "asked", "sentence"),
    [
        ("404 Not Found", 1, "answers 404"),
        ("403 Forbidden", 1, "answers 403"),
        ("503 Busy", 3, "failed 3 times in a row"),
    ],
)
async def test_only_what_may_pass_is_tried_again(ssvm: Stage, status: str, asked: int, sentence: str) -> None:
    async def answer(ask: Exchange) -> None:
        await ask.say(status, "Content-Length: 0")

    with pytest.raises(Refused, match=sentence):
        await ssvm.fetch(ssvm.source.serve("/a", answer))
    assert asked == len(ssvm.source.asked)


async def test_a_store_that_is_full_is_said_before_anything_is_fetched(ssvm: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageStore, "free", lambda _: 64 * 1024 * 1024 + len(DATA) - 1)
    with pytest.raises(Refused, match="the image store is full"):
        await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    assert ssvm.left() == set()


# ---------------------------------------------------------------- where a URL may lead
async def test_a_redirect_to_a_private_address_is_refused(ssvm: Stage) -> None:
    async def answer(ask: Exchange) -> None:
        await ask.say("302 Found", "Location: http://10.1.2.3/secret", "Content-Length: 0")

    with pytest.raises(Refused, match=r"10\.1\.2\.3 is private"):
        await ssvm.fetch(ssvm.source.serve("/a", answer))


async def test_an_allowed_redirect_is_followed_and_a_ring_is_not(ssvm: Stage) -> None:
    async def ring(ask: Exchange) -> None:
        await ask.say("307 Temporary Redirect", "Location: /ring", "Content-Length: 0")

    async def moved(ask: Exchange) -> None:
        await ask.say("301 Moved Permanently", "Location: /a", "Content-Length: 0")

    ssvm.source.serve("/a", whole(DATA))
    assert (await ssvm.fetch(ssvm.source.serve("/moved", moved))).sha256 == SHA256
    with pytest.raises(Refused, match="redirects more than"):
        await ssvm.fetch(ssvm.source.serve("/ring", ring), "image-2")


async def test_a_name_is_resolved_once_and_connected_to_as_judged(tmp_path: Path) -> None:
    """A name server that answers with a good address first and a bad one then changes nothing."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

    async with stage(tmp_path, resolve=resolve) as ssvm:
        await ssvm.role.apply(ssvm.document())
        ssvm.source.serve("/a", whole(DATA))
        got = await ssvm.fetch(f"http://images.example:{ssvm.source.port}/a")
    assert (got.sha256, asked) == (SHA256, ["images.example"])
    assert f"images.example:{ssvm.source.port}" == ssvm.source.asked[0].headers["host"]


async def test_a_name_with_one_bad_address_is_not_fetched_from(tmp_path: Path) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "169.254.169.254"]

    async with stage(tmp_path, resolve=resolve) as ssvm:
        await ssvm.role.apply(ssvm.document())
        ssvm.source.serve("/a", whole(DATA))
        with pytest.raises(Refused, match="link-local"):
            await ssvm.fetch(f"http://images.example:{ssvm.source.port}/a")
        assert ssvm.source.asked == []


async def test_the_machines_own_address_is_never_fetched_from(ssvm: Stage) -> None:
    with pytest.raises(Refused, match="belongs to the cloud itself"):
        await ssvm.fetch("http://127.0.0.9:1/")


async def test_https_works_with_a_private_ca_and_not_with_an_unknown_one(ssvm: Stage) -> None:
    for ca, image in ((ssvm.ca, "image-1"), (trustme.CA(), "image-2")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        source = Source()
        await source.start(context)
        url = source.serve("/a", whole(DATA)).replace("http:", "https:")
        if image == "image-1":
            assert (await ssvm.fetch(url, image)).sha256 == SHA256
        else:
            with pytest.raises(Refused, match=r"certificate of 127\.0\.0\.1 is not trusted"):
                await ssvm.fetch(url, image)
        source.stop()


# ---------------------------------------------------------------- what the bytes are
async def test_a_qcow2_with_a_backing_file_is_refused_and_nothing_of_it_stays(ssvm: Stage) -> None:
    evil = qcow2(backing_offset=112, backing_size=11)
    with pytest.raises(Refused, match="has a backing file"):
        await ssvm.fetch(ssvm.source.serve("/a", whole(evil)), format="QCOW2")
    assert ssvm.left() == set()


async def test_a_qcow2_has_its_virtual_size_and_may_not_be_larger_than_allowed(ssvm: Stage) -> None:
    url = ssvm.source.serve("/a", whole(qcow2(1 << 29)))
    assert (await ssvm.fetch(url, format="QCOW2")).virtual_size == (1 << 29)
    with pytest.raises(Refused, match="is a disk of 536870912 bytes"):
        await ssvm.fetch(url, "image-2", format="QCOW2", max_bytes=1 << 28)


# ---------------------------------------------------------------- tasks
async def test_a_forgotten_task_leaves_nothing(ssvm: Stage) -> None:
    begun, stop = asyncio.Event(), asyncio.Event()

    async def answer(ask: Exchange) -> None:
        await ask.say("200 OK", f"Content-Length: {len(DATA)}", body=DATA[:1_000_000])
        begun.set()
        await stop.wait()

    url = ssvm.source.serve("/a", answer)
    task = asyncio.get_running_loop().create_task(ssvm.fetch(url))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stop.set()
    await ssvm.role.forget_task("t", Download(store="store-1", image="image-1", url=url, format="RAW"))
    assert ssvm.left() == set()


@pytest.mark.parametrize("image", ["../../etc/passwd", "", "a/b", "a" * 200])
async def test_an_image_name_is_no_path(ssvm: Stage, image: str) -> None:
    with pytest.raises(Refused, match="named by its UUID"):
        await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)), image)
