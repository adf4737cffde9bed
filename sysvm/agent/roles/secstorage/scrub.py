"""An image store read through: every object that an image is made of still has the bytes of its name.

Read from the disk and not from memory, a part at a time, beside everything else. An object with other bytes is set aside: from
then on its images are not there, as if they had never come, and nobody is given them. What a crash has left behind, and what was
set aside long ago, is swept (`store.py`). What cannot be read is looked at once more at the end; a disk of which nothing can be
read has no damaged images but is away, and is left as it is. Not here: bringing the images anew, which the server orders.
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
GONE = "it is not there"
log = get_logger()


class Unreadable(Exception):
    """A disk's own words."""


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
        unread: list[str] = []
        read = 0
        for sha256, images in sorted(by_object.items()):
            try:
                damaged += await self._judged(images, await self._what_is_wrong(sha256, images))
            except Unreadable:
                unread.append(sha256)
            read += images[0].size
            await self.progress(min(read / total, 1.0))
        for sha256 in unread:
            images = by_object[sha256]
            found = await self._looked_again(sha256, images, alone=len(unread) == len(by_object))
            damaged += await self._judged(images, found)
        swept = await asyncio.to_thread(self.store.sweep, self.now) if self.mend else ()
        return Scrubbed(objects=len(by_object), bytes=read, damaged=tuple(sorted(damaged)), swept=len(swept))

    async def _what_is_wrong(self, sha256: str, images: list[Image]) -> str:
        """Nothing, or what was found instead. Raises Unreadable."""
        place = self.store.file(sha256)
        try:
            if place is not None:
                found = await _digest(place)
            else:
                found = await self._told(sha256, images[0].size)
        except FileNotFoundError:
            still = await asyncio.to_thread(self.store.everything)
            return GONE if any(image.sha256 == sha256 for image in still) else ""
        except OSError as error:
            raise Unreadable(error.strerror or "it cannot be read") from error
        return "" if found == sha256 else found

    async def _looked_again(self, sha256: str, images: list[Image], *, alone: bool) -> str:
        """What could not be read before; `alone`: nor could anything else. Raises Refused when it is the store that fails."""
        try:
            return await self._what_is_wrong(sha256, images)
        except Unreadable as error:
            if alone:
                raise Refused(f"the image store cannot be used: {error}") from error
            return str(error)

    async def _judged(self, images: list[Image], wrong: str) -> list[str]:
        """The images of one object, if there is something wrong with it."""
        if not wrong:
            return []
        sha256 = images[0].sha256
        log.error("object_damaged", store=str(self.store.path), sha256=sha256, found=wrong, images=len(images))
        if self.mend and wrong != GONE:
            await asyncio.to_thread(self.store.set_aside, sha256)
        return [image.image for image in images]

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
