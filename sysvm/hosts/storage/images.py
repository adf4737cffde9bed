"""Taking images from a secondary storage VM into a primary storage pool of this host, over TLS, with a ticket.

    GET https://<address>:<port>/images/<store>/<image>      Authorization: Bearer <ticket>      Range: bytes=<n>-

The bytes go into `.new-<sha256>.<format>` and are hashed as they come; a later call goes on where the last one ended, after
hashing what is there. Only an image with the right size, digest and header gets its name. Two callers of the same image
share one file: the second waits and finds it whole. Nothing is trusted because the secondary storage VM sent it, and no
redirect is followed.

The image's own virtual size is the server's to judge; here it must only stand alone (no backing file, no external data).
"""

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import BinaryIO, Protocol

import aiohttp

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet, Refused
from sysvm.basics.log import get_logger
from sysvm.hosts.driver import Progress
from sysvm.hosts.storage import qcow2
from sysvm.hosts.storage.pools import image_file, lock_of, publish_file
from sysvm.hosts.system import netns
from sysvm.wire.link import FetchImage

_CHUNK = 1 << 20
_SILENCE = 30.0
log = get_logger()


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


async def fetch_image(order: FetchImage, progress: Progress, namespace: str | None = None) -> None:
    """The image is in the pool, whole and verified. NotYet when the line broke: what came so far is kept."""
    await fetch_to(image_file(order.pool, order.sha256, order.format), order, progress, namespace)


async def fetch_to(path: Path, order: FetchImage, progress: Progress, namespace: str | None) -> None:
    """The same, into a file of the caller's choice."""
    async with lock_of(path):
        if path.exists():
            return
        fresh = path.with_name(f".new-{path.name}")
        fresh.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await _fill(order, fresh, progress, namespace)
            await edge("image.fetched")
            await asyncio.to_thread(publish_file, fresh, path)
        except OSError as error:
            raise NotYet(30, f"image {order.sha256[:12]}: {error}") from error
    log.info("image_fetched", pool=order.pool, sha256=order.sha256, size=order.size)


async def _fill(order: FetchImage, fresh: Path, progress: Progress, namespace: str | None) -> None:
    with fresh.open("ab+") as file:
        had = file.tell()
        if had > order.size:
            file.truncate(0)
            had = 0
        digest = await asyncio.to_thread(_hash_so_far, file)
        if had < order.size:
            await _download(order, file, digest, progress, namespace)
    why = _why_wrong(order, fresh, digest)
    if why:
        fresh.unlink()
        raise Refused(f"image {order.image}: {why}")


def _hash_so_far(file: BinaryIO) -> _Hash:
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(_CHUNK):
        digest.update(data)
    return digest


def _why_wrong(order: FetchImage, fresh: Path, digest: _Hash) -> str:
    if (got := fresh.stat().st_size) != order.size:
        return f"it has {got} bytes and not {order.size}"
    if digest.hexdigest() != order.sha256.lower():
        return "its SHA-256 is not the one that was promised"
    if order.format.lower() != "qcow2":
        return ""
    with fresh.open("rb") as stream:
        return qcow2.why_not_alone(stream.read(qcow2.HEADER_BYTES))


# ---------------------------------------------------------------- the line
def _trust(order: FetchImage) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=order.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _session(order: FetchImage, namespace: str | None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        ssl=_trust(order),
        force_close=True,
        socket_factory=lambda where: netns.socket_in(namespace, where[0], where[1], where[2]),
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False, trust_env=False)


async def _download(order: FetchImage, file: BinaryIO, digest: _Hash, progress: Progress, namespace: str | None) -> None:
    host = f"[{order.address}]" if ":" in order.address else order.address
    url = f"https://{host}:{order.port}/images/{order.store}/{order.image}"
    headers = {"Authorization": f"Bearer {order.ticket}", "Accept-Encoding": "identity"}
    had = file.tell()
    if had:
        headers["Range"] = f"bytes={had}-"
    try:
        async with (
            _session(order, namespace) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            _check_answer(answer, had)
            await _pour(answer.content, order, file, digest, progress)
    except (aiohttp.ClientError, ssl.SSLError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise NotYet(5, f"secondary storage VM {order.address}: {why}") from error


def _check_answer(answer: aiohttp.ClientResponse, had: int) -> None:
    if answer.status in (401, 403, 404, 410):
        raise Refused(f"the secondary storage VM answers {answer.status} {answer.reason}: no such image, or no right to it")
    if answer.status != (206 if had else 200):
        raise NotYet(10, f"the secondary storage VM answers {answer.status} {answer.reason}")
    if had and not answer.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
        raise NotYet(10, "the secondary storage VM answers with another range than was asked for")


async def _pour(content: aiohttp.StreamReader, order: FetchImage, file: BinaryIO, digest: _Hash, progress: Progress) -> None:
    had = file.tell()
    async for data in content.iter_chunked(_CHUNK):
        had += len(data)
        if had > order.size:
            file.truncate(0)
            raise Refused(f"image {order.image}: more than the promised {order.size} bytes came")
        await asyncio.to_thread(_write, file, digest, data)
        progress(had / order.size)


def _write(file: BinaryIO, digest: _Hash, data: bytes) -> None:
    digest.update(data)
    file.write(data)
