"""The agent's program itself, as a console proxy: the host applies a document, a browser comes, the server hears of it."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import AgentReport, Apply, ConsoleTarget
from sysvm.wire.documents import ConsoleProxyDocument
from sysvm.wire.peer import Peer
from tests.agent_console.console_stage import PATIENCE, Authority, Relay, Server, boot_data, echo_screen, pem


async def test_the_program_serves_a_console_and_again_after_a_restart_without_its_host(tmp_path: Path) -> None:
    place = tmp_path / "sysvm"
    for folder in ("boot", "host", "state"):
        (place / folder).mkdir(parents=True)
    # No NICs: the test's machine keeps its own.
    boot = msgspec.structs.replace(boot_data(), nics=())
    (place / "boot/boot.json").write_bytes(msgspec.json.encode(boot))
    authority, server = Authority(), Server()
    relay = Relay(authority)
    await relay.start()
    relay.screens["g"] = echo_screen()
    document = ConsoleProxyDocument(
        machine="m", name="v-1-VM", listen="127.0.0.1", page_port=free_port(), websocket_port=free_port(),
        relay_ca=authority.ca_text(), relay_certificate=pem(authority.cloud.issue_cert("proxy")),
    )  # fmt: skip
    server.targets["t"] = ConsoleTarget(
        session="s", guest="g", name="n", kind="text", relay_host="127.0.0.1", relay_port=relay.port, grant="g"
    )
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    async with Tasks() as tasks:

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer, serve=server.serve, hear=server.hear)
            peers.put_nowait(peer)
            await peer.run(tasks)

        host = await asyncio.start_unix_server(met, place / "host/host.sock")
        agent = await start(tmp_path)
        peer = await asyncio.wait_for(peers.get(), PATIENCE)
        report = await peer.call(Apply(document), AgentReport)
        assert (report.live, report.faults) == (digest(document), ())
        async with aiohttp.ClientSession() as web:
            socket = await web.ws_connect(f"ws://127.0.0.1:{document.websocket_port}/websockify?token=t")
            await socket.send_bytes(b"hello")
            assert await socket.receive_bytes() == b"hello"
            await server.report_where(lambda report: [s.session for s in report.sessions] == ["s"])
        host.close()
        agent.kill()
        await agent.wait()
        (place / "host/host.sock").unlink(missing_ok=True)
        agent = await start(tmp_path)
        assert await page_of(document) == 200, "the sealed document is enough, without host and server"
        agent.terminate()
        assert await agent.wait() == 0
        relay.stop()
        tasks.stop()


async def start(root: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "unshare", "--map-root-user", "--uts", sys.executable, "-m", "sysvm.agent.main", "--root", str(root)
    )


async def page_of(document: ConsoleProxyDocument) -> int:
    url = f"http://127.0.0.1:{document.page_port}/resource/noVNC/vnc.html"
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as web:
        while True:
            try:
                async with web.get(url) as answer:
                    return answer.status
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
