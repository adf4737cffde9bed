"""One answer of a source, whatever its protocol: as of HTTP, with a status, headers and a body that comes piece by piece.

    http, https   `fetch.py`
    ftp           aioftp; the data connection goes to the address that was judged, whatever the server says
    sftp          asyncssh; nobody vouches for the server's key, so a promised checksum has to (`transfer.py`)
    nfs           the file's folder is mounted for this answer, read-only; a link in it is not followed
    file          the folder `import` of the image store, where an operator has put a file; no link leads out of it

Not here: retries, ranges of several mirrors, files that grow. Libraries are imported when they are needed.
"""

import asyncio
import errno
import io
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from sysvm.agent.command import CommandFailed
from sysvm.agent.roles.secstorage import mounting
from sysvm.agent.roles.secstorage.fetch import ANSWER_S, CONNECT_S, SourceFailed, Way, judged, opened
from sysvm.agent.roles.secstorage.source import FILE, Source
from sysvm.basics.errors import Refused
from sysvm.wire.nfs import parse_share

if TYPE_CHECKING:
    import aioftp

PIECE = 1024 * 1024
IMPORT = "import"


class Body(Protocol):
    """What comes."""

    async def readany(self) -> bytes:
        """Some bytes; none at the end."""
        ...


class Answer(Protocol):
    """What a source says."""

    @property
    def status(self) -> int:
        """200 or 206, as in HTTP."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Length, range and validator."""
        ...

    @property
    def content(self) -> Body:
        """The bytes."""
        ...


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A body that is read by a function."""

    read: Callable[[], Awaitable[bytes]]

    async def readany(self) -> bytes:
        return await self.read()


@dataclass(frozen=True, slots=True)
class _File:
    """The answer of a source that has one file of a known size, from `start` on."""

    size: int
    start: int
    validator: str
    content: Body

    @property
    def status(self) -> int:
        return 206 if self.start else 200

    @property
    def headers(self) -> Mapping[str, str]:
        told = {"Content-Length": str(self.size - self.start), "ETag": self.validator}
        return {**told, "Content-Range": f"bytes {self.start}-{self.size - 1}/{self.size}"} if self.start else told


@asynccontextmanager
async def reached(source: Source, headers: dict[str, str], way: Way, store: Path) -> AsyncIterator[Answer]:
    """The source's answer. Raises Refused (never again) or SourceFailed (again, later)."""
    match source.scheme:
        case "ftp":
            opening = _ftp(source, headers, way)
        case "sftp":
            opening = _sftp(source, headers, way)
        case "nfs":
            opening = _shared(source, headers, way)
        case _ if source.scheme == FILE:
            opening = _imported(source, headers, store / IMPORT)
        case _:
            async with opened(source, headers, way) as response:
                yield response
            return
    async with opening as answer:
        yield answer


def _start(headers: Mapping[str, str], validator: str, size: int) -> int:
    """From which byte on: from the first one when the file is not the one that was begun."""
    begun = headers.get("If-Range", validator)
    wanted = headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
    start = int(wanted) if wanted.isdigit() and begun == validator else 0
    return start if start < size else 0


async def _address(source: Source, way: Way) -> str:
    if way.proxy is not None:
        raise Refused(f"secstorage.proxy carries http and https only, not {source.scheme}")
    return (await judged(source, way))[0]


# ---------------------------------------------------------------- ftp
@asynccontextmanager
async def _ftp(source: Source, headers: dict[str, str], way: Way) -> AsyncIterator[Answer]:
    import aioftp

    address, path = await _address(source, way), source.path
    client = aioftp.Client(connection_timeout=CONNECT_S)
    try:
        try:
            async with asyncio.timeout(ANSWER_S):
                await client.connect(address, source.port)
                await client.login(source.user or "anonymous", source.password or "anonymous@")
                size, changed = await _ftp_facts(client, path)
                validator = f'"{changed}-{size}"'
                start = _start(headers, validator, size)
                stream = await client.download_stream(path, offset=start)
        except aioftp.StatusCodeError as error:
            raise _ftp_failure(source, error) from error
        except (aioftp.AIOFTPException, OSError, TimeoutError) as error:
            raise SourceFailed(f"{source.host} does not answer: {error or type(error).__name__}") from error
        yield _File(size, start, validator, _Pieces(lambda: stream.read(PIECE)))
    finally:
        client.close()


async def _ftp_facts(client: "aioftp.Client", path: str) -> tuple[int, str]:
    """Size and date of the last change."""
    facts = await client.stat(path)
    if facts.get("type") != "file":
        raise Refused(f"{path} at the source is no file")
    return int(facts["size"]), str(facts.get("modify", ""))


