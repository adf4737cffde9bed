"""An image store whose bytes are in a bucket of an S3 server, laid out as `store.py` lays out a folder.

    objects/<sha256>             complete, verified, never changed; its SHA-256 stands in its metadata as well
    images/<uuid>.json           what the image is
    references/<sha256>/<uuid>   empty: this image is made of that object

What has not come wholly waits in a folder that the host hands over (`path`), with its durable record: so a killed machine goes
on where it was, and room for it is needed there, not in the bucket. A whole file goes up in parts and is hashed once more on
its way; the server shows nothing of it before all parts are there. A part is read twice, once to be signed and once to be sent,
and never held in memory. Hosts and users read through this machine, range by range.
Order is what makes a crash harmless: object, reference, image; and image, reference, object. What a crash leaves is swept when it
is older than SWEEP_AGE_S, uploads that nobody completes too. What was begun for the same object before is aborted at once.
Not here: bringing chunks of a new version from images that are in a bucket already, and reading all bytes of it again in a scrub:
that costs money, and the server does it by itself; size and promised digest are compared.
"""

import errno
import hashlib
import http.client
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from sysvm.agent.roles.secstorage.s3 import S3, Body, BucketFailed, Entry, Head
from sysvm.agent.roles.secstorage.store import SWEEP_AGE_S, Image, ImageStore, Readable, plain
from sysvm.basics.errors import Refused

PART = 8 * 1024 * 1024
MOST_PARTS = 1000  # Amazon's allows 10,000, OpenStack Swift's as many as these; 5 GB a part are more than any image needs
PIECE = 1024 * 1024
OBJECTS, IMAGES, REFERENCES = "objects/", "images/", "references/"


class BucketStore(ImageStore):
    """See the module."""

    def __init__(self, path: Path, s3: S3) -> None:
        super().__init__(path)
        self._s3 = s3

    # ------------------------------------------------------------ reading
    def image(self, image: str) -> Image | None:
        """What is known of an image; None when it is not here, whole."""
        found = self._image(plain(image))
        return found if found is not None and self.has(found.sha256) else None

    def _image(self, name: str) -> Image | None:
        data = self._s3.get(f"{IMAGES}{name}.json")
        try:
            return msgspec.json.decode(data, type=Image) if data is not None else None
        except msgspec.DecodeError:
            return None

    def file(self, sha256: str) -> Path | None:
        """Never: bytes of a bucket are no file."""
        return None

    def has(self, sha256: str) -> bool:
        """Whether the bytes are here."""
        return self._s3.head(_object(sha256)) is not None

    def _head(self, sha256: str) -> Head:
        head = self._s3.head(_object(sha256))
        if head is None:
            raise FileNotFoundError(errno.ENOENT, f"{sha256} is not in the bucket")
        return head

    def size(self, sha256: str) -> int:
        """How many bytes; raises FileNotFoundError."""
        return self._head(sha256).size

    def open(self, sha256: str) -> Readable:
        """The bytes, read from the server as they are asked for."""
        return Reading(self._s3, _object(sha256), self.size(sha256))

    def glance(self, sha256: str, size: int) -> str:
        """The digest that the server keeps for these bytes; raises FileNotFoundError."""
        head = self._head(sha256)
        return head.sha256 if head.size == size else f"{head.size} bytes instead of {size}"

    # ------------------------------------------------------------ keeping
    def keep(self, data: Path, sha256: str) -> None:
        """The bytes of `data`, which are complete and hash to `sha256`, become an object; `data` goes."""
        key, size = _object(sha256), data.stat().st_size
        head = self._s3.head(key)
        if head is None or head.size != size:
            self._abort(self._s3.uploads(key))
            self._send(data, sha256, size)
        data.unlink()

    def _send(self, data: Path, sha256: str, size: int) -> None:
        key, length = _object(sha256), part_length(size)
        upload = self._s3.begin(key, sha256)
        known, tags = hashlib.sha256(), list[str]()
        for start in range(0, size or 1, length):
            part = _part(data, start, min(length, size - start), known)
            tags.append(self._s3.part(key, upload, len(tags) + 1, part))
        if known.hexdigest() != sha256:
            self._s3.abort(key, upload)
            raise Refused("the bytes were changed on the disk where they waited")
        self._s3.complete(key, upload, tags)

    def refer(self, image: Image) -> None:
        """The image exists from now on."""
        before = self._image(plain(image.image))
        self._s3.put(_reference(image.sha256, image.image), b"")
        self._s3.put(f"{IMAGES}{plain(image.image)}.json", msgspec.json.encode(image))
        if before is not None and before.sha256 != image.sha256:
            self._let_go(before.sha256, image.image)

    def forget(self, image: str) -> None:
        """The image is gone, and its bytes when no other image is made of them."""
        found = self._image(plain(image))
        self._s3.delete(f"{IMAGES}{plain(image)}.json")
        if found is not None:
            self._let_go(found.sha256, image)

    def _let_go(self, sha256: str, image: str) -> None:
        self._s3.delete(_reference(sha256, image))
        if next(self._s3.entries(f"{REFERENCES}{plain(sha256)}/", 1), None) is None:
            self._s3.delete(_object(sha256))

    # ------------------------------------------------------------ scrubbing
    def everything(self) -> list[Image]:
        """All images that are referred to, whether or not their bytes are there."""
        names = [_name(entry.key) for entry in self._s3.entries(IMAGES)]
        return [found for name in names if (found := self._image(name)) is not None]

    def set_aside(self, sha256: str) -> None:
        """The object is none any more. A bucket keeps no damaged ones: reading them again brings the same."""
        self._s3.delete(_object(sha256))

    # ------------------------------------------------------------ sweeping
    def sweep(self, now: float) -> tuple[str, ...]:
        """Removes what a crash left behind, here and in the folder; answers what it was."""
        old = now - SWEEP_AGE_S
        uploads = [entry for entry in self._s3.uploads(OBJECTS) if entry.since < old]
        self._abort(uploads)
        images = {_name(entry.key) for entry in self._s3.entries(IMAGES)}
        references = list(self._s3.entries(REFERENCES))
        loose = [one for one in references if one.since < old and one.key.rpartition("/")[2] not in images]
        wanted = {one.key.split("/")[1] for one in references if one not in loose}
        orphans = [one for one in self._s3.entries(OBJECTS) if one.since < old and one.key.removeprefix(OBJECTS) not in wanted]
        for one in (*loose, *orphans):
            self._s3.delete(one.key)
        return (*super().sweep(now), *(one.key for one in (*uploads, *loose, *orphans)))

    def _abort(self, uploads: Iterable[Entry]) -> None:
        for one in list(uploads):
            self._s3.abort(one.key, one.upload)


