"""The documents on the state disk: the newest one that was asked for, and the newest one that became wholly live.

At a restart without a server the good one is applied first and the newest after it, so that a service that cannot carry
the newest still runs with what it carried before. A file whose seal is broken is not used and is said so.
"""

from pathlib import Path

import msgspec

from sysvm.agent.seal import Seal, Tampered, write_whole
from sysvm.basics.log import get_logger
from sysvm.wire.documents import SystemVmDocument

_decoder: msgspec.msgpack.Decoder[SystemVmDocument] = msgspec.msgpack.Decoder(SystemVmDocument)
log = get_logger()


class Documents:
    """What this machine was last told."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self._folder = folder
        self._seal = seal
        self._kept: dict[str, bytes] = {}

    def remember_wanted(self, document: SystemVmDocument) -> None:
        """`document` is what the next life begins with. A full or broken disk is said, and stops nothing."""
        self._keep("wanted", document)

    def remember_good(self, document: SystemVmDocument) -> None:
        """`document` is live, whole."""
        self._keep("good", document)

    def restored(self) -> tuple[SystemVmDocument, ...]:
        """What to apply now, in order: at most the good and the wanted one, once if they are the same."""
        found = [document for name in ("good", "wanted") if (document := self._read(name)) is not None]
        return tuple(found[:1] if len(found) == 2 and found[0] == found[1] else found)

    def _keep(self, name: str, document: SystemVmDocument) -> None:
        plain = msgspec.msgpack.encode(document)
        if self._kept.get(name) == plain:
            return
        try:
            write_whole(self._folder / f"{name}.sealed", self._seal.close(plain, name))
        except OSError as error:
            log.error("document_not_kept", which=name, why=str(error))
        else:
            self._kept[name] = plain

    def _read(self, name: str) -> SystemVmDocument | None:
        try:
            plain = self._seal.open((self._folder / f"{name}.sealed").read_bytes(), name)
            document = _decoder.decode(plain)
        except FileNotFoundError:
            return None
        except (OSError, Tampered, msgspec.DecodeError) as error:
            log.error("kept_document_refused", which=name, why=str(error))
            return None
        self._kept[name] = plain
        return document
