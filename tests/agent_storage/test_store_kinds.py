"""One suite for all kinds of image stores: a folder, and a bucket of an S3 server. And what only a bucket can get wrong."""

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest
import trustme
from s3_server import Relay, Server, files_of, served
from storage_stage import KEY, PATIENCE, Exchange, Source, Stage, noise, partial, qcow2, raw, stage, whole

from sysvm.agent.roles.secstorage import kinds, s3
from sysvm.agent.roles.secstorage.bucket import MOST_PARTS, PART, BucketStore, part_length
from sysvm.agent.roles.secstorage.health import Look
from sysvm.agent.roles.secstorage.s3 import S3, Body, BucketFailed
from sysvm.agent.roles.secstorage.store import SWEEP_AGE_S, Image, ImageStore
from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.wire.channel import CheckSelf, DeleteImage, Diagnosed, Scrub, Scrubbed
from sysvm.wire.documents import Bucket, Store
from sysvm.wire.grants import FetchTicket, KeepTicket, sign_keep_ticket, sign_link, sign_ticket

NOW = SystemClock().now
LARGE = raw(2 * PART + 12345)  # three parts
UUID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    """An emulator, for all tests of this module."""
    with served("moto") as running:
        yield running


@pytest.fixture(scope="module")
def swift() -> Iterator[Server]:
    """A real one."""
    with served("swift") as running:
        yield running


