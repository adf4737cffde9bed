"""`ssvm-check` in the machine itself: the real agent, the real program, and each thing that can be wrong, wrong once."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import trustme
from storage_stage import PATIENCE, boot_data

from sysvm.basics.errors import NotYet
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import AgentReport, Apply, ReachServer, ServerReached
from sysvm.wire.documents import Certificate, SecStorageDocument, Store
from sysvm.wire.peer import Peer

pytestmark = pytest.mark.root
PROGRAM = """
import pathlib, sys
from sysvm.agent.roles.secstorage.checking import main
sys.exit(main(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A machine's paths; the store and the state disk are file systems of their own."""
    for folder in ("boot", "host", "state", "store/store-1"):
        (tmp_path / "sysvm" / folder).mkdir(parents=True)
    (tmp_path / "sysvm/boot/boot.json").write_bytes(msgspec.json.encode(boot_data()))
    mounted = (("sysvm/store/store-1", "600m"), ("sysvm/state", "16m"))
    for place, size in mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "sysvm-test", tmp_path / place], check=True)
    try:
        yield tmp_path
    finally:
        for place, _ in mounted:
            subprocess.run(["umount", "-l", tmp_path / place], check=False, capture_output=True)


class Name(asyncio.DatagramProtocol):
    """A name server that says something, or nothing."""

    deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.deaf:
            self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class World:
    """The machine, and everything around it that can fail."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = Name()
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.server_answers, self.clock_ahead = True, 0.0
        self.agent: asyncio.subprocess.Process | None = None

    async def serve(self, body: msgspec.Raw) -> msgspec.Struct:
        assert msgspec.msgpack.decode(body, type=ReachServer) is not None
        if not self.server_answers:
            raise NotYet(1, "no server is linked")
        return ServerReached(now=time.time() + self.clock_ahead)

    async def hear(self, body: msgspec.Raw) -> None:
        return

    async def start(self, tasks: Tasks) -> None:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer, serve=self.serve, hear=self.hear)
            self.peers.put_nowait(peer)
            await peer.run(tasks)

        await asyncio.start_unix_server(met, self.root / "sysvm/host/host.sock")
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.names, ("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        await self.start_agent()

    async def start_agent(self) -> None:
        self.agent = await asyncio.create_subprocess_exec(
            "unshare", "--uts", sys.executable, "-m", "sysvm.agent.main", "--root", str(self.root)
        )
        peer = await asyncio.wait_for(self.peers.get(), PATIENCE)
        report = await peer.call(Apply(self.document()), AgentReport)
        assert report.faults == ()

    def document(self) -> SecStorageDocument:
        leaf = trustme.CA().issue_cert("127.0.0.11")
        chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
        store = Store(store="store-1", path=str(self.root / "sysvm/store/store-1"))
        return SecStorageDocument(
            machine="m", name="s", stores=(store,), dns=(f"127.0.0.1@{self.port}",), management_address="127.0.0.11",
            serve_port=0, certificate=Certificate(chain=chain, key=leaf.private_key_pem.bytes().decode()),
        )  # fmt: skip

    async def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        await self.agent.wait()

    async def check(self) -> tuple[int | None, list[str]]:
        """The exit code of the program, and what it complains about."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(self.root), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(child.communicate(), PATIENCE)
        lines = said.decode().splitlines()
        assert {line.split(": ")[1] for line in lines} == {"DNS", "store", "server", "agent", "disk", "clock"}
        return child.returncode, [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]


def remounted(store: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", store], check=True)


@contextlib.asynccontextmanager
async def wrong(world: World, what: str) -> AsyncIterator[None]:
    """One thing is wrong, and right again."""
    store, filler = world.root / "sysvm/store/store-1", world.root / "sysvm/state/filler"
    match what:
        case "DNS":
            world.names.deaf = True
            yield
            world.names.deaf = False
        case "store":
            remounted(store, "ro")
            yield
            remounted(store, "rw")
        case "server":
            world.server_answers = False
            yield
            world.server_answers = True
        case "disk":
            filler.write_bytes(b"\0" * (12 << 20))
            yield
            filler.unlink()
        case "clock":
            world.clock_ahead = 3600.0
            yield
            world.clock_ahead = 0.0


SENTENCES = {
    "DNS": "DNS: name server 127.0.0.1@{port} does not answer",
    "store": "store: {store} is mounted read-only: mount it for writing, or mark the store read-only",
    "server": "server: the host answers, but no management server does: no server is linked",
    "disk": "disk: the state disk has only 3 MB left",
    "clock": "clock: the clock is -3600 s away from the management server's",
}


async def test_each_thing_that_is_wrong_is_named_alone(root: Path) -> None:
    """Nothing is wrong; then each in turn; at last the agent itself is dead, which the program finds out by itself."""
    world = World(root)
    async with Tasks() as tasks:
        await world.start(tasks)
        assert await world.check() == (0, [])
        for what, sentence in SENTENCES.items():
            async with wrong(world, what):
                found = await world.check()
            text = sentence.format(port=world.port, store=root / "sysvm/store/store-1")
            assert found == (1, [text]), what
        assert await world.check() == (0, [])
        await world.kill_agent()
        code, complaints = await world.check()
        assert [line.split(": ")[0] for line in complaints] == ["server", "agent"]
        assert code == 1 and "the agent does not answer" in complaints[1]
        await world.start_agent()
        assert await world.check() == (0, [])
        assert world.agent is not None
        world.agent.terminate()
        await world.agent.wait()
        tasks.stop()
