"""Image stores in buckets of an S3 server: what only a bucket can get wrong."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trustme
from kept_images import LARGE, NOW, OTHER, UUID, bucket_store, kept, opened, sha
from s3_server import Server, served
from storage_stage import Source, noise, partial, whole

from sysvm.agent.roles.secstorage import kinds, s3
from sysvm.agent.roles.secstorage.bucket import MOST_PARTS, PART, Reading, part_length
from sysvm.agent.roles.secstorage.health import Look
from sysvm.agent.roles.secstorage.s3 import S3, Body, BucketFailed
from sysvm.agent.roles.secstorage.store import SWEEP_AGE_S
from sysvm.basics.errors import Refused
from sysvm.wire.documents import Bucket, Store


def test_an_upload_that_was_begun_and_left_is_aborted_with_the_next_one_or_the_sweep(server: Server, tmp_path: Path) -> None:
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
    store = opened(tmp_path, bucket)
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
    client = S3(Bucket(url=f"http://127.0.0.1:{source.port}", name="b", access_key="k", secret_key="s"), NOW)
    reading = Reading(client, "objects/x", len(data))
    assert data == await asyncio.to_thread(reading.read)
    assert [0, 30_000, 60_000, 90_000] == source.ranges()
    source.stop()
