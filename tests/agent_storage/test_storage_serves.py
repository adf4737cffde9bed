"""Hosts fetch images with tickets; what is wrong with a store or the machine is named."""

import asyncio
import hashlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from storage_stage import KEY, Stage, raw, stage, whole

from sysvm.agent.roles.secstorage import health, selfcheck
from sysvm.agent.roles.secstorage.store import SWEEP_AGE_S, Image, ImageStore
from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.hosts.storage.images import fetch_image
from sysvm.wire.channel import CheckSelf, DeleteImage, Diagnosed
from sysvm.wire.documents import Store
from sysvm.wire.grants import FetchTicket, sign_ticket
from sysvm.wire.link import FetchImage

DATA = raw(5_000_001)
SHA256 = hashlib.sha256(DATA).hexdigest()


# ---------------------------------------------------------------- images for hosts
def ticket(key: str = KEY, **changes: object) -> str:
    fields = {"store": "store-1", "image": "image-1", "sha256": SHA256, "expires": time.time() + 60, **changes}
    return sign_ticket(key, FetchTicket(**fields))  # type: ignore[arg-type]


async def ask(ssvm: Stage, image: str, **headers: str) -> tuple[int, bytes]:
    context = ssl.create_default_context()
    ssvm.ca.configure_trust(context)
    url = f"https://127.0.0.9:{ssvm.role.port}/images/store-1/{image}"
    async with aiohttp.ClientSession() as web, web.get(url, headers=headers, ssl=context) as answer:
        return answer.status, await answer.read()


