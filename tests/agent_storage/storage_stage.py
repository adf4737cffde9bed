"""What a secondary storage VM has around it: a source that behaves as told, a store in a folder, the role itself."""

import asyncio
import contextlib
import hashlib
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trustme

from sysvm.agent.line import Line
from sysvm.agent.paths import Paths
from sysvm.agent.roles import Context
from sysvm.agent.roles.secstorage.pace import Patience
from sysvm.agent.roles.secstorage.role import SecStorageRole
from sysvm.agent.seal import Seal
from sysvm.basics.clock import SystemClock
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import Download, Downloaded
from sysvm.wire.documents import Certificate, SecStorageDocument, Store
from sysvm.wire.machines import BootData, Kind, Runtime

PATIENCE = 60  # seconds without which a test hangs for ever; nothing is measured with it
QUICK = Patience(window_s=0.5, floor=1024, tries=3, first_pause_s=0.01, longest_pause_s=0.05)
KEY = "secret of the cloud"


def noise(size: int) -> bytes:
    """Bytes that no compressor shrinks and in which every displacement shows."""
    blocks = (hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def qcow2(virtual: int = 1 << 30, *, tail: bytes = b"", **changes: int) -> bytes:
    """A QCOW2 file with a sane header, but for `changes`."""
    entries = max(1, min(1 << 20, -(-virtual // (1 << 29))))
    fields = {
        "magic": 0x514649FB, "version": 3, "backing_offset": 0, "backing_size": 0, "cluster_bits": 16, "virtual": virtual,
        "encryption": 0, "l1_entries": entries, "l1_offset": 3 << 16, "refcount_offset": 1 << 16,
        "refcount_clusters": 1, "snapshots": 0, "snapshots_offset": 0, "incompatible": 0, "compatible": 0, "autoclear": 0,
        "refcount_order": 4, "length": 112,
    }  # fmt: skip
    header = struct.pack(">IIQIIQIIQQIIQQQQII", *{**fields, **changes}.values())
    return (header + b"\0" * 8).ljust(4 << 16, b"\0") + tail


@dataclass
class Exchange:
    """One request that the source has got, and the way to answer it."""

    headers: dict[str, str]
    writer: asyncio.StreamWriter
    path: str
    method: str = "GET"

    @property
    def start(self) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else None

    async def say(self, status: str, *headers: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode() + body)
        await self.writer.drain()


Answer = Callable[[Exchange], Awaitable[None]]


def whole(data: bytes, *extra: str) -> Answer:
    """A well-behaved file."""

    async def answer(ask: Exchange) -> None:
        start = ask.start
        if start is None:
            await ask.say("200 OK", f"Content-Length: {len(data)}", 'ETag: "1"', *extra, body=data)
        else:
            await partial(ask, data, start, len(data))

    return answer


async def partial(ask: Exchange, data: bytes, start: int, end: int) -> None:
    """Bytes from `start`, of which only those before `end` really come."""
    size = len(data)
    await ask.say(
        "206 Partial Content", f"Content-Length: {size - start}", f"Content-Range: bytes {start}-{size - 1}/{size}",
        'ETag: "1"', body=data[start:end],
    )  # fmt: skip


async def nothing_there(ask: Exchange) -> None:
    """What a path is answered for which nothing has been told."""
    await ask.say("404 Not Found", "Content-Length: 0")


@dataclass
class Source:
    """An HTTP server that answers each path as it is told to; it remembers what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Exchange] = field(default_factory=list)

    async def start(self, context: object = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(re.split(r":\s*", line.lower(), maxsplit=1) for line in head[1:] if line)
            ask = Exchange(headers, writer, head[0].split(" ")[1], head[0].split(" ")[0])
            self.asked.append(ask)
            await self.answers.get(ask.path, nothing_there)(ask)
        writer.close()

    def serve(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges(self) -> list[int | None]:
        return [ask.start for ask in self.asked]

    def stop(self) -> None:
        self._server.close()


def boot_data() -> BootData:
    return BootData(
        machine="m", incarnation=1, name="s-1-VM", kind=Kind.SECONDARY_STORAGE, runtime=Runtime.CONTAINER,
        hostname="s-1-VM", state_key="key",
    )  # fmt: skip


@dataclass
class Stage:
    """Everything together."""

    role: SecStorageRole
    source: Source
    store: Path
    ca: trustme.CA
    said: list[float] = field(default_factory=list)
    mounted: set[str] = field(default_factory=set)

    def document(self, **changes: object) -> SecStorageDocument:
        leaf = self.ca.issue_cert("127.0.0.9")
        chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
        base = SecStorageDocument(
            machine="m",
            name="s-1-VM",
            stores=(Store(store="store-1", path=str(self.store)),),
            management_address="127.0.0.9",
            serve_port=0,
            certificate=Certificate(chain=chain, key=leaf.private_key_pem.bytes().decode()),
            ca=self.ca.cert_pem.bytes().decode(),
            ticket_key=KEY,
            allowed_internal=("127.0.0.0/8",),
            max_bytes=1 << 30,
        )
        # The machine's own address is never fetched from, so the source has another one.
        return msgspec.structs.replace(base, **changes)

    async def fetch(self, url: str, image: str = "image-1", **changes: object) -> Downloaded:
        async def progress(share: float) -> None:
            self.said.append(share)

        body = Download(store="store-1", image=image, url=url, format="RAW")
        got = await self.role.run_task("t", msgspec.structs.replace(body, **changes), progress)
        assert isinstance(got, Downloaded)
        return got

    def left(self) -> set[str]:
        """Every file in the store."""
        return {str(place.relative_to(self.store)) for place in self.store.rglob("*") if place.is_file()}


def raw(size: int) -> bytes:
    """A RAW disk that looks like nothing else."""
    return b"\xfa\x31" + noise(size - 2)


@contextlib.asynccontextmanager
async def stage(folder: Path, **options: object) -> AsyncIterator[Stage]:
    store, state = folder / "store", folder / "sysvm/state"
    store.mkdir()
    state.mkdir(parents=True)
    mounted = {str(store)}
    source = Source()
    await source.start()
    context = Context(boot_data(), Paths(folder), SystemClock(), Seal("key"), Line())
    role = SecStorageRole(context, mounts=lambda: mounted, patience=QUICK, **options)  # type: ignore[arg-type]
    async with Tasks() as tasks:
        await role.start(tasks)
        try:
            yield Stage(role, source, store, trustme.CA(), mounted=mounted)
        finally:
            await role.stop()
            source.stop()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
