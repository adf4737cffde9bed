"""The name server of console proxies: a real Knot, asked over UDP."""

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.tasks import Tasks
from sysvm.orchestrator.names import NameServer, Pace
from sysvm.store import schema, settings, tables
from sysvm.store.queries import settings as values
from sysvm.store.store import SqliteStore
from sysvm.store.tables import pack_address

DOMAIN = "consoleproxy.company.com"
A, AAAA = 1, 28
PATIENCE_S = 60.0  # without which a test would hang for ever
REFUSED, NXDOMAIN, NOERROR = 5, 3, 0


@dataclass
class Bench:
    """A store, and the name server that follows it."""

    store: SqliteStore
    clock: SystemClock
    folder: Path
    port: int

    async def set(self, name: str, value: str) -> None:
        """A setting."""
        found = values.find(name)
        assert found is not None
        await self.store.run(lambda tx: values.store(tx, found, value))

    async def add_range(self, first: str, last: str) -> None:
        """A public range of the zone."""
        await self.store.run(
            lambda tx: tx.insert(
                tables.ip_range, uuid=f"range {first}", zone_id=1, traffic="Public", gateway="", netmask="",
                first=pack_address(first), last=pack_address(last), created=tx.now,
            )
        )  # fmt: skip

    async def until(self, holds: Callable[[], object]) -> None:
        """Waits for it."""
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(holds):
                await self.clock.sleep(0.02)

    async def alerts(self) -> list[str]:
        """What stands in the alerts."""
        return [row[0] for row in await self.store.read(lambda tx: tx.sql("select subject from alert"))]

    def ask(self, name: str, kind: int = A) -> tuple[int, IPv4Address | IPv6Address | None]:
        """The code of the answer, and its address when there is one."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{name}.{DOMAIN}".split("."))
        question = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(2)
            channel.connect(("127.0.0.1", self.port))
            try:
                channel.send(question)
                answer = channel.recv(4096)
            except OSError:
                return -1, None
        flags, _, count = struct.unpack(">HHH", answer[2:8])
        assert flags & 0x0400 or flags & 15 == REFUSED, "an answer about our own domain has authority"
        raw = answer[len(question) + 12 :]
        return flags & 15, ip_address(raw[: 4 if kind == A else 16]) if count else None


def free_port() -> int:
    """Of UDP and TCP alike, most likely."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        return int(channel.getsockname()[1])


@contextlib.asynccontextmanager
async def following() -> AsyncIterator[Bench]:
    """One zone with one range; a name server that looks often."""
    clock = SystemClock()
    store = SqliteStore(None, clock, inline=True)
    await schema.ensure(store)
    outer = Path(tempfile.mkdtemp(prefix="sysvm-test-names-"))
    outer.chmod(0o755)  # the server runs as nobody
    bench = Bench(store, clock, outer / "names", free_port())
    await store.run(lambda tx: tx.insert(tables.zone, uuid="z", name="z", allocation_state="Enabled", created=tx.now))
    await bench.add_range("202.8.44.1", "202.8.44.9")
    async with Tasks() as tasks:
        tasks.start(NameServer(store, clock, bench.folder, Pace(0.05, 0.0)).run(), "name server")
        yield bench
        tasks.stop()
    await store.close()
    outer.rmdir()
    assert bench.ask("202-8-44-1") == (-1, None), "nobody answers any more"


@pytest.mark.root
async def test_a_name_is_an_address_of_the_public_ranges_and_of_nothing_else() -> None:
    async with following() as bench:
        await bench.set("consoleproxy.url.domain", f"*.{DOMAIN}")
        await bench.until(lambda: (bench.folder / f"{DOMAIN}.records").exists())
        assert bench.ask("202-8-44-1") == (-1, None), "it was not told to answer"
        await bench.set("consoleproxy.dns.listen", f"127.0.0.1:{bench.port}")
        await bench.until(lambda: bench.ask("202-8-44-1") == (NOERROR, IPv4Address("202.8.44.1")))
        assert bench.ask("202-8-44-9") == (NOERROR, IPv4Address("202.8.44.9"))
        assert bench.ask("202-8-44-10") == (NXDOMAIN, None)
        assert bench.ask("www") == (NXDOMAIN, None)
        await bench.add_range("2001:db8::10", "2001:db8::1f")
        await bench.until(lambda: bench.ask("2001-db8--10", AAAA) == (NOERROR, IPv6Address("2001:db8::10")))
        assert bench.ask("2001-db8--20", AAAA) == (NXDOMAIN, None)
        assert bench.ask("202-8-44-1") == (NOERROR, IPv4Address("202.8.44.1"))


@pytest.mark.root
async def test_one_that_dies_is_started_again_and_said_so() -> None:
    async with following() as bench:
        await bench.set("consoleproxy.url.domain", f"*.{DOMAIN}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", bench.port))
            await bench.set("consoleproxy.dns.listen", f"127.0.0.1:{bench.port}")
            while not (said := await bench.alerts()):
                await bench.clock.sleep(0.02)
        assert "The name server of console proxies does not run" in said[0]
        await bench.until(lambda: bench.ask("202-8-44-1") == (NOERROR, IPv4Address("202.8.44.1")))


def test_where_it_listens_is_checked_when_it_is_set() -> None:
    listen = settings.SETTINGS["consoleproxy.dns.listen"]
    assert listen.fault("127.0.0.1:53") == listen.fault("") == ""
    assert "an address with or without a port" in listen.fault("ns.company.com:53")
