"""The stream to the host: a unix socket that is bind-mounted into a container, or the virtio-serial port of a VM.

A virtio-serial port has no connections: it reads as ended while the host does not listen, and is opened again later; a
reader may join in the middle of a frame, so frames are not strict there. Nothing authenticates here: whoever holds the
host's end is the host.
"""

import asyncio
import os
from pathlib import Path

import msgspec

from sysvm.agent.paths import Paths
from sysvm.basics.transports import cut

PORT = "org.sysvm.agent"


class NoHost(Exception):
    """There is no way to the host at this moment."""


class Stream(msgspec.Struct, frozen=True):
    """Both directions of a connection; `strict` says whether garbage in it is an error."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    strict: bool

    def end(self) -> None:
        """Closed now, with whatever could not be written: a port that a dead host left full would stay open for ever."""
        cut(self.writer.transport)


def virtio_port(paths: Paths) -> Path | None:
    """The device of the port that the host named for us; without udev its name stands in /sys only."""
    for name in sorted(paths.virtio_ports.glob("*/name")):
        if name.read_text().strip() == PORT:
            return paths.devices / name.parent.name
    return None


async def connect(paths: Paths) -> Stream:
    """A new stream to the host. Raises NoHost."""
    try:
        if paths.host_socket.exists():
            reader, writer = await asyncio.open_unix_connection(str(paths.host_socket))
            return Stream(reader, writer, strict=True)
        port = virtio_port(paths)
        if port is not None:
            return await open_port(port)
    except OSError as error:
        raise NoHost(str(error)) from error
    raise NoHost(f"neither {paths.host_socket} nor a virtio port {PORT} is there")


async def open_port(port: Path) -> Stream:
    """A character device (or a terminal, in tests) as a stream; one open file for both directions."""
    loop = asyncio.get_running_loop()
    reading = os.open(port, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    writing = os.dup(reading)
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    incoming, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", buffering=0))
    outgoing, flow = await loop.connect_write_pipe(lambda: _Flow(incoming), os.fdopen(writing, "wb", buffering=0))
    return Stream(reader, asyncio.StreamWriter(outgoing, flow, reader, loop), strict=False)


class _Flow(asyncio.streams.FlowControlMixin):
    """Back-pressure of the writing half; its end is the end of the reading half too."""

    def __init__(self, incoming: asyncio.ReadTransport) -> None:
        super().__init__()
        self._incoming = incoming
        self._closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """Both halves are one device."""
        super().connection_lost(exc)
        self._incoming.close()
        if not self._closed.done():
            self._closed.set_result(None)

    def _get_close_waiter(self, stream: asyncio.StreamWriter) -> asyncio.Future[None]:
        return self._closed
