"""Console bytes arrive as they were sent, both ways, whoever is slow; tickets, limits and certificates do what they say."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Callable

import aiohttp
import pytest
from yarl import URL

from sysvm.agent.roles.consoleproxy import control
from tests.agent_console.console_stage import PATIENCE, Authority, Stage, closing, echo_screen, echoes, open_console

DOWN, UP = 40 * 1024 * 1024, 3 * 1024 * 1024
PIECE = 64 * 1024


def noise(size: int) -> bytes:
    """Bytes in which every displacement shows."""
    blocks = (hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(size // 32))
    return b"".join(blocks)


NOISE = noise(1024 * 1024 + 32 * 7)  # its length divides neither total


def flow(size: int) -> bytes:
    return (NOISE * (size // len(NOISE) + 1))[:size]


class Bulk:
    """A screen that sends `DOWN` bytes and takes `UP` bytes at the same time."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.done = asyncio.Event()
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            data = flow(DOWN)
            for at in range(0, DOWN, PIECE):
                writer.write(data[at : at + PIECE])
                await writer.drain()
                self.sent += PIECE

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            while len(self.got) < UP:
                self.got += await reader.readexactly(min(PIECE, UP - len(self.got)))
            self.done.set()


async def deaf_browser(stage: Stage, ticket: str) -> asyncio.StreamWriter:
    """A browser that opens a console and never reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.role.ports["websocket"], limit=4096)
    writer.write(
        b"GET /websockify?token=%b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % ticket.encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return writer


async def standstill(value: Callable[[], int]) -> None:
    """Returns once the value has not moved for a second's worth of looks."""
    before, same = -1, 0
    while same < 20:
        before, same = value(), same + 1 if value() == before else 0
        await asyncio.sleep(0.05)


def browser(stage: Stage) -> ssl.SSLContext:
    context = ssl.create_default_context()
    stage.authority.public.configure_trust(context)
    return context


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_forty_megabytes_down_and_three_up_arrive_byte_for_byte(proxy: Stage, tls: bool) -> None:
    """The browser reads slowly, in the order in which things come, while it sends."""
    certificate = proxy.authority.for_browsers() if tls else None
    assert await proxy.role.apply(proxy.document(certificate=certificate)) == ()
    bulk = Bulk()
    proxy.ticket("bulk", bulk.serve)
    options = {"ssl": browser(proxy)} if tls else {}
    async with aiohttp.ClientSession() as web, asyncio.timeout(PATIENCE * 3):
        socket = await open_console(web, proxy, "bulk", **options)
        up = flow(UP)
        got = hashlib.sha256()
        taken = 0
        for at in range(0, UP, 48 * 1024):
            await socket.send_bytes(up[at : at + 48 * 1024])
            data = await socket.receive_bytes()
            got.update(data)
            taken += len(data)
        while taken < DOWN:
            data = await socket.receive_bytes()
            got.update(data)
            taken += len(data)
        await bulk.done.wait()
    assert (DOWN, hashlib.sha256(flow(DOWN)).hexdigest()) == (taken, got.hexdigest())
    assert up == bytes(bulk.got)


