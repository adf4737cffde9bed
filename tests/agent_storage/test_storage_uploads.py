"""Users upload images to the public address: what is good is kept, all else leaves nothing."""

import asyncio
import hashlib
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest
from storage_stage import KEY, PATIENCE, Stage, qcow2, raw

from sysvm.agent.roles.secstorage.health import PROBE
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Downloaded, TakeUpload
from sysvm.wire.grants import sign_upload

DATA = raw(5_000_001)
SHA256 = hashlib.sha256(DATA).hexdigest()
PUBLIC = "127.0.0.10"


async def opened(ssvm: Stage) -> None:
    assert await ssvm.role.apply(ssvm.document(public_address=PUBLIC, public_port=0)) == ()


def task(ssvm: Stage, seconds: float = PATIENCE, **changes: object) -> asyncio.Task[Downloaded]:
    """The server's task of one upload, at work."""

    async def progress(share: float) -> None:
        ssvm.said.append(share)

    body = TakeUpload(store="store-1", image="image-1", format="RAW", expires=time.time() + seconds)
    return asyncio.ensure_future(ssvm.role.run_task("t", msgspec.structs.replace(body, **changes), progress))  # type: ignore[arg-type]


def shown(image: str = "image-1", key: str = KEY, seconds: float = 60) -> dict[str, str]:
    expires = datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()
    signature = sign_upload(key, (f"/upload/{image}", "bWV0YQ==", expires))
    return {"X-signature": signature, "X-metadata": "bWV0YQ==", "X-expires": expires}


async def post(ssvm: Stage, headers: dict[str, str], data: bytes = DATA, image: str = "image-1") -> int:
    form = aiohttp.FormData()
    form.add_field("name", "a field that is no file")
    form.add_field("file", data, filename="tiny.raw", content_type="application/octet-stream")
    url = f"http://{PUBLIC}:{ssvm.role.public_ports['plain']}/upload/{image}"
    async with aiohttp.ClientSession() as web, web.post(url, data=form, headers=headers) as answer:
        return answer.status


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0.01)


def images(ssvm: Stage) -> set[str]:
    return {place for place in ssvm.left() if not place.startswith(PROBE)}


async def test_curl_uploads_an_image(ssvm: Stage, tmp_path: Path) -> None:
    """As CloudStack's documents show it."""
    await opened(ssvm)
    (tmp_path / "tiny.raw").write_bytes(DATA)
    waiting = task(ssvm, checksum=f"{{SHA-256}}{SHA256}")
    headers = [part for name, value in shown().items() for part in ("-H", f"{name}: {value}")]
    url = f"http://{PUBLIC}:{ssvm.role.public_ports['plain']}/upload/image-1"
    curl = ("curl", "-sS", "--fail", *headers, "-F", f"file=@{tmp_path}/tiny.raw", url)
    await asyncio.to_thread(subprocess.run, curl, check=True, capture_output=True)
    got = await waiting
    assert (got.sha256, got.size) == (SHA256, len(DATA))
    assert images(ssvm) == {f"objects/{SHA256}", "images/image-1.json"}
    assert max(ssvm.said) > 0.5
    again = await task(ssvm, checksum=f"{{SHA-256}}{SHA256}")  # an agent that was started again
    assert again == got


async def test_a_client_that_is_faster_than_the_task_waits_for_it(ssvm: Stage) -> None:
    await opened(ssvm)
    posted = asyncio.ensure_future(post(ssvm, shown()))
    await until(lambda: bool(ssvm.role._uploads._came._waiters))  # type: ignore[attr-defined]
    got = await task(ssvm)
    assert (await posted, got.sha256) == (200, SHA256)


# What a bad client shows, made when it is shown.
BAD: dict[str, tuple[int, Callable[[], dict[str, str]]]] = {
    "nothing": (400, lambda: {}),
    "no end": (400, lambda: {**shown(), "X-expires": ""}),
    "a signature that is none": (403, lambda: {**shown(), "X-signature": "x"}),
    "other metadata": (403, lambda: {**shown(), "X-metadata": "eA=="}),
    "a later end": (403, lambda: {**shown(), "X-expires": shown(seconds=99)["X-expires"]}),
    "for another image": (403, lambda: shown("image-2")),
    "of another key": (403, lambda: shown(key="another")),
    "too late": (403, lambda: shown(seconds=-1)),
}


@pytest.mark.parametrize("name", BAD)
async def test_without_the_servers_signature_nothing_is_taken(ssvm: Stage, name: str) -> None:
    await opened(ssvm)
    waiting = task(ssvm)
    status, headers = BAD[name]
    assert await post(ssvm, headers()) == status
    assert (waiting.done(), images(ssvm)) == (False, set())
    assert await post(ssvm, shown()) == 200
    assert (await waiting).sha256 == SHA256


@pytest.mark.parametrize(
    ("data", "changes", "why"),
    [
        (DATA, {"checksum": f"{{SHA-256}}{'0' * 64}"}, "the checksum is wrong"),
        (DATA, {"format": "QCOW2"}, "QCOW2"),
        (qcow2(backing_offset=200, backing_size=11), {"format": "QCOW2"}, "backing"),
        (qcow2(virtual=1 << 40), {"format": "QCOW2"}, "are allowed"),
        (b"", {}, "empty"),
    ],
)
async def test_an_image_that_is_none_ends_the_upload_and_leaves_nothing(
    ssvm: Stage, data: bytes, changes: dict[str, object], why: str
) -> None:
    await opened(ssvm)
    waiting = task(ssvm, **changes)  # type: ignore[arg-type]
    assert await post(ssvm, shown(), data) == 422
    with pytest.raises(Refused, match=why):
        await waiting
    assert images(ssvm) == set()


async def test_a_line_that_breaks_leaves_nothing_and_the_client_may_begin_again(ssvm: Stage) -> None:
    await opened(ssvm)
    waiting = task(ssvm)
    _, writer = await asyncio.open_connection(PUBLIC, ssvm.role.public_ports["plain"])
    head = {**shown(), "Host": "x", "Content-Length": "5000000", "Content-Type": "multipart/form-data; boundary=b"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    part = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    writer.write(f"POST /upload/image-1 HTTP/1.1\r\n{lines}\r\n{part}".encode() + DATA[: 1 << 20])
    await writer.drain()
    await until(lambda: "incoming/image-1/data" in ssvm.left())
    assert await post(ssvm, shown()) == 409
    writer.close()
    await until(lambda: "incoming/image-1/data" not in ssvm.left())
    assert not waiting.done()
    async with asyncio.timeout(PATIENCE):
        while (answer := await post(ssvm, shown())) == 409:  # noqa: ASYNC110 - who broke off is seen off first
            await asyncio.sleep(0.01)
    assert answer == 200
    assert (await waiting).sha256 == SHA256


async def test_what_nobody_uploads_in_time_is_given_up(ssvm: Stage) -> None:
    await opened(ssvm)
    with pytest.raises(Refused, match="before the address expired"):
        await task(ssvm, seconds=0.1)
    assert images(ssvm) == set()
