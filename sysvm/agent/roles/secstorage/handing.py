"""An image's bytes as the answer to a request, with ranges: a file by the kernel, others as they come."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from sysvm.agent.roles.secstorage.s3 import BucketFailed
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.basics.transports import cut

CHUNK = 1024 * 1024
log = get_logger()


async def found(store: ImageStore | None, image: str) -> Image | None:
    """What the store says of an image; None where there is no such image or store."""
    try:
        return await asyncio.to_thread(store.image, image) if store is not None else None
    except Refused:
        return None
    except OSError as error:
        raise web.HTTPServiceUnavailable(text=f"{error.strerror}\n") from error


async def handed(request: web.Request, store: ImageStore, sha256: str, headers: Mapping[str, str]) -> web.StreamResponse:
    """The answer to a GET of these bytes."""
    if (place := store.file(sha256)) is not None:
        return web.FileResponse(place, headers=headers, chunk_size=CHUNK)
    try:
        size = await asyncio.to_thread(store.size, sha256)
    except FileNotFoundError as error:
        raise web.HTTPNotFound(text="this image is here no longer\n") from error
    except OSError as error:
        raise web.HTTPServiceUnavailable(text=f"{error.strerror}\n") from error
    first, last = _range(request, sha256, size)
    whole = (first, last) == (0, size)
    told = {**headers, "ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
    answer = web.StreamResponse(status=200 if whole else 206, headers=told)
    answer.content_length = last - first
    if not whole:
        answer.headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
    await answer.prepare(request)
    if request.method != "HEAD":
        try:
            await _pour(answer, store, sha256, (first, last))
        except BucketFailed as error:  # who reads sees that bytes are missing, and asks for them again
            log.warning("bucket_broke_off", sha256=sha256, why=error.strerror)
            if request.transport is not None:
                cut(request.transport)
            return answer
    await answer.write_eof()
    return answer


def _range(request: web.Request, sha256: str, size: int) -> tuple[int, int]:
    """First byte, and the one after the last. All of it where the one who asks has the beginning of something else."""
    if request.headers.get("If-Range", f'"{sha256}"') != f'"{sha256}"':
        return 0, size
    try:
        first, last, _ = request.http_range.indices(size)
    except ValueError:
        first, last = size, size
    if first >= last and size and "Range" in request.headers:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return first, last


async def _pour(answer: web.StreamResponse, store: ImageStore, sha256: str, part: tuple[int, int]) -> None:
    at, end = part
    with await asyncio.to_thread(store.open, sha256) as file:
        file.seek(at)
        while at < end:
            piece = await asyncio.to_thread(file.read, min(CHUNK, end - at))
            await answer.write(piece)
            at += len(piece)