class Reading:
    """An object as a file that is open for reading. A broken line is taken up where it broke, once in a row."""

    def __init__(self, s3: S3, key: str, size: int) -> None:
        self._s3, self._key, self._size = s3, key, size
        self._at = 0
        self._body: http.client.HTTPResponse | None = None

    def seek(self, at: int, whence: int = 0) -> int:
        """As of a file."""
        place = at + {0: 0, 1: self._at, 2: self._size}[whence]
        if place != self._at:
            self.close()
        self._at = place
        return place

    def read(self, length: int = -1) -> bytes:
        """Fewer bytes at the end of the object only."""
        wanted = max(0, self._size - self._at if length < 0 else min(length, self._size - self._at))
        found = b""
        failed = False
        while len(found) < wanted:
            piece = self._some(wanted - len(found))
            if not piece and failed:
                raise BucketFailed(f"the server of the bucket ended after {self._at} of {self._size} bytes")
            failed = not piece
            found += piece
        return found

    def _some(self, length: int) -> bytes:
        """Nothing: the line broke."""
        if self._body is None:
            self._body = self._s3.stream(self._key, self._at)
        try:
            piece = self._body.read(length)
        except (OSError, http.client.HTTPException):
            piece = b""
        self._at += len(piece)
        if not piece:
            self.close()
        return piece

    def close(self) -> None:
        """Lets go of the line."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def part_length(size: int) -> int:
    """How long the parts of an upload are; the last one may be shorter."""
    return max(PART, -(-size // MOST_PARTS))


def _part(data: Path, start: int, length: int, whole: "hashlib._Hash") -> Body:
    """A range of a file; `whole` hashes it, too."""
    part, found = hashlib.sha256(), 0
    for piece in _pieces(data, start, length):
        part.update(piece)
        whole.update(piece)
        found += len(piece)
    return Body(found, part.hexdigest(), lambda: _pieces(data, start, found))


def _pieces(data: Path, start: int, length: int) -> Iterator[bytes]:
    """The bytes of a range; fewer where the file has become shorter."""
    with data.open("rb") as file:
        file.seek(start)
        while length and (piece := file.read(min(PIECE, length))):
            length -= len(piece)
            yield piece


def _object(sha256: str) -> str:
    return f"{OBJECTS}{plain(sha256)}"


def _reference(sha256: str, image: str) -> str:
    return f"{REFERENCES}{plain(sha256)}/{plain(image)}"


def _name(key: str) -> str:
    return key.removeprefix(IMAGES).removesuffix(".json")
