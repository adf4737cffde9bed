"""Giving a staged snapshot to a secondary storage VM of the zone, over TLS, with a ticket for exactly these bytes.

    GET https://<address>:<port>/deliveries/<store>/<image>   {"done": bytes that are there for certain, "kept": it is whole}
    PUT the same                                              Content-Range: bytes <done>-<last>/<size>

Nothing that is as long as the snapshot has a deadline; a line on which nothing moves has. A broken line costs what the other
end had not yet on its disk. The file is only read: a second sender of the same snapshot does no harm.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import Progress
from sysvm.hosts.storage.pools import staged_file
from sysvm.hosts.system import netns
from sysvm.wire.link import SendSnapshot

_CHUNK = 1 << 20
_SILENCE_S = 120.0
log = get_logger()


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """How far the other end is."""

    done: int
    kept: bool


async def send_snapshot(order: SendSnapshot, progress: Progress, namespace: str | None = None) -> None:
    """It is kept in the store, whole. NotYet when the line broke."""
    file = staged_file(order.pool, order.snapshot)
    if not file.exists():
        raise Refused(f"snapshot {order.snapshot} is not on primary storage any more")
    try:
        async with _session(order, namespace) as session:
            at = await _ask(session, order)
            while not at.kept:
                await edge("snapshot.sending")
                at = await _send(session, order, file, at.done, progress)
    except (aiohttp.ClientError, ssl.SSLError, TimeoutError, OSError) as error:
        why = str(error) or type(error).__name__
        raise NotYet(2, f"secondary storage VM {order.address}: {why}") from error
    log.info("snapshot_sent", snapshot=order.snapshot, size=order.size)


def _session(order: SendSnapshot, namespace: str | None) -> aiohttp.ClientSession:
    trust = ssl.create_default_context(cadata=order.ca or None)
    trust.minimum_version = ssl.TLSVersion.TLSv1_3
    connector = aiohttp.TCPConnector(
        ssl=trust,
        force_close=True,
        socket_factory=lambda where: netns.socket_in(namespace, where[0], where[1], where[2]),
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    headers = {"Authorization": f"Bearer {order.ticket}"}
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, trust_env=False)


def _url(order: SendSnapshot) -> str:
    host = f"[{order.address}]" if ":" in order.address else order.address
    return f"https://{host}:{order.port}/deliveries/{order.store}/{order.image}"


async def _ask(session: aiohttp.ClientSession, order: SendSnapshot) -> Delivered:
    async with asyncio.timeout(_SILENCE_S), session.get(_url(order), allow_redirects=False) as answer:
        return await _read(answer)


async def _send(session: aiohttp.ClientSession, order: SendSnapshot, file: Path, done: int, progress: Progress) -> Delivered:
    length = order.size - done
    headers = {
        "Content-Range": f"bytes {done}-{order.size - 1}/{order.size}",
        "Content-Length": str(length),
        "Content-Type": "application/octet-stream",
    }
    async with asyncio.timeout(_SILENCE_S) as patience:

        async def body() -> AsyncIterator[bytes]:
            now = asyncio.get_running_loop().time
            with file.open("rb") as stream:
                stream.seek(done)
                while data := await asyncio.to_thread(stream.read, _CHUNK):
                    yield data
                    patience.reschedule(now() + _SILENCE_S)
                    progress(stream.tell() / order.size)

        async with session.put(_url(order), data=body(), headers=headers, allow_redirects=False) as answer:
            return await _read(answer)


async def _read(answer: aiohttp.ClientResponse) -> Delivered:
    said = await answer.read()
    if answer.status in (401, 403, 404, 422):
        raise Refused(f"the secondary storage VM answers {answer.status}: {said.decode(errors='replace').strip()[:200]}")
    if answer.status != 200:
        raise NotYet(3, f"the secondary storage VM answers {answer.status}: {said.decode(errors='replace').strip()[:200]}")
    try:
        return msgspec.json.decode(said, type=Delivered)
    except msgspec.DecodeError as error:
        raise NotYet(10, f"the secondary storage VM answers strangely: {error}") from error
