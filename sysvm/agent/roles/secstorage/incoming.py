"""The file that a download grows in, and the durable record beside it that lets another life go on.

The record counts bytes that are on the disk for certain: data is synced before the record says so. After a crash the file is
cut to what the record says and its beginning is hashed again, once. Races thought of: a crash between sync and record costs
one piece; a record without its file, or of another order, is worth nothing and starts anew; two machines that were given the
same work (one of them is about to end): the second one is refused as long as the first one has the file locked.
Calls block; `transfer.py` makes them in a thread, one after the other. Who is cancelled meanwhile leaves a thread behind:
`close` waits for its end, and what begins afterwards finds no file, so nothing is written into a folder that was given up.
"""

import fcntl
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

from sysvm.agent.roles.secstorage.checksum import Checksum
from sysvm.agent.roles.secstorage.store import write_whole
from sysvm.basics.errors import Refused

SYNC_EVERY = 8 * 1024 * 1024  # with what is being written that is less than a chunk of 16 MB to read again
PIECE = 8 * 1024 * 1024
_READ = 4 * 1024 * 1024


C = TypeVar("C", bound=Callable[..., None])


def _alone(call: C) -> C:
    """One call at a time."""

    @functools.wraps(call)
    def waiting(self: "Incoming", *args: Any, **more: Any) -> None:
        with self.calls:
            call(self, *args, **more)

    return cast(C, waiting)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """record.json"""

    order: str  # fingerprint of what was asked for
    validator: str = ""  # ETag or Last-Modified of the bytes that are here
    total: int = 0  # 0: the source did not say
    done: int = 0
    pieces: tuple[int, ...] = ()  # of PIECE bytes each, that are here beyond `done`: they come from several mirrors
    kept: str = ""  # SHA-256 of the object, once it is one


class Incoming:
    """A download's file, its hashes and its record."""

    def __init__(self, folder: Path, order: str, checksum: Checksum | None) -> None:
        self._folder = folder
        self._checksum = checksum
        self.record = Record(order=order)
        self.size = 0
        self._file: IO[bytes] | None = None
        self._hashes: dict[str, hashlib._Hash] = {}
        self.calls = threading.RLock()
        self._hashing = ThreadPoolExecutor(1, "hashing")  # beside the writing; its thread begins with the first byte

    @property
    def data(self) -> Path:
        """The file."""
        return self._folder / "data"

    @property
    def is_complete(self) -> bool:
        """All bytes that the source spoke of are here."""
        return 0 < self.record.total == self.size

    @property
    def has_any(self) -> bool:
        """Something is on the disk for certain."""
        return bool(self.record.done or self.record.pieces or self.record.kept)

    def on_disk(self) -> int:
        """How many bytes are here for certain, without opening anything."""
        known = self._read_record()
        return known.done if known is not None else 0

    @_alone
    def open(self, hashed: Callable[[int], None]) -> None:
        """Goes on where the record says; `hashed` hears how many bytes have been read again."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        known = self._read_record()
        self._file = self.data.open("r+b" if self.data.exists() else "w+b", buffering=0)
        self._lock()
        if known is not None and os.fstat(self._file.fileno()).st_size >= known.done:
            self.record = known
        elif known is not None and known.kept:  # the file itself has become the object
            self.record = msgspec.structs.replace(self.record, kept=known.kept)
        self._start_hashes()
        self._rehash(hashed)

    @_alone
    def restart(self, validator: str, total: int) -> None:
        """The source begins at its first byte."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate(0)
        self.size = 0
        self._start_hashes()
        self._note(validator=validator, total=total, done=0, pieces=(), kept="")

    @_alone
    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """More bytes."""
        hashed = self._hashing.submit(self._update, pieces)
        for piece in pieces:
            self._write(piece)
            self.size += len(piece)
        hashed.result()
        if self.size - self.record.done >= SYNC_EVERY:
            self.sync()

    def _write(self, piece: bytes | memoryview) -> None:
        assert self._file is not None
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    def _update(self, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            for known in self._hashes.values():
                known.update(piece)

    @_alone
    def put(self, number: int, data: bytes) -> None:
        """A whole piece, in whatever order they come; what it closes up to is hashed."""
        assert self._file is not None
        os.pwrite(self._file.fileno(), data, number * PIECE)
        os.fdatasync(self._file.fileno())
        pieces = {*self.record.pieces, number}
        while self.size // PIECE in pieces and self.size < self.record.total:
            self._hash_on(min((self.size // PIECE + 1) * PIECE, self.record.total) - self.size)
        self._note(done=self.size, pieces=tuple(sorted(one for one in pieces if one >= self.size // PIECE)))

    def missing(self) -> list[int]:
        """The pieces that have not come."""
        return [at for at in range(self.size // PIECE, -(-self.record.total // PIECE)) if at not in self.record.pieces]

    def _hash_on(self, length: int) -> None:
        assert self._file is not None
        data = os.pread(self._file.fileno(), length, self.size)
        self._update((data,))
        self.size += len(data)

    @_alone
    def sync(self) -> None:
        """Everything so far is on the disk, and the record says so."""
        assert self._file is not None
        os.fdatasync(self._file.fileno())
        self._note(done=self.size)

    @_alone
    def note_kept(self, sha256: str) -> None:
        """The bytes are an object now."""
        self._note(kept=sha256)

    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._hashes["sha256"].hexdigest()

    def fulfils(self) -> bool:
        """Whether the bytes are those that were promised."""
        return self._checksum is None or self._hashes[self._checksum.algorithm].hexdigest() == self._checksum.hex

    def found(self) -> str:
        """The checksum of the bytes, by the algorithm of the promise."""
        return self._hashes[self._checksum.algorithm if self._checksum else "sha256"].hexdigest()

    @_alone
    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._hashing.shutdown()

    def _lock(self) -> None:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Refused("the image store cannot be written: another machine is still at work on this image") from None

    def _start_hashes(self) -> None:
        names = {"sha256"} | ({self._checksum.algorithm} if self._checksum else set())
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    def _rehash(self, hashed: Callable[[int], None]) -> None:
        assert self._file is not None
        if not self.record.pieces:
            self._file.truncate(self.record.done)
        self._file.seek(0)
        while self.size < self.record.done and (piece := self._file.read(_READ)):
            self._update((piece,))
            self.size += len(piece)
            hashed(self.size)

    def _read_record(self) -> Record | None:
        try:
            known = msgspec.json.decode((self._folder / "record.json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return known if known.order == self.record.order else None

    def _note(self, **changes: str | int | tuple[int, ...]) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        write_whole(self._folder / "record.json", msgspec.json.encode(self.record))
