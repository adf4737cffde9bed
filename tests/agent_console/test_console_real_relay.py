"""The proxy against the hosts' own relay: the two ends of the contract meet."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.tasks import Tasks
from sysvm.hosts.layout import Layout
from sysvm.hosts.relay.files import RelayFiles, Settings
from sysvm.hosts.relay.listener import Relay
from sysvm.wire.grants import Grant, new_grant_key, public_grant_key, sign_grant
from tests.agent_console.console_stage import PATIENCE, Stage, closing, echoes, open_console, stage


def certify(layout: Layout, proxy: Stage) -> None:
    leaf = proxy.authority.cloud.issue_cert("host-1")
    layout.tls.mkdir(parents=True)
    (layout.tls / "ca.pem").write_bytes(proxy.authority.cloud.cert_pem.bytes())
    (layout.tls / "key.pem").write_bytes(leaf.private_key_pem.bytes())
    (layout.tls / "cert.pem").write_bytes(leaf.cert_chain_pems[0].bytes())


async def screen(layout: Layout, machine: str) -> asyncio.Server:
    """A running VM, as far as the relay looks: its spec, and something that speaks on its VNC socket."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    layout.spec(machine, 1).parent.mkdir(parents=True)
    layout.spec(machine, 1).write_text('{"runtime": "vm"}')
    socket = layout.channel(machine, 1) / "vnc.sock"
    socket.parent.mkdir(parents=True, exist_ok=True)
    return await asyncio.start_unix_server(echo, socket)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    there = Layout(tmp_path / "host")
    try:
        yield there
    finally:
        shutil.rmtree(there.run, ignore_errors=True)


@pytest.mark.root
async def test_the_hosts_relay_takes_our_grant_once_and_carries_the_bytes(tmp_path: Path, layout: Layout) -> None:
    key, machine = new_grant_key(), "6a2e6c1e-8a4b-4b6e-9c55-2f1b3a0c9d10"
    async with stage(tmp_path) as proxy, Tasks() as tasks:
        certify(layout, proxy)
        served = await screen(layout, machine)
        files = RelayFiles(layout)
        files.folder.mkdir(parents=True)
        port = proxy.relay.port
        proxy.relay.stop()  # its place is taken by the real one
        files.write(Settings("127.0.0.1", port, public_grant_key(key)))
        tasks.start(Relay(layout, SystemClock(), namespace=None).run(), "relay")
        grant = sign_grant(key, Grant(guest="g", machine=machine, kind="vnc", session="s", expires=time.time() + 60))
        await proxy.role.apply(proxy.document())
        async with aiohttp.ClientSession() as web:
            await listening(port)
            proxy.ticket("real", None, grant=grant)
            socket = await open_console(web, proxy, "real")
            assert await echoes(socket, b"RFB 003.008\n" + bytes(300_000))
            proxy.ticket("again", None, grant=grant)
            _, reason = await closing(await open_console(web, proxy, "again"))
            assert reason == "the host's relay refused: the grant is refused: it has been used already"
            await socket.close()
        served.close()
        tasks.stop()


async def listening(port: int) -> None:
    """Returns once somebody listens there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
