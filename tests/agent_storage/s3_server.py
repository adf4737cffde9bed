"""An S3 server that is not ours: moto's, in a process of its own. What it has is in memory and goes with it. It checks the
signature of each request, with code that is not ours either (botocore's).

It can be told to stand behind a relay that breaks off, or is killed, in the middle of an upload: `Relay`.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sysvm.agent.roles.secstorage.s3 import S3
from sysvm.basics.clock import SystemClock
from sysvm.wire.documents import Bucket

SERVE = """
import json
from moto import settings
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

accounts = iam_backends["123456789012"]["aws"]
accounts.create_user(region_name="us-east-1", user_name="store")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
accounts.put_user_policy("store", "all", json.dumps(everything))
key = accounts.create_access_key("store")
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # from the first request on
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, key.access_key_id, key.secret_access_key, flush=True)
server.serve_forever()
"""


@dataclass
class Server:
    """Where it is, and a client for what only a test does."""

    port: int
    access_key: str
    secret_key: str
    buckets: int = 0

    def bucket(self, **changes: str) -> Bucket:
        """A new, empty one."""
        self.buckets += 1
        made = Bucket(**{  # type: ignore[arg-type]
            "url": f"http://127.0.0.1:{self.port}", "name": f"images-{self.buckets}",
            "access_key": self.access_key, "secret_key": self.secret_key, **changes,
        })  # fmt: skip
        S3(made, SystemClock().now).put("", b"")
        return made


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """The server runs meanwhile."""
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen((sys.executable, "-c", SERVE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet)
    try:
        assert process.stdout is not None
        port, access_key, secret_key = process.stdout.readline().decode().split()
        yield Server(int(port), access_key, secret_key)
    finally:
        process.kill()
        process.wait()


@dataclass
class Relay:
    """Between a client and the server: counts parts of uploads, and holds back what comes after so many of them."""

    port: int
    let: int  # parts
    parts: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> int:
        """Its port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Nobody comes any more."""
        self.free.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"partNumber=" in head.split(b"\r\n")[0]:
                self.parts += 1
                if self.parts > self.let:
                    self.held.set()
                    await self.free.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            back.write(head)
            await asyncio.gather(_pour(reader, back), _pour(there, writer))
        writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def files_of(folder: Path) -> Iterator[str]:
    """Every file below a folder."""
    return (str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file())