def _ftp_failure(source: Source, error: "aioftp.StatusCodeError") -> Refused | SourceFailed:
    said = f"{source.host} answers {error.received_codes[-1]}: {' '.join(error.info).strip()}"
    if error.received_codes[-1].matches("4xx"):
        return SourceFailed(said)
    return Refused(f"{said}: are path, user name and password right?")


# ---------------------------------------------------------------- sftp
@asynccontextmanager
async def _sftp(source: Source, headers: dict[str, str], way: Way) -> AsyncIterator[Answer]:
    import asyncssh

    address = await _address(source, way)
    async with AsyncExitStack() as opened_here:
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await asyncssh.connect(
                    address, source.port, username=source.user, password=source.password or None, known_hosts=None,
                    config=None, client_keys=None, agent_path=None, connect_timeout=CONNECT_S,
                )  # fmt: skip
                opened_here.callback(line.abort)
                file = await (await line.start_sftp_client()).open(source.path, "rb")
                facts = await file.stat()
        except asyncssh.PermissionDenied as error:
            raise Refused(f"{source.host} does not let {source.user or 'nobody'} in: {error.reason}") from error
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied) as error:
            raise Refused(f"{source.host} does not give {source.path}: {error.reason}") from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise SourceFailed(f"{source.host} does not answer: {error or type(error).__name__}") from error
        size, validator = int(facts.size or 0), f'"{facts.mtime}-{facts.size}"'
        at = start = _start(headers, validator, size)

        async def piece() -> bytes:
            nonlocal at
            try:
                got = await file.read(PIECE, at)
            except asyncssh.Error as error:
                raise SourceFailed(f"the connection broke: {error or type(error).__name__}") from error
            at += len(got)
            return cast(bytes, got)

        yield _File(size, start, validator, _Pieces(piece))


# ---------------------------------------------------------------- nfs
@asynccontextmanager
async def _shared(source: Source, headers: dict[str, str], way: Way) -> AsyncIterator[Answer]:
    address, asked = await _address(source, way), parse_share(source.url)
    folder, _, name = asked.path.rpartition("/")
    share = msgspec.structs.replace(asked, server=address, path=folder or "/")
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=mounting.FOR_ONE))
    try:
        try:
            await asyncio.to_thread(mounting.mount, share, place, read_only=True)
            file = await asyncio.to_thread(open_plain, place / name)
        except mounting.CannotMount as error:
            raise Refused(f"nothing is fetched by NFS: {error.why}") from error
        except (CommandFailed, OSError) as error:
            why = error.why if isinstance(error, CommandFailed) else error.strerror
            raise SourceFailed(f"{source.host} does not give {asked.path}: {why}") from error
        with file:
            facts = os.fstat(file.fileno())
            validator = f'"{facts.st_mtime_ns}-{facts.st_size}"'
            start = _start(headers, validator, facts.st_size)
            file.seek(start)

            async def piece() -> bytes:
                try:
                    return await asyncio.to_thread(file.read, PIECE)
                except OSError as error:
                    raise SourceFailed(f"the connection broke: {error.strerror}") from error

            yield _File(facts.st_size, start, validator, _Pieces(piece))
    finally:
        await asyncio.to_thread(mounting.take_away, place)


def open_plain(place: Path) -> io.FileIO:
    """Of a file and nothing else: a pipe would be waited for, a link could lead to a file of this machine."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EACCES):
            raise Refused(f"{place.name} at the source cannot be opened: {error.strerror}") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{place.name} at the source is no file")
    return io.FileIO(descriptor)


# ---------------------------------------------------------------- the import folder
@asynccontextmanager
async def _imported(source: Source, headers: dict[str, str], folder: Path) -> AsyncIterator[Answer]:
    place = folder / source.path.lstrip("/")
    try:
        if not place.resolve(strict=True).is_relative_to(folder.resolve(strict=True)) or not place.is_file():
            raise Refused(f"{source.path} is no file of the import folder")
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise Refused(
            f"{source.path} is not in the import folder ({error.strerror}): put it into {IMPORT}/ of the image store"
        ) from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        facts = os.fstat(descriptor)
        validator = f'"{facts.st_mtime_ns}-{facts.st_size}"'
        start = _start(headers, validator, facts.st_size)
        file.seek(start)
        yield _File(facts.st_size, start, validator, _Pieces(lambda: asyncio.to_thread(file.read, PIECE)))
