"""A secondary storage VM whose image store is a bucket: what it serves, and what a death in the middle leaves."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from kept_images import LARGE, NOW, UUID, sha
from s3_server import Relay, Server, files_of
from storage_stage import KEY, PATIENCE, Exchange, Source, Stage, noise, qcow2, stage, whole

from sysvm.agent.roles.secstorage import s3
from sysvm.agent.roles.secstorage.bucket import PART
from sysvm.agent.roles.secstorage.s3 import S3
from sysvm.agent.roles.secstorage.store import Image
from sysvm.basics.errors import Refused
from sysvm.wire.channel import CheckSelf, DeleteImage, Diagnosed, Scrub, Scrubbed
from sysvm.wire.documents import Bucket, Store
from sysvm.wire.grants import FetchTicket, KeepTicket, sign_keep_ticket, sign_link, sign_ticket


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
    assert fault.why == (f"the folder in which images wait for bucket {(await buckets_of(ssvm))[0]}: {ssvm.store} is not mounted")


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
    for query in (
        "prefix=objects%2F&uploads=",
        "list-type=2&max-keys=1000&prefix=references%2F",
        "list-type=2&max-keys=1000&prefix=objects%2F",
    ):
        source.serve(f"/b?{query}", whole(b"<A></A>"))
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