@pytest.fixture(params=["swift", "moto"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two."""
    made: Server = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=["folder", "swift", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """An empty one."""
    bucket = None if request.param == "folder" else request.getfixturevalue(request.param).bucket()
    made = kinds.opened(Store(store="s", path=str(tmp_path), bucket=bucket), NOW)
    made.prepare()
    return made


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept(store: ImageStore, data: bytes, image: str = UUID) -> Image:
    """The image is in the store."""
    folder = store.incoming(image)
    folder.mkdir()
    (folder / "data").write_bytes(data)
    made = Image(image=image, sha256=sha(data), size=len(data), virtual_size=len(data), format="RAW")
    store.keep(folder / "data", made.sha256)
    store.refer(made)
    store.drop_incoming(image)
    return made


# ---------------------------------------------------------------- the suite
@pytest.mark.parametrize("data", [b"", b"x", noise(1000), LARGE], ids=["nothing", "a byte", "little", "parts"])
def test_what_is_kept_is_read_again_whole_and_in_ranges(store: ImageStore, data: bytes) -> None:
    made = kept(store, data)
    assert store.image(UUID) == made
    assert store.has(made.sha256)
    assert store.size(made.sha256) == len(data)
    with store.open(made.sha256) as file:
        assert file.read() == data
        for at, length in ((0, 10), (len(data) // 2, 7), (max(0, len(data) - 3), 100)):
            file.seek(at)
            assert file.read(length) == data[at : at + length]
        assert file.seek(0, os.SEEK_END) == len(data)
        assert file.read(1) == b""


def test_what_is_not_there_is_told(store: ImageStore) -> None:
    assert store.image(UUID) is None
    assert not store.has("0" * 64)
    with pytest.raises(FileNotFoundError):
        store.open("0" * 64)
    with pytest.raises(FileNotFoundError):
        store.size("0" * 64)
    with pytest.raises(Refused, match="UUID"):
        store.image("../../etc/passwd")
    store.forget(UUID)


def test_the_same_bytes_are_kept_once_and_go_with_their_last_image(store: ImageStore) -> None:
    made = kept(store, noise(1000))
    kept(store, noise(1000), OTHER)
    assert {UUID, OTHER} == {image.image for image in store.everything()}
    store.forget(UUID)
    assert (None, True) == (store.image(UUID), store.has(made.sha256))
    store.forget(OTHER)
    assert ([], False) == (store.everything(), store.has(made.sha256))


def test_an_image_of_other_bytes_takes_the_place_of_its_earlier_ones(store: ImageStore) -> None:
    kept(store, b"first")
    second = kept(store, b"second")
    assert store.image(UUID) == second
    assert 1 == len(store.everything())


def test_an_object_without_an_image_is_swept_when_it_is_old(store: ImageStore) -> None:
    folder = store.incoming(UUID)
    folder.mkdir()
    (folder / "data").write_bytes(b"orphan")
    store.keep(folder / "data", sha(b"orphan"))
    kept(store, b"wanted", OTHER)
    store.sweep(NOW())
    assert store.has(sha(b"orphan"))
    store.sweep(NOW() + SWEEP_AGE_S + 60)
    assert (False, True) == (store.has(sha(b"orphan")), store.has(sha(b"wanted")))


def test_what_has_not_come_wholly_is_no_image(store: ImageStore) -> None:
    folder = store.incoming(UUID)
    folder.mkdir()
    (folder / "data").write_bytes(b"half")
    assert (None, []) == (store.image(UUID), store.everything())


# ---------------------------------------------------------------- buckets
def bucket_store(server: Server, path: Path, bucket: Bucket | None = None) -> BucketStore:
    made = kinds.opened(Store(store="s", path=str(path), bucket=bucket or server.bucket()), NOW)
    assert isinstance(made, BucketStore)
    made.prepare()
    return made


def test_an_upload_that_was_begun_and_left_is_aborted_with_the_next_one_or_the_sweep(
    server: Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    store, client = bucket_store(server, tmp_path, bucket), S3(bucket, NOW)
    key = f"objects/{sha(LARGE)}"
    client.part(key, client.begin(key, ""), 1, Body.of(LARGE[:PART]))
    client.begin("objects/other", "")
    assert (False, 2) == (store.has(sha(LARGE)), len(list(client.uploads("objects/"))))
    kept(store, LARGE)
    assert ["objects/other"] == [one.key for one in client.uploads("objects/")]
    store.sweep(NOW() + SWEEP_AGE_S + 60)
    assert ([], True) == (list(client.uploads("objects/")), store.has(sha(LARGE)))


async def test_uploads_that_somebody_may_be_at_are_left_alone(tmp_path: Path) -> None:
    """The server is told what to answer: moto's uploads are all of the same day."""
    source = Source()
    await source.start()
    upload = "<Upload><Key>objects/{0}</Key><UploadId>{0}</UploadId><Initiated>{1}</Initiated></Upload>"
    at = {age: datetime.fromtimestamp(NOW() - age, UTC).isoformat() for age in (60, SWEEP_AGE_S + 60)}
    told = "".join(upload.format(name, at[age]) for name, age in (("young", 60), ("old", SWEEP_AGE_S + 60)))
    answers = {"/b?prefix=objects%2F&uploads=": f"<A>{told}</A>", "/b/objects/old?uploadId=old": ""}
    for prefix in ("images", "references", "objects"):
        answers[f"/b?list-type=2&max-keys=1000&prefix={prefix}%2F"] = "<A/>"
    for path, text in answers.items():
        source.serve(path, whole(text.encode()))
    bucket = Bucket(url=f"http://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s")
    store = kinds.opened(Store(store="s", path=str(tmp_path), bucket=bucket), NOW)
    store.prepare()
    assert ("objects/old",) == await asyncio.to_thread(store.sweep, NOW())
    assert ["/b/objects/old?uploadId=old"] == [ask.path for ask in source.asked if "uploadId" in ask.path]
    source.stop()


def test_bytes_that_the_disk_has_changed_meanwhile_do_not_become_an_object(server: Server, tmp_path: Path) -> None:
    store = bucket_store(server, tmp_path)
    place = tmp_path / "data"
    place.write_bytes(LARGE[:-1] + b"?")
    with pytest.raises(Refused, match="changed on the disk"):
        store.keep(place, sha(LARGE))
    assert not store.has(sha(LARGE))


@pytest.mark.parametrize("size", [0, 1, PART, MOST_PARTS * PART, MOST_PARTS * PART + 1, 10**12 + 7])
def test_an_upload_has_no_more_parts_than_every_server_takes(size: int) -> None:
    length = part_length(size)
    assert PART <= length <= 5 * 1024**3
    assert len(range(0, size, length)) <= MOST_PARTS


ODD = ("a b", "+", "%20", "ü~é", "!'()*", "$&,/:;=@", "//", "?x=1&y#z", "<&>")


def test_odd_names_are_signed_and_listed_as_they_are(server: Server) -> None:
    client = S3(server.bucket(), NOW)
    for number, name in enumerate(ODD):
        client.put(f"images/{name}", str(number).encode())
    assert sorted(f"images/{name}" for name in ODD) == sorted(one.key for one in client.entries("images/"))
    assert [b"0", b"5"] == [client.get(f"images/{ODD[number]}") for number in (0, 5)]
    assert ["images/ü~é"] == [one.key for one in client.entries("images/ü")]
    for name in ODD:
        client.delete(f"images/{name}")
    assert [] == list(client.entries(""))


def test_what_the_line_has_changed_is_not_taken(swift: Server) -> None:
    """Neither as an object nor as a part: the body's hash is signed."""
    client = S3(swift.bucket(), NOW)
    changed = body_that_changes(b"as it was", b"as it is!")
    upload = client.begin("objects/x", "")
    with pytest.raises(BucketFailed, match="answers 400"):
        client.part("objects/x", upload, 1, changed)


def body_that_changes(signed: bytes, sent: bytes) -> Body:
    return Body(len(signed), Body.of(signed).sha256, lambda: (sent,))


def test_a_server_whose_disk_is_away_says_so_and_is_used_when_it_is_back(
    swift: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own 503, not one of ours."""
    monkeypatch.setattr(s3, "PAUSES_S", (0.0,))
    store, disk = bucket_store(swift, tmp_path), swift.folder / "devices" / "d"
    away = disk.rename(disk.with_name("away"))
    disk.write_text("no folder")
    try:
        with pytest.raises(BucketFailed, match=r"answers 50[03]"):
            kept(store, noise(1000))
    finally:
        disk.unlink()
        away.rename(disk)
    store.drop_incoming(UUID)
    assert kept(store, noise(1000)) == store.image(UUID)


def test_a_server_that_is_killed_in_the_middle_of_an_upload_has_nothing_half_and_is_sent_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after the first of three parts; what it said it had kept it has in its next life."""
    monkeypatch.setattr(s3, "PAUSES_S", (0.0,))
    with served("swift") as server:
        store, client = bucket_store(server, tmp_path), S3(server.newest(), NOW)
        before = kept(store, noise(1000), OTHER)
        part, sent = S3.part, list[int]()

        def dies(self: S3, key: str, upload: str, number: int, data: Body) -> str:
            sent.append(number)
            if sent == [1, 2]:
                server.kill()
            return part(self, key, upload, number, data)

        with monkeypatch.context() as killing:
            killing.setattr(S3, "part", dies)
            with pytest.raises(BucketFailed, match="does not answer"):
                kept(store, LARGE)
        server.start()
        assert ([before], False) == (store.everything(), store.has(sha(LARGE)))
        assert 1 == len(list(client.uploads("objects/")))
        store.drop_incoming(UUID)
        made = kept(store, LARGE)
        assert (made, []) == (store.image(UUID), list(client.uploads("objects/")))


def test_more_objects_than_an_answer_holds_are_listed(server: Server) -> None:
    client = S3(server.bucket(), NOW)
    for number in range(7):
        client.put(f"images/{number}", b"")
    assert [f"images/{number}" for number in range(7)] == [one.key for one in client.entries("images/", 3)]


FAULTS = {
    "another bucket": ({"name": "not-there"}, "answers 404"),
    "another key": ({"access_key": "nobody"}, "answers 403, "),
    "another secret": ({"secret_key": "guessed"}, "answers 403, SignatureDoesNotMatch"),
    "nobody": ({"url": "http://127.0.0.1:1"}, "127.0.0.1:1 does not answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bucket_that_cannot_be_used_is_a_fault_in_words(server: Server, tmp_path: Path, fault: str) -> None:
    changes, text = FAULTS[fault]
    good = server.bucket()
    wanted = Store(store="s", path=str(tmp_path), bucket=msgspec.structs.replace(good, **changes))
    found = kinds.looked(wanted, Look(), NOW).fault
    assert found is not None
    assert (True, True) == (text in found.why, "look at the S3 server" in found.remedy)
    assert None is kinds.looked(msgspec.structs.replace(wanted, bucket=good), Look(), NOW).fault


async def test_the_servers_certificate_is_checked_against_the_given_ca_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ca, other, source = trustme.CA(), trustme.CA(), Source()
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    await source.start(context)
    source.serve("/b?list-type=2&max-keys=1", whole(b""))
    bucket = Bucket(url=f"https://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s")
    for pem, good in ((ca.cert_pem.bytes(), True), (other.cert_pem.bytes(), False), (b"", False)):
        client = S3(msgspec.structs.replace(bucket, ca=pem.decode()), NOW)
        if good:
            await asyncio.to_thread(client.look)
        else:
            with pytest.raises(BucketFailed, match="certificate verify failed"):
                await asyncio.to_thread(client.look)
    source.stop()


async def test_a_busy_server_is_asked_again_and_one_that_refuses_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAUSES_S", (0.0, 0.0))
    source = Source()
    await source.start()
    said = iter(("503 Slow Down", "500 Oops", "200 OK"))

    async def busy(ask: object) -> None:
        await ask.say(next(said), "Content-Length: 2", body=b"ok")  # type: ignore[attr-defined]

    async def none(ask: object) -> None:
        await ask.say("501 Not Implemented", "Content-Length: 0")  # type: ignore[attr-defined]

    async def no(ask: object) -> None:
        text = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        await ask.say("403 Forbidden", f"Content-Length: {len(text)}", body=text)  # type: ignore[attr-defined]

    source.serve("/b?prefix=x&uploads=", none)
    source.serve("/b/busy", busy)
    source.serve("/b/no", no)
    client = S3(Bucket(url=f"http://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s"), NOW)
    assert [] == await asyncio.to_thread(lambda: list(client.uploads("x"))), "this server does not keep such a list"
    assert b"ok" == await asyncio.to_thread(client.get, "busy")
    with pytest.raises(BucketFailed, match="answers 403, AccessDenied: no"):
        await asyncio.to_thread(client.get, "no")
    assert 5 == len(source.asked)
    source.stop()


async def test_a_line_that_breaks_is_taken_up_where_it_broke() -> None:
    data, source = noise(100_000), Source()
    await source.start()

    async def breaks(ask: object) -> None:
        await partial(ask, data, ask.start or 0, min(len(data), (ask.start or 0) + 30_000))  # type: ignore[attr-defined]

    source.serve("/b/objects/x", breaks)
    from sysvm.agent.roles.secstorage.bucket import Reading

    client = S3(Bucket(url=f"http://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s"), NOW)
    reading = Reading(client, "objects/x", len(data))
    assert data == await asyncio.to_thread(reading.read)
    assert [0, 30_000, 60_000, 90_000] == source.ranges()
    source.stop()


# ---------------------------------------------------------------- the whole role
@pytest.fixture
async def ssvm(server: Server, tmp_path: Path) -> AsyncIterator[Stage]:
    """A secondary storage VM whose only store is a bucket."""
    async with stage(tmp_path) as everything:
        stores = (Store(store="store-1", path=str(everything.store), bucket=server.bucket()),)
        assert await everything.role.apply(everything.document(stores=stores, public_address="127.0.0.9", public_port=0)) == ()
        yield everything


async def nothing(_: float) -> None:
    return


async def test_hosts_and_users_read_what_was_downloaded_to_a_bucket(ssvm: Stage) -> None:
    got = await ssvm.fetch(ssvm.source.serve("/a", whole(LARGE)), UUID)
    assert sha(LARGE) == got.sha256
    assert [] == [name for name in files_of(ssvm.store) if "chunks" not in name], "nothing waits any more"
    ticket = FetchTicket(store="store-1", image=UUID, sha256=got.sha256, expires=NOW() + 60)
    hosts = f"https://127.0.0.9:{ssvm.role.port}/images/store-1/{UUID}"
    users = f"http://127.0.0.9:{ssvm.role.public_ports['plain']}/userdata/{sign_link(KEY, ticket)}/a.raw"
    bearer = {"Authorization": f"Bearer {sign_ticket(KEY, ticket)}"}
    async with aiohttp.ClientSession() as client:
        for url in (hosts, users):
            async with client.get(url, headers=bearer, ssl=False) as answer:
                assert (200, LARGE) == (answer.status, await answer.read())
            part = {**bearer, "Range": f"bytes={PART - 5}-{PART + 4}"}
            async with client.get(url, headers=part, ssl=False) as answer:
                told = answer.headers["Content-Range"]
                assert (206, LARGE[PART - 5 : PART + 5]) == (answer.status, await answer.read())
                assert f"bytes {PART - 5}-{PART + 4}/{len(LARGE)}" == told
            async with client.get(url, headers={**bearer, "Range": f"bytes={len(LARGE)}-"}, ssl=False) as answer:
                assert 416 == answer.status


async def test_a_host_delivers_into_a_bucket_and_what_is_deleted_or_damaged_is_gone(ssvm: Stage, server: Server) -> None:
    data = qcow2(tail=noise(1000))
    ticket = KeepTicket(store="store-1", image=UUID, sha256=sha(data), size=str(len(data)), expires=NOW() + 60)
    bearer = {"Authorization": f"Bearer {sign_keep_ticket(KEY, ticket)}"}
    url = f"https://127.0.0.9:{ssvm.role.port}/deliveries/store-1/{UUID}"
    async with aiohttp.ClientSession() as client:
        whole_range = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        async with client.put(url, data=data, headers={**bearer, **whole_range}, ssl=False) as answer:
            assert {"done": len(data), "kept": True} == await answer.json()
    found = await ssvm.role.run_task("s", Scrub(store="store-1", mend=True), nothing)
    assert isinstance(found, Scrubbed)
    assert (1, ()) == (found.objects, found.damaged)
    S3(server.newest(), NOW).put(f"objects/{sha(data)}", b"other bytes")
    found = await ssvm.role.run_task("s2", Scrub(store="store-1", mend=True), nothing)
    assert isinstance(found, Scrubbed)
    assert (UUID,) == found.damaged
    await ssvm.role.run_task("d", DeleteImage(store="store-1", image=UUID), nothing)


async def test_a_folder_that_is_not_there_is_told_as_such_and_not_as_the_buckets_fault(ssvm: Stage) -> None:
    checked = await ssvm.role.run_task("c", CheckSelf(), nothing)
    assert isinstance(checked, Diagnosed)
    assert f"/{(await buckets_of(ssvm))[0]} is mounted and writable" in checked.stdout
    ssvm.mounted.clear()
    (fault,) = await ssvm.role.faults()
    assert fault.why == (
        f"the folder in which images wait for bucket {(await buckets_of(ssvm))[0]}: {ssvm.store} is not mounted"
    )


async def buckets_of(ssvm: Stage) -> list[str]:
    document = ssvm.role._document
    assert document is not None
    return [store.bucket.name for store in document.stores if store.bucket is not None]


async def test_a_server_that_is_away_damages_nothing_and_work_is_tried_again(
    ssvm: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins with "the image store cannot be" is tried again by the server; a scrub that cannot look deletes nothing."""
    monkeypatch.setattr(s3, "PAUSES_S", (0.0,))
    source = Source()
    await source.start()
    (there,) = ssvm.role._document.stores  # type: ignore[union-attr]
    image = Image(image=UUID, sha256="a" * 64, size=1, virtual_size=1, format="RAW")
    entry = "<Contents><Key>images/{}.json</Key><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"

    async def away(ask: Exchange) -> None:
        await ask.say("503 Slow Down", "Content-Length: 0")

    source.serve("/b?list-type=2&max-keys=1", whole(b""))
    source.serve("/b?list-type=2&max-keys=1000&prefix=images%2F", whole(f"<A>{entry.format(UUID)}</A>".encode()))
    source.serve(f"/b/images/{UUID}.json", whole(msgspec.json.encode(image)))
    source.serve(f"/b/objects/{'a' * 64}", away)
    source.serve("/b/images/image-2.json", away)
    bucket = Bucket(url=f"http://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s")
    await ssvm.role.apply(ssvm.document(stores=(msgspec.structs.replace(there, bucket=bucket),)))
    with pytest.raises(Refused, match=r"^the image store cannot be used: .* answers 503"):
        await ssvm.role.run_task("s", Scrub(store="store-1", mend=True), nothing)
    with pytest.raises(Refused, match=r"^the image store cannot be used: .* answers 503"):
        await ssvm.fetch(ssvm.source.serve("/a", whole(LARGE)), "image-2")
    ticket = KeepTicket(store="store-1", image=UUID, sha256="a" * 64, size="1", expires=NOW() + 60)
    bearer = {"Authorization": f"Bearer {sign_keep_ticket(KEY, ticket)}"}
    async with aiohttp.ClientSession() as client:
        url = f"https://127.0.0.9:{ssvm.role.port}/deliveries/store-1/{UUID}"
        async with client.get(url, headers=bearer, ssl=False) as answer:
            assert 503 == answer.status
    assert {"HEAD", "GET"} == {ask.method for ask in source.asked}, "nothing was deleted"
    source.stop()


# ---------------------------------------------------------------- killed
WORKER = Path(__file__).with_name("storage_worker.py")


async def test_killed_in_the_middle_of_an_upload_nothing_is_half_visible_and_the_next_life_ends_it(
    server: Server, tmp_path: Path
) -> None:
    bucket, source = server.bucket(), Source()
    await source.start()
    relay = Relay(server.port, let=1)
    behind = msgspec.structs.replace(bucket, url=f"http://127.0.0.1:{await relay.start()}")
    (tmp_path / "store").mkdir()
    url = source.serve("/a", whole(LARGE))
    first = await worker(tmp_path, url, behind)
    await asyncio.wait_for(relay.held.wait(), PATIENCE)  # one part is there, the next one is on its way
    first.kill()
    await first.wait()
    relay.stop()
    client = S3(bucket, NOW)
    half = await asyncio.to_thread(lambda: list(client.uploads("objects/")))
    assert [f"objects/{sha(LARGE)}"] == [one.key for one in half]
    assert [] == await asyncio.to_thread(lambda: list(client.entries("")))
    second = await worker(tmp_path, url, bucket)
    said, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
    source.stop()
    assert json.loads(said.splitlines()[-1])["sha256"] == sha(LARGE)  # before it stands what was swept
    assert 1 == len([one for one in source.asked if one.start is None]), "its bytes had come before"
    left = await asyncio.to_thread(lambda: ([one.key for one in client.entries("")], list(client.uploads("objects/"))))
    key = f"references/{sha(LARGE)}/image-1"
    assert (["images/image-1.json", f"objects/{sha(LARGE)}", key], []) == left


async def worker(folder: Path, url: str, bucket: Bucket) -> asyncio.subprocess.Process:
    told = msgspec.json.encode(bucket).decode()
    return await asyncio.create_subprocess_exec(
        sys.executable, WORKER, str(folder), url, told, stdout=asyncio.subprocess.PIPE, stderr=None
    )
