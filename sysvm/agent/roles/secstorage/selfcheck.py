"""`ssvm-check`: what is wrong with this machine, a sentence each. Every check looks; none trusts what another one found.

DNS      every name server of the document answers a question
store    mounted, writable, not full
server   the agent's line to its host, and through it to a management server
agent    the document is live
disk     the state disk has room
clock    not before this program was made, not far from the server's, and not far from the store's
"""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sysvm.agent.line import Line
from sysvm.agent.roles.secstorage.health import PROBE, name_of
from sysvm.basics.errors import Broken, NotYet, Refused, Stale, Unreachable
from sysvm.wire.channel import Diagnosed, ReachServer, ServerReached
from sysvm.wire.documents import Store
from sysvm.wire.machines import ServiceFault

DNS_SECONDS = 3.0
SERVER_SECONDS = 5.0
DISK_BYTES = 8 * 1024 * 1024
CLOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome."""

    check: str
    good: bool
    text: str

    def line(self) -> str:
        """As people read it."""
        return f"{'Good' if self.good else 'ERROR'}: {self.check}: {self.text}"


def diagnosed(findings: Iterable[Finding]) -> Diagnosed:
    """All findings as the result of the task; exit code 1 when one of them is bad."""
    found = list(findings)
    text = "".join(f"{finding.line()}\n" for finding in found)
    return Diagnosed(exit_code=0 if all(finding.good for finding in found) else 1, stdout=text, stderr="")


async def dns(servers: tuple[str, ...]) -> list[Finding]:
    """Each name server is asked for the root's own name servers."""
    if not servers:
        return [Finding("DNS", False, "the document names no name server: set the zone's internal DNS")]
    return [await _dns(server) for server in servers]


async def _dns(server: str) -> Finding:
    number = secrets.token_bytes(2)
    question = number + bytes.fromhex("0100 0001 0000 0000 0000") + b"\0" + bytes.fromhex("0002 0001")
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Ear(heard), remote_addr=_endpoint(server)
        )
    except OSError as error:
        return Finding("DNS", False, f"name server {server} cannot be reached: {error.strerror or error}")
    try:
        transport.sendto(question)
        async with asyncio.timeout(DNS_SECONDS):
            answer = await heard
    except (TimeoutError, OSError):
        return Finding("DNS", False, f"name server {server} does not answer")
    finally:
        transport.close()
    good = answer.startswith(number)
    return Finding("DNS", good, f"name server {server} {'answers' if good else 'answers with something else'}")


def _endpoint(server: str) -> tuple[str, int]:
    """`address` or `address@port`."""
    address, _, port = server.partition("@")
    return address, int(port) if port.isdigit() else 53


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: asyncio.Future[bytes]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._heard.done():
            self._heard.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._heard.done():
            self._heard.set_exception(exc)


def stores(served: Iterable[Store], faults: Iterable[ServiceFault]) -> list[Finding]:
    """What `health.store_fault` has found, for people."""
    by_name = {fault.service: fault for fault in faults}
    found = []
    for store in served:
        fault = by_name.get(f"store {store.store}")
        good = "mounted" if store.read_only else "mounted and writable"
        text = f"{name_of(store)} is {good}" if fault is None else f"{fault.why}: {fault.remedy}"
        found.append(Finding("store", fault is None, text))
    return found or [Finding("store", False, "the document names no image store: add one with addImageStore")]


@dataclass(frozen=True, slots=True)
class Server:
    """What a question to the management server brought."""

    now: float | None  # by its clock
    why: str = ""  # it could not be asked

    @property
    def finding(self) -> Finding:
        """As one of the checks."""
        return Finding("server", not self.why, self.why or "a management server answers through the host")


async def ask_server(line: Line) -> Server:
    """Through the host: a secondary storage VM has no other way to a server."""
    if not line.is_up:
        return Server(None, "the host does not answer: look at its agent (sysvm agent host)")
    try:
        return Server((await line.ask(ReachServer(), ServerReached, seconds=SERVER_SECONDS)).now)
    except (Unreachable, NotYet, Refused, Broken, Stale) as error:
        return Server(None, f"the host answers, but no management server does: {error}")


def agent(is_live: bool, faults: Iterable[ServiceFault]) -> Finding:
    """The document."""
    why = "; ".join(f"{fault.service}: {fault.why}" for fault in faults) or "no document has come"
    return Finding("agent", is_live, "the document is live" if is_live else why)


def disk(state: Path) -> Finding:
    """The state disk."""
    try:
        left = os.statvfs(state)
    except OSError as error:
        return Finding("disk", False, f"the state disk does not answer: {error.strerror}")
    room = left.f_bavail * left.f_frsize
    good = room >= DISK_BYTES
    return Finding("disk", good, f"the state disk has {'' if good else 'only '}{room // 1024**2} MB left")


def clock(now: float, store: Path | None, server: float | None = None) -> Finding:
    """This machine's clock, against what cannot be later than now, the server's clock, and the store's own."""
    made = Path(__file__).stat().st_mtime
    if now < made - CLOCK_SECONDS:
        return Finding("clock", False, "the clock stands before the day on which this program was made")
    if server is not None and abs(now - server) > CLOCK_SECONDS:
        return Finding("clock", False, f"the clock is {now - server:.0f} s away from the management server's")
    drift = _drift(now, store) if store is not None else 0.0
    if abs(drift) > CLOCK_SECONDS:
        return Finding("clock", False, f"the clock is {drift:.0f} s away from the image store's")
    others = [*(["the server's"] if server is not None else []), *(["the image store's"] if store is not None else [])]
    return Finding("clock", True, f"the clock agrees with {' and '.join(others)}" if others else "the clock is plausible")


def _drift(now: float, store: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=store, prefix=PROBE) as probe:
            stamp = os.fstat(probe.fileno()).st_mtime
    except OSError:
        return 0.0  # the store's own check names this
    return now - stamp
