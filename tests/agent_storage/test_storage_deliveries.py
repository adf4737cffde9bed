"""Hosts bring snapshots: whole or not at all, whoever dies when; and nothing but what the ticket is for."""

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from storage_stage import KEY, Stage, noise, qcow2, stage

from sysvm.basics.edge import install
from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts.storage.pools import staged_file
from sysvm.hosts.storage.sending import send_snapshot
from sysvm.wire.channel import DeleteImage
from sysvm.wire.grants import FetchTicket, KeepTicket, sign_keep_ticket, sign_ticket
from sysvm.wire.link import SendSnapshot

DATA = qcow2(tail=noise(9_000_000))
SHA256 = hashlib.sha256(DATA).hexdigest()
Made = dict[str, Any]


def ticket(**changes: object) -> str:
    fields = {
        "store": "store-1",
        "image": "snap-1",
        "sha256": SHA256,
        "size": str(len(DATA)),
        "expires": time.time() + 60,
    }
    return sign_keep_ticket(KEY, KeepTicket(**{**fields, **changes}))  # type: ignore[arg-type]


def staged(folder: Path, data: bytes = DATA) -> str:
    """A pool where the snapshot waits to be sent."""
    file = staged_file(str(folder / "pool"), "snap-1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return str(folder / "pool")


def order(ssvm: Stage, folder: Path, data: bytes = DATA) -> SendSnapshot:
    sha256 = hashlib.sha256(data).hexdigest()
    return SendSnapshot(
        pool=staged(folder, data), snapshot="snap-1", sha256=sha256, size=len(data), address="127.0.0.9",
        port=ssvm.role.port, store="store-1", image="snap-1", ca=ssvm.document().ca,
        ticket=ticket(sha256=sha256, size=str(len(data))),
    )  # fmt: skip


def kept(ssvm: Stage) -> list[bytes]:
    """What the store has, whole."""
    files = [ssvm.store / "objects" / json.loads(p.read_bytes())["sha256"] for p in ssvm.store.glob("images/*.json")]
    return [file.read_bytes() for file in files]


async def test_a_snapshot_is_sent_once_and_found_there_again(ssvm: Stage, tmp_path: Path) -> None:
    said: list[float] = []
    for _ in range(2):
        await send_snapshot(order(ssvm, tmp_path), said.append)
    assert [DATA] == kept(ssvm)
    assert ({f"objects/{SHA256}", "images/snap-1.json"}, 1.0) == (ssvm.left(), said[-1])
    await ssvm.role.run_task("d", DeleteImage(store="store-1", image="snap-1"), _nobody)
    assert set() == ssvm.left()


async def _nobody(share: float) -> None:
    """Hears of progress."""


class Dies(Exception):
    """Somebody is killed here."""


@pytest.mark.parametrize("point", ["delivery.batch", "delivery.whole"])
async def test_a_store_machine_that_dies_leaves_nothing_half_and_goes_on_later(tmp_path: Path, point: str) -> None:
    deaths = [point]

    async def die(name: str) -> None:
        if name in deaths:
            deaths.clear()
            raise Dies

    install(die)  # before the machine opens its door: what it does there is done in this context
    async with stage(tmp_path) as ssvm:
        await ssvm.role.apply(ssvm.document())
        with pytest.raises(NotYet):
            await send_snapshot(order(ssvm, tmp_path), lambda part: None)
        assert ([], []) == (deaths, kept(ssvm))
        sent: list[float] = []
        await send_snapshot(order(ssvm, tmp_path), sent.append)
        assert [DATA] == kept(ssvm)
        assert sent == [] or sent[0] > 0.4, "what was on the disk is not sent again"


async def test_a_host_that_dies_in_the_middle_costs_what_was_not_on_the_disk(ssvm: Stage, tmp_path: Path) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield DATA[:5_000_000]
        raise ConnectionResetError

    context = ssl.create_default_context()
    ssvm.ca.configure_trust(context)
    url = f"https://127.0.0.9:{ssvm.role.port}/deliveries/store-1/snap-1"
    headers = {
        "Authorization": f"Bearer {ticket()}",
        "Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        "Content-Length": str(len(DATA)),
    }
    async with aiohttp.ClientSession() as web:
        with pytest.raises(aiohttp.ClientError):
            await web.put(url, data=half(), headers=headers, ssl=context)
        far: Made = {"done": 0}
        while not far["done"]:
            await asyncio.sleep(0)
            async with web.get(url, headers=headers, ssl=context) as answer:
                far = await answer.json()
    assert (True, False) == (4_000_000 < far["done"] <= 5_000_000, far["kept"])
    await send_snapshot(order(ssvm, tmp_path), lambda part: None)
    assert [DATA] == kept(ssvm)


def bearer(text: str) -> Made:
    return {"Authorization": f"Bearer {text}"}


def ranged(first: int, last: int, size: int) -> Made:
    return {"Content-Range": f"bytes {first}-{last}/{size}"}


WHOLE = ranged(0, len(DATA) - 1, len(DATA))


# Tickets are made when they are shown: one lives a minute, and tables are read long before the test runs.
@pytest.mark.parametrize(
    ("image", "headers", "body", "status"),
    [
        ("snap-1", lambda: {}, DATA, 403),
        ("snap-1", lambda: bearer("nonsense") | WHOLE, DATA, 403),
        ("snap-1", lambda: bearer(ticket(expires=time.time() - 1)) | WHOLE, DATA, 403),
        ("snap-2", lambda: bearer(ticket()) | WHOLE, DATA, 403),
        ("snap-1", lambda: bearer(_fetch_ticket()) | WHOLE, DATA, 403),
        ("snap-1", lambda: bearer(ticket()), DATA, 400),
        ("snap-1", lambda: bearer(ticket()) | ranged(0, 9, 10), DATA[:10], 400),
        ("snap-1", lambda: bearer(ticket()) | ranged(5, len(DATA) - 1, len(DATA)), DATA[5:], 409),
        ("snap-1", lambda: bearer(ticket()) | WHOLE, DATA + b"x", 400),
        ("snap-1", lambda: bearer(ticket()) | WHOLE, b"y" + DATA[1:], 422),
        ("snap-1", lambda: bearer(ticket(store="store-9")) | WHOLE, DATA, 403),
    ],
)
async def test_nothing_else_is_taken(ssvm: Stage, image: str, headers: Callable[[], Made], body: bytes, status: int) -> None:
    context = ssl.create_default_context()
    ssvm.ca.configure_trust(context)
    url = f"https://127.0.0.9:{ssvm.role.port}/deliveries/store-1/{image}"
    async with aiohttp.ClientSession() as web, web.put(url, data=body, headers=headers(), ssl=context) as answer:
        assert (status, []) == (answer.status, kept(ssvm))


def _fetch_ticket() -> str:
    return sign_ticket(KEY, FetchTicket(store="store-1", image="snap-1", sha256=SHA256, expires=time.time() + 60))


@pytest.mark.parametrize(
    "data",
    [noise(500_000), qcow2(backing_offset=4096, backing_size=9, tail=noise(1000))],
    ids=["no qcow2", "a backing file"],
)
async def test_an_image_that_lies_is_not_kept(ssvm: Stage, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Refused):
        await send_snapshot(order(ssvm, tmp_path, data), lambda part: None)
    assert set() == ssvm.left()


async def test_a_store_that_is_not_there_is_waited_for(ssvm: Stage, tmp_path: Path) -> None:
    ssvm.mounted.clear()
    with pytest.raises(NotYet, match="503"):
        await send_snapshot(order(ssvm, tmp_path), lambda part: None)
