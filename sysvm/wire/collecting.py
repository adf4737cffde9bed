"""Files of a system VM that an operator wants to read: collected by its agent, kept by a secondary storage VM."""

import msgspec

MOST = 4 * 1024 * 1024  # bytes of an archive


class CollectFiles(msgspec.Struct, frozen=True, kw_only=True, tag="collect-files"):
    """Pack these into a zip; none: what is usually looked at. Result: Collected."""

    files: tuple[str, ...] = ()  # absolute paths, or reports such as [RULES]


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """The zip, at most MOST bytes; what was asked for and is not in it, and why, is in its file `missing`."""

    archive: bytes
    files: tuple[str, ...]


class KeepArchive(msgspec.Struct, frozen=True, kw_only=True, tag="keep-archive"):
    """Put these bytes into the store, where a link can lead to them; result: Downloaded."""

    store: str
    image: str  # the name that it has there: a UUID
    archive: bytes
