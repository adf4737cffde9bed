"""Many screens and many browsers that cost little: what a proxy is loaded with must not be what is slow.

Screens are protocols of one TLS relay, each with a timer; browsers are picows. Both are in the bench's process, so an update
carries the instant at which it was written.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

from picows import WSFrame, WSListener, WSTransport, ws_connect

from bench.console_proxies import LOCAL, Proxy, World
from sysvm.wire.channel import ConsoleTarget

UPDATE = 2048
EVERY_S = 0.2


class LiveScreen(asyncio.Protocol):
    """Takes any grant, shows a first picture, and updates it once it is told to live."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\n"):
            self._transport.write(b"OK\n")
            self._show()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def live(self, after: float) -> None:
        """An update now and then, the first one `after` so many seconds."""
        self._timer = asyncio.get_running_loop().call_later(after, self._update)

    def _update(self) -> None:
        self.live(EVERY_S)
        self._show()

    def _show(self) -> None:
        self._transport.write(time.perf_counter_ns().to_bytes(8, "big") + bytes(UPDATE - 8))


@dataclass
class LiveRelay:
    """A relay with such screens."""

    port: int
    screens: list[LiveScreen]

    def live(self) -> None:
        """All of them, spread over the time between two updates."""
        for number, screen in enumerate(self.screens):
            screen.live(EVERY_S * number / len(self.screens))


@contextlib.asynccontextmanager
async def live_relay(around: World) -> AsyncIterator[LiveRelay]:
    """A relay that takes every grant."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    around.authority.cloud.issue_cert(LOCAL).configure_cert(context)
    screens: list[LiveScreen] = []

    def screen() -> LiveScreen:
        screens.append(LiveScreen())
        return screens[-1]

    server = await asyncio.get_running_loop().create_server(screen, LOCAL, 0, ssl=context)
    try:
        yield LiveRelay(server.sockets[0].getsockname()[1], screens)
    finally:
        server.close()


@dataclass
class Watch:
    """What all browsers see: how old each update was, in milliseconds."""

    took: list[float] = field(default_factory=list)
    cut: int = 0


class Browser(WSListener):
    """One that only looks."""

    def __init__(self, watch: Watch) -> None:
        self.seen = asyncio.Event()
        self._watch = watch

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.payload_size == UPDATE:
            written = int.from_bytes(frame.get_payload_as_memoryview()[:8], "big")
            self._watch.took.append((time.perf_counter_ns() - written) / 1e6)
            self.seen.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._watch.cut += 1


async def look(around: World, ours: Proxy, name: str, port: int, watch: Watch, trusting: ssl.SSLContext) -> WSTransport:
    """A browser that has seen an update of a screen at the relay's `port`."""
    around.server.targets[name] = ConsoleTarget(
        session=f"session-{name}",
        guest="g",
        name="n",
        kind="text",
        relay_host=LOCAL,
        relay_port=port,
        grant=f"grant-{name}",
    )
    url = ours.websocket(name)
    transport, browser = await ws_connect(lambda: Browser(watch), url, ssl_context=trusting)
    await cast(Browser, browser).seen.wait()
    return transport
