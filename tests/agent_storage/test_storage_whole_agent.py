"""The agent's program itself, as a secondary storage VM: killed in the middle of a download, it goes on by itself."""

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from storage_stage import PATIENCE, Exchange, Source, boot_data, partial, raw

from sysvm.agent.roles.secstorage.incoming import SYNC_EVERY
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import (
    AgentNoticeBody,
    AgentReport,
    Apply,
    CheckSelf,
    Diagnosed,
    Download,
    Downloaded,
    ReachServer,
    RunTask,
    ServerReached,
    TaskReport,
)
from sysvm.wire.documents import SecStorageDocument, Store
from sysvm.wire.machines import OperationSeen, OperationState
from sysvm.wire.peer import Peer

pytestmark = pytest.mark.root
DATA = raw(SYNC_EVERY * 6)


class Host:
    """The host's end of the channel."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.tasks: asyncio.Queue[OperationSeen] = asyncio.Queue()

    async def listen(self, place: Path, tasks: Tasks) -> None:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer, serve=self.serve, hear=self.hear)
            self.peers.put_nowait(peer)
            await peer.run(tasks)

        await asyncio.start_unix_server(met, place)

    async def serve(self, body: msgspec.Raw) -> msgspec.Struct:
        assert msgspec.msgpack.decode(body, type=ReachServer) is not None, "it asks nothing else"
        return ServerReached(now=time.time())

    async def hear(self, body: msgspec.Raw) -> None:
        notice = msgspec.msgpack.decode(body, type=AgentNoticeBody)
        if isinstance(notice, TaskReport):
            self.tasks.put_nowait(notice.task)

    async def outcome(self, name: str) -> OperationSeen:
        async with asyncio.timeout(PATIENCE):
            while True:
                task = await self.tasks.get()
                if task.name == name and task.state is not OperationState.RUNNING:
                    return task


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    for folder in ("boot", "host", "state", "store/store-1"):
        (tmp_path / "sysvm" / folder).mkdir(parents=True)
    (tmp_path / "sysvm/boot/boot.json").write_bytes(msgspec.json.encode(boot_data()))
    mounted = tmp_path / "sysvm/store/store-1"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "sysvm-test", mounted], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


async def start(root: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("unshare", "--uts", sys.executable, "-m", "sysvm.agent.main", "--root", str(root))


async def test_a_killed_agent_takes_its_download_up_again_unasked(root: Path) -> None:
    source, host, reached, stop = Source(), Host(), asyncio.Event(), asyncio.Event()
    await source.start()

    async def answer(ask: Exchange) -> None:
        if ask.start is None:
            await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=DATA[: SYNC_EVERY * 4])
            reached.set()
            await stop.wait()
        else:
            await partial(ask, DATA, ask.start, len(DATA))

    url = source.serve("/a", answer)
    stores = (Store(store="store-1", path=str(root / "sysvm/store/store-1")),)
    document = SecStorageDocument(machine="m", name="s", stores=stores, allowed_internal=("127.0.0.0/8",))
    body = Download(store="store-1", image="image-1", url=url, format="RAW")
    async with Tasks() as tasks:
        await host.listen(root / "sysvm/host/host.sock", tasks)
        agent = await start(root)
        peer = await asyncio.wait_for(host.peers.get(), PATIENCE)
        report = await peer.call(Apply(document), AgentReport)
        assert [fault.service for fault in report.faults] == ["images"], "no certificate came; all else works"
        await peer.call(RunTask(name="get", body=body), OperationSeen)
        await asyncio.wait_for(reached.wait(), PATIENCE)
        agent.kill()
        await agent.wait()
        agent = await start(root)
        done = await host.outcome("get")
        assert done.result is not None, done.error
        got = msgspec.msgpack.decode(done.result, type=Downloaded)
        assert (got.sha256, got.size) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
        peer = await asyncio.wait_for(host.peers.get(), PATIENCE)
        await peer.call(RunTask(name="check", body=CheckSelf()), OperationSeen)
        checked = await host.outcome("check")
        assert checked.result is not None
        said = msgspec.msgpack.decode(checked.result, type=Diagnosed).stdout
        assert f"Good: store: {root / 'sysvm/store/store-1'} is mounted and writable" in said
        assert "Good: server" in said
        agent.terminate()
        await agent.wait()
        stop.set()
        source.stop()
        tasks.stop()