async def test_a_host_takes_an_image_with_a_ticket(ssvm: Stage, tmp_path: Path) -> None:
    """The host's own client against our server."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    pool = tmp_path / "pool"
    pool.mkdir()
    order = FetchImage(
        pool=str(pool), sha256=SHA256, size=len(DATA), format="raw", address="127.0.0.9", port=ssvm.role.port,
        store="store-1", image="image-1", ticket=ticket(), ca=ssvm.document().ca,
    )  # fmt: skip
    await fetch_image(order, lambda _: None)
    kept = [place for place in pool.rglob("*") if place.is_file() and SHA256 in place.name]
    assert [place.read_bytes() == DATA for place in kept] == [True]


async def test_a_range_is_served(ssvm: Stage) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    headers = {"Authorization": f"Bearer {ticket()}", "Range": "bytes=5000000-"}
    assert await ask(ssvm, "image-1", **headers) == (206, DATA[5_000_000:])


def bearer(**changes: object) -> dict[str, str]:
    return {"Authorization": "Bearer " + ticket(**changes)}  # type: ignore[arg-type]


# Tickets are made when they are shown: one lives a minute, and tables are read long before the test runs.
@pytest.mark.parametrize(
    ("image", "shown", "status"),
    [
        ("image-1", lambda: bearer(), 200),
        ("image-1", lambda: {}, 403),
        ("image-1", lambda: {"Authorization": "Basic YTpi"}, 403),
        ("image-1", lambda: {"Authorization": "Bearer nonsense"}, 403),
        ("image-1", lambda: bearer(key="another"), 403),
        ("image-1", lambda: bearer(expires=time.time() - 1), 403),
        ("image-1", lambda: bearer(image="image-2"), 403),
        ("image-1", lambda: bearer(store="store-2"), 403),
        ("image-1", lambda: bearer(sha256="0" * 64), 404),
        ("image-2", lambda: bearer(image="image-2"), 404),
        ("..%2Fimage-1", lambda: bearer(image="../image-1"), 404),
    ],
)
async def test_only_the_right_ticket_opens(ssvm: Stage, image: str, shown: Callable[[], dict[str, str]], status: int) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    got, body = await ask(ssvm, image, **shown())
    assert (got, body == DATA) == (status, status == 200)


async def test_a_document_without_a_certificate_is_a_fault_of_the_image_server_alone(ssvm: Stage) -> None:
    document = ssvm.document(certificate=None)
    faults = await ssvm.role.apply(document)
    assert ([fault.service for fault in faults], await ssvm.role.live()) == (["images"], "")
    assert (await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))).sha256 == SHA256
    document = ssvm.document()
    assert await ssvm.role.apply(document) == ()
    assert await ssvm.role.live() == digest(document)


# ---------------------------------------------------------------- faults of stores
async def test_a_store_that_is_not_mounted_is_named_and_never_written(ssvm: Stage) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    before = ssvm.left()
    ssvm.mounted.clear()
    assert [(f.service, "is not mounted" in f.why) for f in await ssvm.role.faults()] == [("store store-1", True)]
    with pytest.raises(Refused, match="is not mounted"):
        await ssvm.fetch(ssvm.source.serve("/b", whole(DATA)), "image-2")
    with pytest.raises(Refused, match="is not mounted"):
        await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), None)
    assert ssvm.left() == before
    ssvm.mounted.add(str(ssvm.store))
    assert await ssvm.role.faults() == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "sysvm-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.root
def test_a_read_only_a_full_and_a_missing_mount_are_told_apart(small_disk: Path) -> None:
    def why() -> str:
        fault = health.store_fault(Store(store="s", path=str(small_disk)), health.mount_points())
        return fault.why.removeprefix(f"{small_disk} ") if fault else ""

    assert why() == ""
    with (small_disk / "big").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 100 << 20)
    assert why() == "is full"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert why() == "is mounted read-only"
    assert health.store_fault(Store(store="s", path=str(small_disk), read_only=True), health.mount_points()) is None
    assert "is not mounted" in str(health.store_fault(Store(store="s", path="/tmp/other"), health.mount_points()))


@pytest.mark.root
async def test_a_disk_that_fills_while_an_image_comes_ends_the_download_and_is_left_as_it_was(
    small_disk: Path, tmp_path: Path
) -> None:
    """The source does not say how much will come."""
    from storage_stage import Exchange

    async def endless(ask: Exchange) -> None:
        await ask.say("200 OK", "Connection: close", body=raw(1 << 20))
        while True:
            ask.writer.write(DATA)
            await ask.writer.drain()

    async with stage(tmp_path) as ssvm:
        ssvm.store = small_disk
        ssvm.mounted.add(str(small_disk))
        await ssvm.role.apply(ssvm.document())
        with pytest.raises(Refused, match="the image store is full"):
            await ssvm.fetch(ssvm.source.serve("/a", endless))
        assert ssvm.left() == set()


# ---------------------------------------------------------------- crashes of the store
def image(name: str, sha256: str) -> Image:
    return Image(image=name, sha256=sha256, size=1, virtual_size=1, format="RAW")


def test_leftovers_are_swept_and_what_is_used_or_young_is_not(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.prepare()
    for name in ("used", "orphan", "young", "unfinished"):
        (tmp_path / "objects" / name).write_bytes(b"x")
    store.refer(image("i", "used"))
    (tmp_path / "images" / "j.json.new").write_bytes(b"half")
    (tmp_path / "incoming/k").mkdir()
    (tmp_path / "incoming/k/record.json").write_bytes(msgspec.json.encode({"order": "o", "kept": "unfinished"}))
    (tmp_path / "incoming/l").mkdir()
    now = time.time() + SWEEP_AGE_S + 1
    os.utime(tmp_path / "objects" / "young", (now, now))
    assert sorted(store.sweep(now)) == ["images/j.json.new", "incoming/l", "objects/orphan"]
    assert store.image("i") is not None
    assert store.sweep(now) == ()


def test_a_reference_without_its_bytes_is_no_image(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.prepare()
    store.refer(image("i", "gone"))
    assert store.image("i") is None


# ---------------------------------------------------------------- ssvm-check
@pytest.fixture
async def name_server() -> AsyncIterator[str]:
    class Answers(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data, addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answers, ("127.0.0.1", 0))
    yield f"127.0.0.1@{transport.get_extra_info('sockname')[1]}"
    transport.close()


async def check(ssvm: Stage) -> Diagnosed:
    got = await ssvm.role.run_task("c", CheckSelf(), None)
    assert isinstance(got, Diagnosed)
    return got


async def test_the_self_check_says_in_words_what_is_wrong(ssvm: Stage, name_server: str) -> None:
    await ssvm.role.apply(ssvm.document(dns=(name_server,)))
    got = await check(ssvm)
    assert [line for line in got.stdout.splitlines() if not line.startswith("Good")] == [
        "ERROR: server: the host does not answer: look at its agent (sysvm agent host)"
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        await ssvm.role.apply(ssvm.document(dns=(f"127.0.0.1@{deaf.getsockname()[1]}",), certificate=None))
        ssvm.mounted.clear()
        got = await check(ssvm)
    wrong = [line.split(":")[1].strip() for line in got.stdout.splitlines() if line.startswith("ERROR")]
    assert (wrong, got.exit_code) == (["DNS", "store", "server", "agent"], 1)


def test_a_clock_that_stands_wrong_is_named(tmp_path: Path) -> None:
    assert selfcheck.clock(time.time(), tmp_path).good
    assert "away from the image store" in selfcheck.clock(time.time() + 3600, tmp_path).text
    assert "before the day" in selfcheck.clock(1e9, tmp_path).text


def test_a_missing_state_disk_is_named(tmp_path: Path) -> None:
    assert "does not answer" in selfcheck.disk(tmp_path / "none").text
    assert selfcheck.disk(tmp_path).good
