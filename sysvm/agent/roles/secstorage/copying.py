"""An image brought from one store of this machine to another. The source is only read; who moves deletes it there afterwards.

Like a download: it grows in the target's `incoming`, with a durable record, and becomes an object when its SHA-256 is what
the server and the source say. Killed at any instruction it goes on from the record; asked for again it is found done.
Not here: choosing the store, deleting at the source.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sysvm.agent.roles.secstorage.checksum import parse_checksum
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Refused
from sysvm.wire.channel import CopyImage, Downloaded

BATCH = 4 * 1024 * 1024
HEADROOM = 64 * 1024 * 1024  # bytes of a store that are left free


@dataclass(frozen=True, slots=True)
class Copying:
    """One copy."""

    order: CopyImage
    source: ImageStore
    target: ImageStore
    progress: Callable[[float], Awaitable[None]]

    async def run(self) -> Downloaded:
        """The image is in the target afterwards. Raises Refused when it cannot be."""
        known = await asyncio.to_thread(self.target.image, self.order.image)
        if known is None or known.sha256 != self.order.sha256:
            known = await self._brought(await asyncio.to_thread(self._wanted))
        return Downloaded(sha256=known.sha256, size=known.size, virtual_size=known.virtual_size, format=known.format)

    def _wanted(self) -> Image:
        image = self.source.image(self.order.image)
        if image is None:
            raise Refused("the image is not in the store that it shall be copied from")
        if image.sha256 != self.order.sha256:
            raise Refused(f"the store has other bytes than those known: SHA-256 {image.sha256}, not {self.order.sha256}")
        return image

    async def _brought(self, image: Image) -> Image:
        checksum = parse_checksum(f"{{SHA-256}}{image.sha256}")
        name = digest([self.order.image, self.order.source, image.sha256])
        incoming = Incoming(self.target.incoming(self.order.image), name, checksum)
        try:
            if not await asyncio.to_thread(self.target.has, image.sha256):
                await self._fill(incoming, image)
            await asyncio.to_thread(self._accept, image)
        except (Refused, OSError) as error:
            incoming.close()
            await asyncio.to_thread(self.target.drop_incoming, self.order.image)
            raise _as_refused(error) from error
        finally:
            incoming.close()
        return image

    async def _fill(self, incoming: Incoming, image: Image) -> None:
        await asyncio.to_thread(incoming.open, lambda _: None)
        if image.size - incoming.size + HEADROOM > await asyncio.to_thread(self.target.free):
            raise Refused(f"the image store is full: {image.size - incoming.size} bytes more do not fit")
        if not incoming.size:
            await asyncio.to_thread(incoming.restart, "", image.size)
        while await asyncio.to_thread(self._piece, incoming, image):
            await self.progress(min(incoming.size / image.size, 1.0))
            await edge("copy_batch")
        await asyncio.to_thread(self._keep, incoming, image)

    def _piece(self, incoming: Incoming, image: Image) -> bool:
        with self.source.open(image.sha256) as file:
            file.seek(incoming.size)
            piece = file.read(BATCH)
        incoming.append([piece])
        return bool(piece)

    def _keep(self, incoming: Incoming, image: Image) -> None:
        incoming.sync()
        if not incoming.fulfils():
            raise Refused(
                f"the image's bytes are damaged in the store: SHA-256 {incoming.found()} was read, {image.sha256} is right"
            )
        incoming.note_kept(image.sha256)
        self.target.keep(incoming.data, image.sha256)

    def _accept(self, image: Image) -> None:
        self.target.refer(image)
        self.target.drop_incoming(self.order.image)


def _as_refused(error: Refused | OSError) -> Refused:
    if isinstance(error, Refused):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused("the image store is full")
    return Refused(f"an image store cannot be read or written: {error.strerror or error}")
