"""Real `sysvm server` processes: started, killed, stopped and continued by their process id."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from sysvm.cli import client as api
from sysvm.cli.client import ApiError, Client, Keys
from sysvm.cli.demo.supervisor import program
from sysvm.cli.files import PASSWORD_FILE, READY_FILE
from tests.boot.patience import NotYet, until


class Server:
    """One server and its state folder."""

    def __init__(self, state: Path, database: str = "") -> None:
        self.state = state
        self.api_port, self.hub_port = _free_ports()
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None
        state.mkdir(mode=0o700, exist_ok=True)

    @property
    def endpoint(self) -> str:
        """Its API."""
        return f"http://127.0.0.1:{self.api_port}/client/api"

    @property
    def hub(self) -> tuple[str, int]:
        """Where hosts dial it."""
        return "127.0.0.1", self.hub_port

    def start(self) -> None:
        """It answers afterwards."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Its process runs."""
        command = [program(), "server", "--state", str(self.state), "--listen", f"127.0.0.1:{self.api_port}",
                   "--hub", f"127.0.0.1:{self.hub_port}"]  # fmt: skip
        if self._database:
            command += ["--database", self._database]
        with (self.state / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """It answers afterwards."""
        until(self._is_ready, f"the server on {self.state}", self.log_size)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-4000:]
        ready = self.state / READY_FILE
        return ready.exists() and ready.read_text().strip() == str(self._process.pid)

    @property
    def uuid(self) -> str:
        """How the cloud knows it, over restarts."""
        return (self.state / "server-uuid").read_text().strip()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int:
        """Told to stop; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait()
        self._process = None
        return code

    def pause(self) -> None:
        """It stands still: its kernel keeps its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It knows nothing of having stood still."""
        os.kill(self.pid, signal.SIGCONT)

    def lives(self) -> bool:
        """Whether the process that was started has not ended."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What it has logged."""
        return (self.state / "log").read_text(errors="replace")

    def bugs(self) -> list[str]:
        """What it has logged that is nobody's fault but its own, each with the lines after it."""
        lines = self.log().splitlines()
        starts = [at for at, line in enumerate(lines) if "Traceback" in line or "turn_failed" in line]
        return ["\n".join(lines[at : at + 60]) for at in starts]

    def log_size(self) -> int:
        """Grows as long as it does something."""
        return (self.state / "log").stat().st_size

    def client(self, keys: Keys) -> Client:
        """Signed calls."""
        return Client(self.endpoint, keys)

    def admin_keys(self) -> Keys:
        """Of the cloud's first admin: this server has made the cloud."""
        return api.login(self.endpoint, "admin", (self.state / PASSWORD_FILE).read_text().strip())


def answered(client: Client, command: str, **params: object) -> dict[str, object]:
    """The answer of a server that may be about to come back. Raises NotYet."""
    try:
        return client.call(command, **params)
    except OSError as error:
        raise NotYet(str(error)) from error
    except ApiError as error:
        if error.code != 503:
            raise
        raise NotYet(error.text) from error


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return int(one.getsockname()[1]), int(other.getsockname()[1])
