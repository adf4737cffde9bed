"""The documents on the state disk: the newest one that was asked for, and the newest one that became wholly live.

At a restart without a server the good one is applied first and the newest after it, so that a service that cannot carry
the newest still runs with what it carried before. A file whose seal is broken is not used and is said so.

They are compressed before they are sealed: the standard library seals a byte for longer than it compresses it, and nothing
else of Python runs meanwhile, while a thousand rules are made true.
"""

import zlib
from pathlib import Path

import msgspec

from sysvm.agent.seal import Seal, Tampered, write_whole
from sysvm.basics.log import get_logger
from sysvm.wire.documents import SystemVmDocument

_decoder: msgspec.msgpack.Decoder[SystemVmDocument] = msgspec.msgpack.Decoder(SystemVmDocument)
_PURPOSE = "document"
_LEAST_EFFORT = 1  # of zlib; more of it makes rules no smaller
_COMPRESSED = b"\x78"  # how zlib begins, and no document does: earlier agents kept them as they were
log = get_logger()


class Documents:
    """What this machine was last told."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self._wanted = folder / "wanted.sealed"
        self._good = folder / "good.sealed"
        self._seal = seal
        self._kept: SystemVmDocument | None = None
        self._is_good = False

    @property
    def newest(self) -> SystemVmDocument | None:
        """The one that was asked for last."""
        return self._kept

    def remember_wanted(self, document: SystemVmDocument) -> None:
        """`document` is what the next life begins with. A full or broken disk is said, and stops nothing."""
        if self._kept == document:
            return
        try:
            write_whole(self._wanted, self._seal.close(_packed(document), _PURPOSE))
        except OSError as error:
            log.error("document_not_kept", why=str(error))
        else:
            self._kept, self._is_good = document, False

    def remember_good(self, document: SystemVmDocument) -> None:
        """`document` is live, whole: it is the one to fall back to."""
        if self._is_good or self._kept != document:
            return
        new = self._good.with_name(".good.new")
        try:
            new.unlink(missing_ok=True)
            new.hardlink_to(self._wanted)
            new.replace(self._good)
            # Renaming one name of a file onto another of its names leaves both.
            new.unlink(missing_ok=True)
        except OSError as error:
            log.error("document_not_kept", why=str(error))
        else:
            self._is_good = True

    def restored(self) -> tuple[SystemVmDocument, ...]:
        """What to apply now, in order: at most the good and the wanted one, once if they are the same."""
        good, wanted = self._read(self._good), self._read(self._wanted)
        self._kept, self._is_good = wanted, wanted is not None and good == wanted
        found = [document for document in (good, wanted) if document is not None]
        return tuple(found[:1] if self._is_good else found)

    def _read(self, path: Path) -> SystemVmDocument | None:
        try:
            return _unpacked(self._seal.open(path.read_bytes(), _PURPOSE))
        except FileNotFoundError:
            return None
        except (OSError, Tampered, zlib.error, msgspec.DecodeError) as error:
            log.error("kept_document_refused", which=path.name, why=str(error))
            return None


def _packed(document: SystemVmDocument) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(document), _LEAST_EFFORT)


def _unpacked(data: bytes) -> SystemVmDocument:
    return _decoder.decode(zlib.decompress(data) if data.startswith(_COMPRESSED) else data)
