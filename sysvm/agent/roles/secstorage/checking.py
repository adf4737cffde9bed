"""`ssvm-check`, as an operator runs it inside the machine: asks the agent over a local socket, and looks itself without one.

Server and agent are known to the running agent alone; everything else is looked at by the same functions in either process.
Without an agent the last document is read from the state disk, so that a dead agent hides nothing of what else is wrong.
Not here: the checks (`selfcheck.py`). Races thought of: an agent that dies while it answers is one that does not answer.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from sysvm.agent.boot import read_boot_data
from sysvm.agent.documents import Documents
from sysvm.agent.paths import Paths
from sysvm.agent.roles.secstorage import health, selfcheck
from sysvm.agent.roles.secstorage.selfcheck import Finding
from sysvm.agent.seal import Seal
from sysvm.wire.channel import Diagnosed
from sysvm.wire.documents import SecStorageDocument
from sysvm.wire.machines import ServiceFault

ANSWER_S = 30.0


def socket_of(paths: Paths) -> Path:
    """Where the agent answers."""
    return paths.run / "ssvm-check.sock"


# ---------------------------------------------------------------- in the agent
class CheckDoor:
    """Says what the checks found to whoever connects; only root can."""

    def __init__(self, paths: Paths, check: Callable[[], Awaitable[Diagnosed]]) -> None:
        self._place = socket_of(paths)
        self._check = check
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """From now on."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self._place.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, str(self._place))
        self._place.chmod(0o600)

    async def close(self) -> None:
        """No more."""
        if self._server is not None:
            self._server.close()
            self._place.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            writer.write(msgspec.json.encode(await self._check()))
            await writer.drain()


# ---------------------------------------------------------------- the program
def main(root: Path = Path("/")) -> int:
    """Prints the findings; 0 when all is well."""
    paths = Paths(root)
    try:
        found = _asked(paths)
    except (OSError, msgspec.DecodeError) as error:
        found = asyncio.run(without_agent(paths, f"{error}"))
    sys.stdout.write(found.stdout)
    return found.exit_code


def _asked(paths: Paths) -> Diagnosed:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_S)
        line.connect(str(socket_of(paths)))
        said = b"".join(iter(lambda: line.recv(65536), b""))
    return msgspec.json.decode(said, type=Diagnosed)


async def without_agent(paths: Paths, why: str) -> Diagnosed:
    """All that can be seen while the agent does not run."""
    document = _kept_document(paths)
    dead = Finding("agent", False, f"the agent does not answer ({why}): see /var/log/sysvm, it is started again by s6")
    unknown = Finding("server", False, "nobody can ask the server while the agent does not run")
    faults, whole = _stores(document)
    return selfcheck.diagnosed(
        [
            *await selfcheck.dns(document.dns if document else ()),
            *selfcheck.stores(document.stores if document else (), faults),
            unknown,
            dead,
            selfcheck.disk(paths.state),
            selfcheck.clock(time.time(), whole),
        ]
    )


def _kept_document(paths: Paths) -> SecStorageDocument | None:
    try:
        kept = Documents(paths.state, Seal(read_boot_data(paths).state_key)).restored()
    except (OSError, msgspec.MsgspecError):
        return None
    return next((one for one in reversed(kept) if isinstance(one, SecStorageDocument)), None)


def _stores(document: SecStorageDocument | None) -> tuple[list[ServiceFault], Path | None]:
    there = health.mount_points()
    looked = [(store, health.store_fault(store, there)) for store in (document.stores if document else ())]
    whole = next((Path(store.path) for store, fault in looked if fault is None), None)
    return [fault for _, fault in looked if fault is not None], whole
