"""One demo for all tests that can share it: brought up once, taken down at the end whatever happens."""

import http.server
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.boot.world import World


@contextmanager
def world(*options: str) -> Iterator[World]:
    """A demo in a folder of its own, up; down at the end."""
    with folder() as made:
        made.up(*options)
        yield made


@contextmanager
def folder() -> Iterator[World]:
    """A folder for a demo; whatever is made of it is taken down at the end."""
    with tempfile.TemporaryDirectory(prefix="sysvm-test-") as name:
        made = World(Path(name).resolve() / "s")
        try:
            yield made
        finally:
            made.down()


@pytest.fixture(scope="session")
def demo() -> Iterator[World]:
    """The demo, with system VMs as containers."""
    with world("--runtime", "container") as made:
        yield made


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = f"you are {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def outside(address: str) -> Iterator[int]:
    """A page on the test host outside, that tells who asks; its port."""
    with http.server.ThreadingHTTPServer((address, 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