async def test_a_browser_that_does_not_read_stops_the_screen_instead_of_filling_memory(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    bulk, stalled = Bulk(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sending = asyncio.get_running_loop().create_task(bulk.serve(reader, writer))
        await standstill(lambda: bulk.sent)
        stalled.set()
        sending.cancel()

    proxy.ticket("stalled", serve)
    writer = await deaf_browser(proxy, "stalled")
    async with asyncio.timeout(PATIENCE):
        await stalled.wait()
    assert bulk.sent < DOWN / 2, "what the browser does not read is not sent by the screen"
    writer.close()


async def test_a_ticket_works_once_and_an_unknown_one_never(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    proxy.ticket("once", echo_screen())
    async with aiohttp.ClientSession() as web:
        first = await open_console(web, proxy, "once")
        assert await echoes(first, b"RFB hello")
        expected = (control.TICKET, "this ticket is not known or was used")
        assert expected == await closing(await open_console(web, proxy, "once"))
        assert expected == await closing(await open_console(web, proxy, "guessed"))
    assert proxy.server.asked[0].client == "127.0.0.1"


async def test_a_refused_grant_is_said_in_words(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    proxy.ticket("denied", None)
    async with aiohttp.ClientSession() as web:
        got = await closing(await open_console(web, proxy, "denied"))
    assert got == (control.TICKET, "the host's relay refused: this grant is not known")


async def test_a_relay_of_another_cloud_is_not_spoken_to(proxy: Stage) -> None:
    other = Authority()
    await proxy.role.apply(proxy.document(relay_ca=other.ca_text()))
    proxy.ticket("foreign", echo_screen())
    async with aiohttp.ClientSession() as web:
        code, reason = await closing(await open_console(web, proxy, "foreign"))
    assert code == control.ASLEEP
    assert "cannot be reached" in reason


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 101),
        ({"Origin": "https://cloud.example"}, 101),
        ({}, 101),
    ],
)
async def test_only_our_own_pages_open_consoles(proxy: Stage, headers: dict[str, str], status: int) -> None:
    await proxy.role.apply(proxy.document(origins=("cloud.example",)))
    proxy.ticket("o", echo_screen())
    async with aiohttp.ClientSession() as web:
        try:
            await open_console(web, proxy, "o", headers=headers)
            got = 101
        except aiohttp.WSServerHandshakeError as error:
            got = error.status
    assert status == got


async def test_a_page_that_speaks_control_frames_shows_its_ticket_in_the_first_one(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    proxy.ticket("page", echo_screen(), view_only=False)
    async with aiohttp.ClientSession() as web:
        socket = await web.ws_connect(f"ws{proxy.websocket}", protocols=(control.SUBPROTOCOL, "binary"))
        assert socket.protocol == control.SUBPROTOCOL
        await socket.send_str(json.dumps({"say": "open", "ticket": "page", "later": 1}))
        opened = json.loads(await socket.receive_str())
        assert opened == {
            "say": "opened", "kind": "vnc", "name": "web1", "session": "session-page", "view_only": False,
            "resume": "secret-1", "proxies": [], "beat_ms": 500,
        }  # fmt: skip
        assert await echoes(socket, b"RFB")
        await socket.send_str(json.dumps({"say": "beat", "n": 7, "round_trip_ms": 12.5}))
        assert json.loads(await socket.receive_str()) == {"say": "beat", "n": 7, "round_trip_ms": None}
        await socket.send_str("no beat at all")
        assert await echoes(socket, b"RFB again"), "what is no beat is passed over"
        await proxy.role.apply(proxy.document(load_interval_ms=1))
        await proxy.server.report_where(lambda report: [s.round_trip_ms for s in report.sessions] == [12.5])


async def test_a_session_comes_back_on_a_second_websocket_and_the_first_one_is_ended(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document(max_sessions=1))
    proxy.ticket("page", echo_screen())
    async with aiohttp.ClientSession() as web:
        first = await web.ws_connect(f"ws{proxy.websocket}", protocols=(control.SUBPROTOCOL,))
        await first.send_str(json.dumps({"say": "open", "ticket": "page"}))
        secret = json.loads(await first.receive_str())["resume"]
        second = await web.ws_connect(f"ws{proxy.websocket}", protocols=(control.SUBPROTOCOL,))
        await second.send_str(json.dumps({"say": "resume", "secret": secret}))
        greeting = json.loads(await second.receive_str())
        assert greeting["session"] == "session-page"
        assert (await closing(first))[0] == control.REPLACED
        assert await echoes(second, b"here again")
        third = await web.ws_connect(f"ws{proxy.websocket}", protocols=(control.SUBPROTOCOL,))
        await third.send_str(json.dumps({"say": "resume", "secret": greeting["resume"]}))
        assert json.loads(await third.receive_str())["session"] == "session-page"
        late = await web.ws_connect(f"ws{proxy.websocket}", protocols=(control.SUBPROTOCOL,))
        await late.send_str(json.dumps({"say": "resume", "secret": secret}))
        assert (await closing(late))[0] == control.TICKET, "a secret works until the one after it was used"


async def test_a_certificate_changes_for_the_next_handshake_while_a_session_stays_open(proxy: Stage) -> None:
    first, second = proxy.authority.for_browsers(), proxy.authority.for_browsers()
    await proxy.role.apply(proxy.document(certificate=first, websocket_port=0))
    proxy.ticket("long", echo_screen())
    port = proxy.role.ports["websocket"]
    async with aiohttp.ClientSession() as web:
        socket = await open_console(web, proxy, "long", ssl=browser(proxy))
        assert await shown(port) == ssl.PEM_cert_to_DER_cert(first.chain)
        assert await proxy.role.apply(proxy.document(certificate=second)) == ()
        assert port == proxy.role.ports["websocket"]
        assert await shown(port) == ssl.PEM_cert_to_DER_cert(second.chain)
        assert await echoes(socket, b"still here")


async def test_a_certificate_that_does_not_fit_its_key_is_a_fault_and_the_last_good_one_stays(proxy: Stage) -> None:
    good, other = proxy.authority.for_browsers(), proxy.authority.for_browsers()
    await proxy.role.apply(proxy.document(certificate=good))
    mixed = type(good)(chain=other.chain, key=good.key)
    faults = await proxy.role.apply(proxy.document(certificate=mixed))
    assert [fault.service for fault in faults] == ["certificate"]
    assert await proxy.role.live() == ""
    assert await shown(proxy.role.ports["websocket"]) == ssl.PEM_cert_to_DER_cert(good.chain)


async def shown(port: int) -> bytes:
    """The certificate that a browser meets now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return der


async def test_sessions_are_reported_at_once_and_so_is_their_end(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    proxy.ticket("seen", echo_screen())
    async with aiohttp.ClientSession() as web:
        socket = await open_console(web, proxy, "seen")
        report = await proxy.server.report_where(lambda report: bool(report.sessions))
        assert [(s.session, s.guest, s.client) for s in report.sessions] == [("session-seen", "guest-1", "127.0.0.1")]
        async with web.get(f"http://127.0.0.2:{proxy.role.ports['status 127.0.0.2']}/cmd/getstatus") as answer:
            assert [row["sessionUuid"] for row in (await answer.json())["connections"]] == ["session-seen"]
        await socket.close()
        report = await proxy.server.report_where(lambda report: not report.sessions)
    assert report.removed == ("session-seen",)


async def test_a_draining_or_full_proxy_takes_no_new_sessions_and_keeps_the_old(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document(max_sessions=1))
    proxy.ticket("a", echo_screen())
    proxy.ticket("b", echo_screen())
    async with aiohttp.ClientSession() as web:
        first = await open_console(web, proxy, "a")
        assert await echoes(first, b"x")
        code, reason = await closing(await open_console(web, proxy, "b"))
        assert (code, "full" in reason) == (control.FULL, True)
        await proxy.role.apply(proxy.document(draining=True))
        code, reason = await closing(await open_console(web, proxy, "b"))
        assert (code, "no new sessions" in reason) == (control.FULL, True)
        assert await echoes(first, b"y")
    assert "b" in proxy.server.targets, "a ticket that was turned away at the door is not used up"


async def test_a_session_in_which_nobody_works_ends(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document(idle_s=1))
    proxy.ticket("idle", echo_screen())
    async with aiohttp.ClientSession() as web:
        code, _ = await closing(await open_console(web, proxy, "idle"))
    assert code == control.IDLE


async def test_a_browser_that_never_reads_is_ended_too_and_leaves_nothing(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document(idle_s=1))
    proxy.ticket("deaf", Bulk().serve)
    writer = await deaf_browser(proxy, "deaf")
    await proxy.server.report_where(lambda report: "session-deaf" in report.removed)
    assert proxy.role.services()[1].note == "0 sessions"
    writer.close()


async def test_a_browser_that_vanishes_leaves_no_connection_to_its_host(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    proxy.ticket("gone", echo_screen())
    writer = await deaf_browser(proxy, "gone")
    await proxy.server.report_where(lambda report: bool(report.sessions))
    writer.transport.abort()
    await proxy.server.report_where(lambda report: "session-gone" in report.removed)
    await standstill(lambda: proxy.relay.connections)
    assert proxy.relay.connections == 0


async def test_the_end_of_the_screen_ends_the_session_and_leaves_no_connection(proxy: Stage) -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    await proxy.role.apply(proxy.document())
    proxy.ticket("short", short)
    async with aiohttp.ClientSession() as web:
        assert await closing(await open_console(web, proxy, "short")) == (
            control.GONE,
            "the machine's console has ended",
        )
    await proxy.server.report_where(lambda report: not report.sessions and "session-short" in report.removed)
    assert proxy.relay.connections == 0


async def test_the_page_is_served_and_old_links_lead_to_it(proxy: Stage) -> None:
    await proxy.role.apply(proxy.document())
    async with aiohttp.ClientSession() as web:
        async with web.get(f"http{proxy.page}/ajax?token=abc&evil=1", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/resource/noVNC/vnc.html?autoconnect=true&token=abc"
        async with web.get(f"http{proxy.page}/resource/noVNC/vnc.html?token=abc") as answer:
            assert (answer.status, answer.headers["Referrer-Policy"]) == (200, "no-referrer")
        script = f"http{proxy.page}/resource/vendor/novnc/core/rfb.js"
        async with web.get(script) as answer:
            assert (answer.status, answer.content_type) == (200, "text/javascript")
            assert len(await answer.read()) > 50_000
            tag = answer.headers["ETag"]
        async with web.get(script, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        for path in (
            "/resource/../../role.py",
            "/resource/%2e%2e/%2e%2e/agent/main.py",
            "/resource/.gitignore",
            "/resource/",
        ):
            async with web.get(URL(f"http{proxy.page}{path}", encoded=True)) as answer:
                assert answer.status == 404
