"""The end of a download and of an upload: bytes that have all come are judged, and become an image or nothing.

Hash and promise are compared, archives unpacked, the format looked into; then the bytes are made an object and the reference
is written. Races thought of: killed between the two, the record names the object, and the next life finds it.
"""

import asyncio
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from sysvm.agent.roles.secstorage import formats, unpack
from sysvm.agent.roles.secstorage.checksum import Checksum
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.store import Image, ImageStore, Readable
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Downloaded

FULL = (errno.ENOSPC, errno.EDQUOT)
HEADROOM = 64 * 1024 * 1024  # bytes of a store that are left free


@dataclass(frozen=True, slots=True)
class Keeping:
    """What an image must be, and where it goes."""

    store: ImageStore
    image: str
    format: str
    checksum: Checksum | None
    max_bytes: int
    fingerprint: str  # of the order

    def incoming(self) -> Incoming:
        """Where its bytes grow."""
        return Incoming(self.store.incoming(self.image), self.fingerprint, self.checksum)

    def known(self) -> Downloaded | None:
        """What this order brought before."""
        image = self.store.image(self.image)
        return result(image) if image is not None and image.source == self.fingerprint else None

    def is_kept(self, incoming: Incoming) -> bool:
        """An earlier life has made its bytes an object."""
        return bool(incoming.record.kept) and self.store.has(incoming.record.kept)

    async def check_size(self, size: int, incoming: Incoming) -> None:
        """Raises Refused when `size` bytes are too many. Asks the store, which may be slow to answer: it holds up nobody else."""
        await asyncio.to_thread(self.check_size_now, size, incoming)

    def check_size_now(self, size: int, incoming: Incoming) -> None:
        """The same, for threads."""
        if size > self.max_bytes:
            raise Refused(f"the image is larger than the {self.max_bytes} bytes that an image may have")
        if size - incoming.size + HEADROOM > self.store.free():
            raise Refused(f"the image store is full: {size - incoming.size} bytes more do not fit")

    async def keep(self, incoming: Incoming) -> Image:
        """The image is in the store afterwards. Raises Refused when these bytes are none."""
        if await asyncio.to_thread(self.is_kept, incoming):
            return await asyncio.to_thread(self._refer, incoming.record.kept)
        if not incoming.fulfils():
            promised = self.checksum.hex if self.checksum else ""
            raise Refused(f"the checksum is wrong: {promised} was promised, {incoming.found()} came")
        packing = await asyncio.to_thread(unpack.packing, incoming.data, self.format)
        if packing is None:
            return await asyncio.to_thread(self._accept, incoming, incoming.data, incoming.sha256())
        target = incoming.data.with_name("unpacked")
        sha256 = await unpack.unpacked(incoming.data, packing, target, await asyncio.to_thread(self._room))
        return await asyncio.to_thread(self._accept, incoming, target, sha256)

    def _room(self) -> int:
        return min(self.max_bytes, max(0, self.store.free() - HEADROOM))

    def _accept(self, incoming: Incoming, data: Path, sha256: str) -> Image:
        with data.open("rb") as file:
            self._virtual_size(file)
        incoming.note_kept(sha256)
        self.store.keep(data, sha256)
        return self._refer(sha256)

    def _refer(self, sha256: str) -> Image:
        with self.store.open(sha256) as file:
            size, virtual = file.seek(0, os.SEEK_END), self._virtual_size(file)
        image = Image(
            image=self.image,
            sha256=sha256,
            size=size,
            virtual_size=virtual,
            format=self.format,
            source=self.fingerprint,
        )
        self.store.refer(image)
        self.store.drop_incoming(self.image)
        return image

    def _virtual_size(self, file: Readable) -> int:
        """Of the image in a file that is complete."""

        def at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        virtual = formats.virtual_size(self.format, at, file.seek(0, os.SEEK_END))
        if virtual > self.max_bytes:
            raise Refused(f"the image is a disk of {virtual} bytes; {self.max_bytes} are allowed")
        return virtual


class BrokenOff(Refused):
    """The source is silent: what has come is good for the next try."""


def goes_on(error: Refused | OSError) -> bool:
    """Whether what has come stays for the next try. A full store gets its room back; an image that is wrong is worth nothing."""
    if isinstance(error, OSError):
        return error.errno not in FULL
    return isinstance(error, BrokenOff)


def as_refused(error: Refused | OSError) -> Refused:
    """What a store's failure means for who ordered."""
    if isinstance(error, Refused):
        return error
    if error.errno in FULL:
        return Refused("the image store is full")
    return Refused(f"the image store cannot be written: {error.strerror or error}")


def result(image: Image) -> Downloaded:
    """An image as the server is told of it."""
    return Downloaded(sha256=image.sha256, size=image.size, virtual_size=image.virtual_size, format=image.format)
