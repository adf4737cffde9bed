"""The console relay as a process: who gets to a screen, who does not, and what it survives."""

import asyncio
import os
import signal

import pytest
import pytest_asyncio
import trustme

from sysvm.basics.clock import SystemClock
from sysvm.hosts.driver import TextCommand
from sysvm.hosts.relay.files import RelayFiles
from sysvm.hosts.relay.process import ensure_relay, ensure_relay_process, stop_relay
from sysvm.hosts.relay.session import No, serve
from sysvm.hosts.relay.targets import UnixSocket
from sysvm.wire.grants import Grant, new_grant_key, sign_grant
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm.stage import KvmStage, kvm
from tests.hosts_kvm.visitor import Cloud

BANNER = b"RFB 003.008\n"
GRANT = Grant(guest="g", machine="m", kind="text", session="s", expires=0)


class Scene:
    """A host with a relay and one running machine."""

    def __init__(self, stage: KvmStage) -> None:
        self.stage = stage
        self.layout = stage.layout
        self.files = RelayFiles(stage.layout)
        self.cloud = Cloud(stage.layout)
        self.machine = stage.spec(20).machine

    async def begin(self) -> None:
        self.cloud.certify_host()
        for _ in range(2):
            await ensure_relay(self.layout, self.cloud.document)
        await self.stage.driver.ensure_running(self.stage.spec(20))
        await self.cloud.wait_for_relay()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory):
    """One for all: each test shows grants of its own."""
    if not ground.is_root():
        pytest.skip("needs root")
    async with kvm(tmp_path_factory.mktemp("relay")) as stage:
        made = Scene(stage)
        await made.begin()
        yield made


pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]


async def test_a_grant_opens_the_screen_once(scene: Scene):
    grant = scene.cloud.grant(scene.machine, session="once")
    answer, reader, writer = await scene.cloud.show(grant)
    assert (answer, await reader.readexactly(len(BANNER))) == ("OK", BANNER)
    writer.close()
    assert await scene.cloud.answer(grant) == "NO the grant is refused: it has been used already"


async def test_several_sessions_see_one_screen(scene: Scene):
    shown = [await scene.cloud.show(scene.cloud.grant(scene.machine, session=f"many-{n}")) for n in range(3)]
    assert [(answer, await reader.readexactly(len(BANNER))) for answer, reader, _ in shown] == [("OK", BANNER)] * 3
    for _, _, writer in shown:
        writer.close()


async def test_the_serial_line_is_a_text_console(scene: Scene):
    assert await scene.cloud.answer(scene.cloud.grant(scene.machine, kind="text")) == "OK"


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("has expired", lambda scene: scene.cloud.grant(scene.machine, seconds=-1)),
        ("live too long", lambda scene: scene.cloud.grant(scene.machine, seconds=10_000)),
        ("signature", lambda scene: sign_grant(new_grant_key(), GRANT)),
        ("not a grant", lambda scene: "GET / HTTP/1.1"),
        ("not a grant", lambda scene: ""),
    ],
)  # fmt: skip
async def test_no_screen_for(scene: Scene, why, make):
    answer = await scene.cloud.answer(make(scene))
    assert (answer[:3], why in answer) == ("NO ", True), answer


@pytest.mark.parametrize("machine", ["another", "../machines/{}"])
async def test_a_machine_that_is_not_here_may_be_elsewhere(scene: Scene, machine: str):
    """It moved after the server signed the grant, or comes: who asks the server again is led to it."""
    answer = await scene.cloud.answer(scene.cloud.grant(machine.format(scene.machine)))
    assert answer == "WAIT the machine has no vnc console on this host"


async def test_a_line_without_end_is_cut_off(scene: Scene):
    reader, writer = await scene.cloud.connect()
    writer.write(b"x" * 300_000)
    assert await reader.readline() == b"NO that is no grant\n"
    writer.close()


async def test_a_stranger_s_certificate_is_not_heard(scene: Scene):
    reader, writer = await scene.cloud.connect(scene.cloud.context(trustme.CA()))
    with pytest.raises(OSError):
        writer.write(f"{scene.cloud.grant(scene.machine, session='stranger')}\n".encode())
        assert await reader.readline() == b""
        raise ConnectionResetError
    writer.close()
    assert await scene.cloud.answer(scene.cloud.grant(scene.machine, session="stranger")) == "OK"


