"""Two S3 servers that are not ours, each in a process of its own; both check the signature of each request.

`swift` is OpenStack's, as people run it (`swift_serves.py`), on one disk with one replica. `moto` is an emulator, which follows
Amazon's words where Swift does not; what it has is in memory. They can be told to stand behind a relay that holds back what
comes in the middle of an upload: `Relay`.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
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


SWIFT = Path(__file__).with_name("swift_serves.py")
WORDS = {"swift": ("/usr/bin/python3", str(SWIFT)), "moto": (sys.executable, "-c", SERVE)}


@dataclass
class Server:
    """Where it is, and a client for what only a test does."""

    words: tuple[str, ...]
    folder: Path
    address: str
    port: int = 0
    access_key: str = ""
    secret_key: str = ""
    buckets: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It serves; in a second life at the same port, with what it kept."""
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
        words = (*self.words, str(self.folder), self.address, str(self.port))
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet)
        assert self.process.stdout is not None
        port, self.access_key, self.secret_key = self.process.stdout.readline().decode().split()
        self.port = int(port)

    def kill(self) -> None:
        """It takes leave of nobody."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def bucket(self) -> Bucket:
        """A new, empty one."""
        self.buckets += 1
        S3(self.newest(), SystemClock().now).put("", b"")
        return self.newest()

    def newest(self) -> Bucket:
        """The bucket that was made last."""
        url, name = f"http://{self.address}:{self.port}", f"images-{self.buckets}"
        return Bucket(url=url, name=name, access_key=self.access_key, secret_key=self.secret_key)


@contextlib.contextmanager
def served(name: str, address: str = "127.0.0.1") -> Iterator[Server]:
    """The server runs meanwhile; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix=f"sysvm-{name}-"))
    made = Server(WORDS[name], folder, address)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder)


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
