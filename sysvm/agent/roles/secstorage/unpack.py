"""Compressed sources: gz, bz2, xz, zst, and zip archives with one file. Done after the download, which stays resumable that way.

A piece at a time, hashed and counted as it is written: a bomb ends at the limit of bytes, whatever its headers say, and an xz
or zst that asks for more than MEMORY is refused. Only bytes leave an archive: names in it are not used for anything.
"""

import asyncio
import bz2
import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sysvm.agent.roles.secstorage.disks import packing_of
from sysvm.basics.errors import Refused

MEMORY = 256 * 1024 * 1024
_PIECE = 1024 * 1024


def packing(place: Path, format_name: str) -> str | None:
    """How a download is compressed and has to be unpacked. TAR archives are kept as they are."""
    if format_name == "TAR":
        return None
    with place.open("rb") as file:
        return packing_of(file.read(16))


async def unpacked(source: Path, packed: str, target: Path, limit: int) -> str:
    """`target` holds what `source` has inside; its SHA-256. Raises Refused beyond `limit` bytes, or for a damaged source."""
    known = hashlib.sha256()
    pieces = _pieces(source, packed)
    size = 0
    with target.open("wb", buffering=0) as file:
        while piece := await asyncio.to_thread(_next, pieces):
            size += len(piece)
            if size > limit:
                raise Refused(f"the {packed} archive holds more than the {limit} bytes that an image may have here")
            await asyncio.to_thread(file.write, piece)
            known.update(piece)
    return known.hexdigest()


def _next(pieces: Iterator[bytes]) -> bytes:
    try:
        return next(pieces, b"")
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise Refused(f"the archive is damaged or of a kind that is not known here: {error}") from error


def _pieces(source: Path, packed: str) -> Iterator[bytes]:
    match packed:
        case "gzip":
            return _gzip(source)
        case "bzip2":
            return _reading(bz2.BZ2File(source))
        case "xz":
            return _xz(source)
        case "zstd":
            return _zstd(source)
        case "zip":
            return _zip(source)
    raise Refused(f"{packed} archives cannot be unpacked here: use gz, bz2, xz, zst or zip")


def _reading(file: bz2.BZ2File | IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _gzip(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        rest = b""
        while rest or (rest := file.read(_PIECE)):
            unpacker = zlib.decompressobj(wbits=31)
            while not unpacker.eof:
                if not rest and not (rest := file.read(_PIECE)):
                    yield from _nonempty(unpacker.flush())
                    if unpacker.eof:
                        return
                    raise EOFError("it is cut off")
                yield from _nonempty(unpacker.decompress(rest, _PIECE))
                rest = unpacker.unconsumed_tail
            rest = unpacker.unused_data
            # Padding after the last member is allowed.
            rest = rest if rest.strip(b"\0") else b""


def _xz(source: Path) -> Iterator[bytes]:
    unpacker = lzma.LZMADecompressor(memlimit=MEMORY)
    with source.open("rb") as file:
        while not unpacker.eof:
            data = file.read(_PIECE) if unpacker.needs_input else b""
            if unpacker.needs_input and not data:
                raise EOFError("it is cut off")
            yield from _nonempty(unpacker.decompress(data, _PIECE))


def _zstd(source: Path) -> Iterator[bytes]:
    from backports import zstd  # of the standard library from Python 3.14 on

    limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MEMORY.bit_length() - 1}
    try:
        with zstd.ZstdFile(source, options=limits) as file:
            while piece := file.read(_PIECE):
                yield piece
    except zstd.ZstdError as error:
        raise EOFError(str(error)) from error


def _nonempty(piece: bytes) -> Iterator[bytes]:
    if piece:
        yield piece


def _zip(source: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(source) as archive:
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(files) != 1:
            raise Refused(f"the zip archive holds {len(files)} files: one image is expected")
        yield from _reading(archive.open(files[0]))