async def test_a_stopped_machine_has_no_screen(scene: Scene):
    spec = scene.stage.spec(21)
    await scene.stage.driver.ensure_created(spec)
    assert await scene.cloud.answer(scene.cloud.grant(spec.machine)) == "WAIT the machine is not running"


async def test_a_renewed_certificate_is_shown_and_drops_nobody(scene: Scene):
    _, old, old_writer = await scene.cloud.show(scene.cloud.grant(scene.machine, session="before"))
    await old.readexactly(len(BANNER))
    serial = scene.cloud.certify_host()
    _, writer = await scene.cloud.connect()
    assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True).hex() == serial
    old_writer.write(BANNER)
    assert await old.readexactly(2) == b"\x01\x01"  # the screen goes on: one kind of security, none
    writer.close()
    old_writer.close()


async def test_a_killed_relay_comes_back_and_remembers_what_was_used(scene: Scene):
    grant = scene.cloud.grant(scene.machine, session="killed")
    assert await scene.cloud.answer(grant) == "OK"
    before = scene.files.holder()
    os.kill(before, signal.SIGKILL)
    async for _ in until(SystemClock(), "the relay is dead"):
        if scene.files.holder() is None:
            break
    for _ in range(2):
        await ensure_relay_process(scene.layout)
    await scene.cloud.wait_for_relay()
    assert scene.files.holder() not in (before, None)
    assert await scene.cloud.answer(grant) == "NO the grant is refused: it has been used already"


async def test_a_relay_whose_settings_are_gone_ends_by_itself(scene: Scene):
    scene.files.settings.unlink()
    async for _ in until(SystemClock(), "the relay has ended"):
        if scene.files.holder() is None:
            break
    await ensure_relay(scene.layout, scene.cloud.document)
    await scene.cloud.wait_for_relay()


async def test_it_stops_twice_and_does_not_come_back_by_itself(scene: Scene):
    for _ in range(2):
        await stop_relay(scene.layout)
        assert scene.files.holder() is None
    await ensure_relay_process(scene.layout)
    assert scene.files.holder() is None
    await ensure_relay(scene.layout, scene.cloud.document)
    await scene.cloud.wait_for_relay()


# ---------------------------------------------------------------- one session, without the process
async def visit(find, talk) -> object:
    """Serves one visitor over a socket pair; what `talk(reader, writer)` of the visitor returns."""
    ended = asyncio.get_running_loop().create_future()

    async def served(reader, writer) -> None:
        try:
            ended.set_result(await serve((reader, writer), lambda text: GRANT, find))
        except No as no:
            ended.set_result(no)
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=1024)
    writer.write(b"grant\n")
    try:
        assert await reader.readline() == b"OK\n"
        return await talk(reader, writer)
    finally:
        writer.close()
        await ended
        server.close()


async def test_a_text_command_gets_a_terminal_and_ends_with_its_visitor():
    async def talk(reader, writer) -> tuple[bytes, int]:
        shown = await reader.readuntil(b"ready")
        pid = int(shown.split()[1])
        writer.write(b"hello\n")
        return await reader.readuntil(b"got hello"), pid

    script = "echo pid $$; tty >/dev/null && echo ready; read line; echo got $line; exec sleep 1000"
    said, pid = await visit(lambda _: TextCommand(("sh", "-c", script)), talk)
    assert said.endswith(b"got hello")
    async for _ in until(SystemClock(), "the command has ended with its visitor"):
        if not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
            return


async def test_a_visitor_who_does_not_read_stops_the_screen(tmp_path):
    written = 0

    async def flood(reader, writer) -> None:
        nonlocal written
        try:
            while True:
                writer.write(b"x" * 65536)
                written += 65536
                await writer.drain()
        except OSError:
            writer.close()

    async def talk(reader, writer) -> None:
        before, quiet = -1, 0
        async for _ in until(SystemClock(), "the screen waits"):
            quiet = quiet + 1 if written == before else 0
            before = written
            if quiet == 20:
                return

    screen = await asyncio.start_unix_server(flood, tmp_path / "s")
    await visit(lambda _: UnixSocket(tmp_path / "s"), talk)
    screen.close()
    assert written < 32 * 1024 * 1024
