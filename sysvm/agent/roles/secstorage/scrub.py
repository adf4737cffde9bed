"""An image store read through: every object that an image is made of still has the bytes of its name.

Read from the disk and not from memory, a part at a time, beside everything else. An object with other bytes is set aside: from
then on its images are not there, as if they had never come, and nobody is given them. What a crash has left behind, and what was
set aside long ago, is swept (`store.py`). Not here: bringing the images anew, which the server orders.
Races thought of: an object that goes while it is read (its last image was deleted) is not missed; a scrub that is begun again
reads again, and finds references without their object where the first one had set it aside.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sysvm.agent.roles.secstorage.s3 import BucketFailed
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Scrubbed

PART = 32 * 1024 * 1024
_READ = 1024 * 1024
log = get_logger()


@dataclass(slots=True)
class Scrubbing:
    """One look at everything in a store."""

    store: ImageStore
    mend: bool  # what is damaged is set aside, and leftovers are swept
    now: float
    progress: Callable[[float], Awaitable[None]]

    async def run(self) -> Scrubbed:
        """What was found."""
        by_object: dict[str, list[Image]] = {}
        for image in await asyncio.to_thread(self.store.everything):
            by_object.setdefault(image.sha256, []).append(image)
        total = sum(images[0].size for images in by_object.values()) or 1
        damaged: list[str] = []
        read = 0
        for sha256, images in sorted(by_object.items()):
            if not await self._is_whole(sha256, images):
                damaged += [image.image for image in images]
            read += images[0].size
            await self.progress(min(read / total, 1.0))
        swept = await asyncio.to_thread(self.store.sweep, self.now) if self.mend else ()
        return Scrubbed(objects=len(by_object), bytes=read, damaged=tuple(sorted(damaged)), swept=len(swept))

    async def _is_whole(self, sha256: str, images: list[Image]) -> bool:
        place = self.store.file(sha256)
        try:
            if place is not None:
                found = await _digest(place)
            else:
                found = await self._told(sha256, images[0].size)
        except FileNotFoundError:
            still = await asyncio.to_thread(self.store.everything)
            return not any(image.sha256 == sha256 for image in still)
        except OSError as error:
            found = error.strerror or "it cannot be read"
        if found == sha256:
            return True
        log.error("object_damaged", store=str(self.store.path), sha256=sha256, found=found, images=len(images))
        if self.mend:
            await asyncio.to_thread(self.store.set_aside, sha256)
        return False


    async def _told(self, sha256: str, size: int) -> str:
        """What the server of a bucket says. One that says nothing has damaged nothing."""
        try:
            return await asyncio.to_thread(self.store.glance, sha256, size)
        except BucketFailed as error:
            raise Refused(f"the image store cannot be used: {error.strerror}") from error


async def _digest(place: Path) -> str:
    """SHA-256 of what the disk has."""
    known = hashlib.sha256()
    with place.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while await asyncio.to_thread(_part, file.fileno(), known):
            continue
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return known.hexdigest()


def _part(descriptor: int, known: "hashlib._Hash") -> bool:
    for _ in range(PART // _READ):
        piece = os.read(descriptor, _READ)
        if not piece:
            return False
        known.update(piece)
    return True
