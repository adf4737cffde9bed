"""One image store: bytes under their SHA-256, images as references to them.

    objects/<sha256>      complete, verified, never changed
    images/<uuid>.json    what the image is, and which object it is
    incoming/<uuid>/      a download that is not done: `data`, `record.json`
    damaged/<sha256>      what a scrub found to have other bytes; kept for a week, for whoever wants to know why

The same bytes are kept once. What is visible is whole: files are synced before they get their name, and names are synced
after. Order is what makes a crash harmless: first the object, then the reference; first the reference goes, then the object.
What a crash between the two leaves is swept at start, when it is older than SWEEP_AGE_S (another machine may be between
the two right now). Calls block: callers use a thread for all that writes or walks.
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from sysvm.agent.roles.secstorage.health import PROBE
from sysvm.basics.errors import Refused

SWEEP_AGE_S = 3600.0
DAMAGED_AGE_S = 7 * 24 * 3600.0


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """images/<uuid>.json"""

    image: str
    sha256: str
    size: int
    virtual_size: int
    format: str
    source: str = ""  # fingerprint of the order that brought it


class Readable(Protocol):
    """A file that is open for reading."""

    def read(self, length: int = -1, /) -> bytes:
        """Fewer bytes at its end only."""
        ...

    def seek(self, at: int, whence: int = 0, /) -> int:
        """Where the next bytes are read."""
        ...

    def __enter__(self) -> "Readable": ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None: ...


class ImageStore:
    """A folder that is laid out as above. Another kind of store does what is done here in its own way (`bucket.py`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._objects, self._images, self._incoming = path / "objects", path / "images", path / "incoming"
        self._damaged = path / "damaged"

    def prepare(self) -> None:
        """The layout exists. Raises OSError when the store cannot be written."""
        for folder in (self._objects, self._images, self._incoming):
            folder.mkdir(mode=0o755, exist_ok=True)

    # ------------------------------------------------------------ reading
    def image(self, image: str) -> Image | None:
        """What is known of an image; None when it is not here, whole."""
        try:
            found = msgspec.json.decode((self._images / f"{plain(image)}.json").read_bytes(), type=Image)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found if self.has(found.sha256) else None

    def object(self, sha256: str) -> Path:
        """Where these bytes are, if they are."""
        return self._objects / plain(sha256)

    def file(self, sha256: str) -> Path | None:
        """These bytes as a file; None where they are none."""
        return self.object(sha256)

    def has(self, sha256: str) -> bool:
        """Whether the bytes are here."""
        return self.object(sha256).exists()

    def size(self, sha256: str) -> int:
        """How many bytes; raises FileNotFoundError."""
        return self.object(sha256).stat().st_size

    def open(self, sha256: str) -> Readable:
        """The bytes; raises FileNotFoundError."""
        return self.object(sha256).open("rb")

    def glance(self, sha256: str, size: int) -> str:
        """The digest of what should be `size` bytes, by whoever knows it best: here by reading all; raises FileNotFoundError."""
        with self.object(sha256).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def incoming(self, image: str) -> Path:
        """The folder of an unfinished download."""
        return self._incoming / plain(image)

    def free(self) -> int:
        """Bytes that can still be written."""
        left = os.statvfs(self.path)
        return left.f_bavail * left.f_frsize

    # ------------------------------------------------------------ keeping
    def keep(self, data: Path, sha256: str) -> None:
        """The bytes of `data`, which are complete and hash to `sha256`, become an object; `data` goes."""
        place = self.object(sha256)
        if place.exists() and place.stat().st_size == data.stat().st_size:
            data.unlink()
            return
        data.chmod(0o444)
        _sync(data)
        data.rename(place)
        _sync(self._objects)

    def refer(self, image: Image) -> None:
        """The image exists from now on."""
        write_whole(self._images / f"{plain(image.image)}.json", msgspec.json.encode(image))

    def forget(self, image: str) -> None:
        """The image is gone, and its bytes when no other image is made of them."""
        place = self._images / f"{plain(image)}.json"
        try:
            sha256 = msgspec.json.decode(place.read_bytes(), type=Image).sha256
        except FileNotFoundError:
            return
        except msgspec.DecodeError:
            sha256 = ""
        place.unlink(missing_ok=True)
        _sync(self._images)
        if sha256 and sha256 not in self._referred():
            self.object(sha256).unlink(missing_ok=True)

    def drop_incoming(self, image: str) -> None:
        """What an unfinished download has brought goes."""
        shutil.rmtree(self.incoming(image), ignore_errors=True)

    # ------------------------------------------------------------ scrubbing
    def everything(self) -> list[Image]:
        """All images that are referred to, whether or not their bytes are there."""
        found = []
        for place in self._images.glob("*.json"):
            try:
                found.append(msgspec.json.decode(place.read_bytes(), type=Image))
            except (FileNotFoundError, msgspec.DecodeError):
                continue
        return found

    def set_aside(self, sha256: str) -> None:
        """The object is none any more."""
        self._damaged.mkdir(mode=0o700, exist_ok=True)
        place = self._damaged / plain(sha256)
        self.object(sha256).rename(place)
        os.utime(place)
        _sync(self._objects)

    # ------------------------------------------------------------ sweeping
    def sweep(self, now: float) -> tuple[str, ...]:
        """Removes what a crash left behind; answers what it was."""
        wanted = self._referred() | self._about_to_be()
        old = now - SWEEP_AGE_S
        halves = [place for folder in (self._objects, self._images) for place in folder.glob("*.new")]
        halves += self.path.glob(f"{PROBE}*")
        orphans = [place for place in self._objects.iterdir() if place.name not in wanted and place not in halves]
        gone = [place for place in (*halves, *orphans) if place.stat().st_mtime < old]
        gone += [place for place in self._damaged.glob("*") if place.stat().st_mtime < now - DAMAGED_AGE_S]
        for place in gone:
            place.unlink(missing_ok=True)
        for folder in list(self._incoming.iterdir()):
            least = now - DAMAGED_AGE_S if (folder / "record.json").exists() else old
            if max(place.stat().st_mtime for place in (folder, *folder.iterdir())) < least:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
        return tuple(str(place.relative_to(self.path)) for place in gone)

    def _referred(self) -> set[str]:
        found = set()
        for place in self._images.glob("*.json"):
            try:
                found.add(msgspec.json.decode(place.read_bytes(), type=Image).sha256)
            except (FileNotFoundError, msgspec.DecodeError):
                continue
        return found

    def _about_to_be(self) -> set[str]:
        """Objects that a download has finished but not yet referred to."""
        found = set()
        for place in self._incoming.glob("*/record.json"):
            try:
                found.add(str(msgspec.json.decode(place.read_bytes(), type=dict).get("kept", "")))
            except (FileNotFoundError, msgspec.DecodeError):
                continue
        return found


def write_whole(place: Path, data: bytes) -> None:
    """`place` holds `data` afterwards, or what it held before; never a part."""
    new = place.with_name(f"{place.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(place)
    _sync(place.parent)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync folders; their renames are synchronous.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def plain(name: str) -> str:
    """`name` as a file name; raises Refused for anything that could be a path."""
    if not (0 < len(name) <= 128) or not name.replace("-", "").isalnum() or not name.isascii():
        raise Refused("an image is named by its UUID")
    return name
