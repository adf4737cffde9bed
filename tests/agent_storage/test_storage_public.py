"""Users download from the public address, with signed links; nothing else of the store can be reached there."""

import asyncio
import hashlib
import ssl
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest
import trustme
from storage_stage import KEY, Stage, raw, stage, whole

from sysvm.basics.errors import Refused
from sysvm.wire.channel import DeleteImage
from sysvm.wire.collecting import MOST, KeepArchive
from sysvm.wire.documents import Certificate
from sysvm.wire.grants import FetchTicket, sign_link, sign_ticket

DATA = raw(5_000_001)
SHA256 = hashlib.sha256(DATA).hexdigest()
PUBLIC = "127.0.0.10"


def certificate(ca: trustme.CA, *names: str) -> Certificate:
    leaf = ca.issue_cert(*names)
    chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    return Certificate(chain=chain, key=leaf.private_key_pem.bytes().decode())


async def opened(ssvm: Stage, **changes: object) -> None:
    document = ssvm.document(public_address=PUBLIC, public_port=0, public_tls_port=0, **changes)
    assert await ssvm.role.apply(document) == ()


def link(key: str = KEY, **changes: object) -> str:
    fields = {"store": "store-1", "image": "image-1", "sha256": SHA256, "expires": time.time() + 60, **changes}
    return sign_link(key, FetchTicket(**fields))  # type: ignore[arg-type]


def address(ssvm: Stage, shown: str, door: str = "plain") -> str:
    scheme = "https" if door == "tls" else "http"
    return f"{scheme}://{PUBLIC}:{ssvm.role.public_ports[door]}/userdata/{shown}/tiny.raw"


async def ask(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as web, web.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_curl_downloads_an_image_and_goes_on_where_it_was_cut(ssvm: Stage, tmp_path: Path) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    place = tmp_path / "got"
    place.write_bytes(DATA[:1_000_000])
    curl = ("curl", "-sS", "--fail", "-C", "-", "-o", str(place), address(ssvm, link()))
    await asyncio.to_thread(subprocess.run, curl, check=True)
    assert hashlib.sha256(place.read_bytes()).hexdigest() == SHA256


async def test_a_range_is_served(ssvm: Stage) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    assert await ask(address(ssvm, link()), Range="bytes=5000000-") == (206, DATA[5_000_000:])


# What is shown, made when it is shown.
BAD = {
    "nothing": lambda: "x",
    "altered body": lambda: "A" + link()[1:],
    "altered signature": lambda: link()[:-8] + "AAAAAAAA",
    "another key": lambda: link("another"),
    "expired": lambda: link(expires=time.time() - 1),
    "for ever": lambda: link(expires=time.time() + 1e6),
    "a host's ticket": lambda: sign_ticket(
        KEY, FetchTicket(store="store-1", image="image-1", sha256=SHA256, expires=time.time() + 60)
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_not_a_good_link_opens_nothing(ssvm: Stage, name: str) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    status, body = await ask(address(ssvm, BAD[name]()))
    assert (status, DATA[:100] in body) == (403, False)


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "0" * 64}, {"sha256": ""}, {"image": "image-2"}, {"store": "store-2"}, {"image": "../image-1"}],
)
async def test_a_link_to_what_is_not_there_any_more_finds_nothing(ssvm: Stage, changes: dict[str, object]) -> None:
    """Also when other bytes have come under the same name since."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    assert (await ask(address(ssvm, link(**changes))))[0] == 404  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/", "/userdata", "/userdata/", "/images/store-1/image-1", "/deliveries/store-1/i"])
async def test_nothing_else_is_there(ssvm: Stage, path: str) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    assert (await ask(f"http://{PUBLIC}:{ssvm.role.public_ports['plain']}{path}"))[0] == 404


async def test_another_certificate_is_shown_with_the_next_handshake_and_cuts_no_download(ssvm: Stage) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    first, second = trustme.CA(), trustme.CA()
    fixed = {"public_tls_port": 0, "public_address": PUBLIC, "public_port": 0}
    await ssvm.role.apply(ssvm.document(**fixed, public_certificate=certificate(first, PUBLIC)))
    url = address(ssvm, link(), "tls")
    async with aiohttp.ClientSession() as web, web.get(url, ssl=trusting(first)) as answer:
        before = await answer.content.readexactly(1000)
        await ssvm.role.apply(ssvm.document(**fixed, public_certificate=certificate(second, PUBLIC)))
        assert before + await answer.read() == DATA
    async with aiohttp.ClientSession() as web:
        async with web.get(url, ssl=trusting(second)) as answer:
            assert await answer.read() == DATA
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await web.get(url, ssl=trusting(first), headers={"Connection": "close"})


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def test_a_port_that_is_taken_is_a_fault_of_the_public_doors_alone(ssvm: Stage) -> None:
    taken = await asyncio.start_server(lambda *_: None, PUBLIC, 0)
    port = taken.sockets[0].getsockname()[1]
    faults = await ssvm.role.apply(ssvm.document(public_address=PUBLIC, public_port=port))
    taken.close()
    assert [(fault.service, f"port {port}" in fault.why) for fault in faults] == [("public", True)]
    assert ssvm.role.port > 0


async def test_another_zones_secondary_storage_vm_takes_an_image_and_nothing_else_private(ssvm: Stage, tmp_path: Path) -> None:
    """The second one has no exception from the ban on private addresses but for the peer that the server names."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    await opened(ssvm)
    (tmp_path / "other").mkdir()
    async with stage(tmp_path / "other") as other:
        assert await other.role.apply(other.document(management_address="127.0.0.11", allowed_internal=())) == ()
        promised = f"{{SHA-256}}{SHA256}"
        with pytest.raises(Refused, match="nothing is fetched from"):
            await other.fetch(address(ssvm, link()), checksum=promised)
        with pytest.raises(Refused, match="nothing is fetched from"):
            await other.fetch(ssvm.source.serve("/a", whole(DATA)), checksum=promised, peer=PUBLIC)
        with pytest.raises(Refused, match="answers 403"):
            await other.fetch(address(ssvm, "x"), checksum=promised, peer=PUBLIC)
        got = await other.fetch(address(ssvm, link()), checksum=promised, peer=PUBLIC)
        assert (got.sha256, got.size) == (SHA256, len(DATA))


async def test_an_archive_that_the_server_brought_is_served_like_an_image(ssvm: Stage) -> None:
    await opened(ssvm)
    order = KeepArchive(store="store-1", image="diagnostics-1", archive=DATA[:1_000_000])
    kept = [await ssvm.role.run_task("keep", order, nowhere) for _ in range(2)]
    sha256 = hashlib.sha256(DATA[:1_000_000]).hexdigest()
    assert [(one.sha256, one.size) for one in kept] == [(sha256, 1_000_000)] * 2
    shown = link(image="diagnostics-1", sha256=sha256)
    assert await ask(address(ssvm, shown)) == (200, DATA[:1_000_000])
    await ssvm.role.run_task("remove", DeleteImage(store="store-1", image="diagnostics-1"), nowhere)
    assert (await ask(address(ssvm, shown)))[0] == 404
    with pytest.raises(Refused, match="at most"):
        await ssvm.role.run_task("large", KeepArchive(store="store-1", image="x", archive=bytes(MOST + 1)), nowhere)


async def nowhere(_: float) -> None:
    """Progress of what has none."""
