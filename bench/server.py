"""server.start_s, server.rss_mb: from the start of a server on an empty folder to the first answer of its API, and its
memory after the simulated demo.

The floor beside the start is Python that only imports what a server imports.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import alternating, rss_mb
from bench.rows import Row, row
from sysvm.cli.demo.supervisor import Supervisor

NAMES = ("server.start_s", "server.rss_mb")
NEEDS = ("s6-svscan",)
SYSVM = str(Path(sys.executable).with_name("sysvm"))
PATIENCE_S = 60.0


def run(*, tiny: bool) -> Iterator[Row]:
    """Both rows."""
    own, floor = alternating(1 if tiny else 5, start_s, imports_s)
    note = "empty state folder to the first answered call, SQLite made and migrated on the way"
    yield row(NAMES[0], own, "s", against=("Python importing the same modules", floor), note=note)
    mb, note = after_demo()
    yield row(NAMES[1], mb, "MB", note=note)


def start_s() -> float:
    """Seconds from the start of `sysvm server` to its first answer."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        api, hub = free_port(), free_port()
        command = [SYSVM, "server", "--state", folder, "--listen", f"127.0.0.1:{api}", "--hub", f"127.0.0.1:{hub}"]
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not answers(api):
                if child.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                    raise RuntimeError(f"the server does not answer (exit code {child.poll()})")
                threading.Event().wait(0.005)
            return time.perf_counter() - began
        finally:
            child.terminate()
            child.wait()


def imports_s() -> float:
    """Seconds of a Python that imports the server and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import sysvm.cli.serve"], check=True)
    return time.perf_counter() - began


def answers(port: int) -> bool:
    """Whether the API answers, be it that it does not know us."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/client/api?command=listZones&response=json")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def after_demo() -> tuple[float, str]:
    """Memory of the server after the simulated demo."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as above:
        state = Path(above) / "demo"
        try:
            subprocess.run([SYSVM, "demo", "--state", str(state), "--simulated"], check=True, capture_output=True)
            pid = Supervisor(state).pid("server")
            if pid is None:
                raise RuntimeError("the demo's server does not run")
            return rss_mb(pid), "resident, after the simulated demo"
        finally:
            subprocess.run([SYSVM, "down", "--state", str(state)], check=False, capture_output=True)
