"""What stands around a console proxy that is measured: the agent's program in a process of its own, a server that redeems
tickets, a host's relay, and the peers that do the same work (websockify, HAProxy)."""

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import AgentReport, Apply, ConsoleTarget
from sysvm.wire.documents import Certificate, ConsoleProxyDocument
from sysvm.wire.peer import Peer
from tests.agent_console.console_stage import Authority, Relay, Screen, Server, boot_data, pem

LOCAL = "127.0.0.1"


@dataclass
class World:
    """One server and one host for all proxies of a benchmark."""

    authority: Authority
    server: Server
    relay: Relay
    certificate: Certificate

    def ticket(self, name: str, screen: Screen, kind: str = "text") -> str:
        """A ticket that leads to `screen`."""
        self.relay.screens[f"grant-{name}"] = screen
        self.server.targets[name] = ConsoleTarget(
            session=f"session-{name}", guest="g", name="n", kind=kind, relay_host=LOCAL, relay_port=self.relay.port,
            grant=f"grant-{name}",
        )  # fmt: skip
        return name

    def trusting(self) -> ssl.SSLContext:
        """What a browser of ours trusts."""
        context = ssl.create_default_context()
        self.authority.public.configure_trust(context)
        return context


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A server and a host's relay."""
    authority = Authority()
    relay = Relay(authority)
    await relay.start()
    try:
        yield World(authority, Server(), relay, authority.for_browsers())
    finally:
        relay.stop()


@dataclass
class Proxy:
    """The agent's program as a console proxy."""

    process: asyncio.subprocess.Process
    peer: Peer
    document: ConsoleProxyDocument

    async def apply(self, **changes: object) -> None:
        """Another document; raises when it is not live."""
        self.document = msgspec.structs.replace(self.document, **changes)
        report = await self.peer.call(Apply(self.document), AgentReport)
        assert report.live and not report.faults, report.faults

    @property
    def pid(self) -> int:
        """Of the program, which takes the place of what started it."""
        return self.process.pid

    @property
    def place(self) -> str:
        """Host and port of its websockets."""
        return f"{LOCAL}:{self.document.websocket_port}"

    def websocket(self, ticket: str = "") -> str:
        """Where a page connects to; with the ticket for a program that speaks no control frames."""
        scheme = "wss" if self.document.certificate else "ws"
        return f"{scheme}://{self.place}/websockify" + (f"?token={ticket}" if ticket else "")


@contextlib.asynccontextmanager
async def proxy(around: World, **changes: object) -> AsyncIterator[Proxy]:
    """A proxy that serves."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        root = Path(folder)
        for name in ("boot", "host", "state"):
            (root / "sysvm" / name).mkdir(parents=True)
        boot = msgspec.structs.replace(boot_data(), nics=())
        (root / "sysvm/boot/boot.json").write_bytes(msgspec.json.encode(boot))
        async with Tasks() as tasks:
            peers: asyncio.Queue[Peer] = asyncio.Queue()

            async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = Peer(reader, writer, serve=around.server.serve, hear=around.server.hear)
                peers.put_nowait(peer)
                await peer.run(tasks)

            host = await asyncio.start_unix_server(met, root / "sysvm/host/host.sock")
            process = await asyncio.create_subprocess_exec(
                "unshare", "--map-root-user", "--uts", sys.executable, "-m", "sysvm.agent.main", "--root", str(root),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                made = Proxy(process, await peers.get(), _document(around))
                await made.apply(**changes)
                yield made
            finally:
                host.close()
                await _end(process)
                tasks.stop()


def _document(around: World) -> ConsoleProxyDocument:
    return ConsoleProxyDocument(
        machine="m", name="v-1-VM", listen=LOCAL, page_port=free_port(), websocket_port=free_port(), idle_s=0,
        max_sessions=2000, relay_ca=around.authority.ca_text(),
        relay_certificate=pem(around.authority.cloud.issue_cert("proxy")),
    )  # fmt: skip


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def free_port() -> int:
    """Of this machine, at this moment."""
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- peers
@contextlib.asynccontextmanager
async def websockify(folder: Path, target: int, *, tls: bool) -> AsyncIterator[tuple[int, int]]:
    """Its pid and port, in front of a TLS server at `target`."""
    port = free_port()
    words = [sys.executable, "-m", "websockify", "--ssl-target"]
    words += [f"--cert={folder / 'site.pem'}", "--ssl-only"] if tls else []
    trusting = {
        **os.environ,
        "SSL_CERT_FILE": str(folder / "ca.pem"),
    }  # it checks its target, and has no word for whom to trust
    async with _running(*words, f"{LOCAL}:{port}", f"{LOCAL}:{target}", port=port, env=trusting) as pid:
        yield pid, port


@contextlib.asynccontextmanager
async def haproxy(folder: Path, target: int, *, tls: bool) -> AsyncIterator[tuple[int, int]]:
    """The same for HAProxy, which passes bytes and knows nothing of websockets."""
    port = free_port()
    shown = f" ssl crt {folder / 'site.pem'}" if tls else ""
    (folder / "haproxy.cfg").write_text(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
        f"listen bench\n bind {LOCAL}:{port}{shown}\n server target {LOCAL}:{target} ssl verify none\n"
    )
    async with _running("haproxy", "-q", "-db", "-f", str(folder / "haproxy.cfg"), port=port) as pid:
        yield pid, port


@contextlib.asynccontextmanager
async def _running(*words: str, port: int, env: dict[str, str] | None = None) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=env
    )
    try:
        while process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(LOCAL, port)
                writer.close()
                break
        yield process.pid
    finally:
        await _end(process)
