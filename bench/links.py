"""link.cpu_ms_per_host, link.memory_kb_per_host: what a host's link costs the server.

The real hub, in a process of its own with its store in memory, against hosts that are dialled from here: TLS 1.3 with a
certificate each, hello, welcome. The peer is a bare TLS server on the same loop, which does the hand-shake and no more.

    python -m bench.links hub|bare FOLDER COUNT      (the serving process: prints its port)
"""

import asyncio
import functools
import resource
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from bench.measure import cpu_s, rss_mb
from bench.rows import Row, row
from sysvm.basics.clock import SystemClock
from sysvm.basics.ids import SystemIds
from sysvm.basics.log import configure
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority, key_pem, make_request, new_key
from sysvm.hosts.identity import trusting
from sysvm.hub.links import Links
from sysvm.hub.server import Hub, Identity, server_context
from sysvm.store import seed, tables
from sysvm.store.queries import keys, links, turns
from sysvm.store.secrets import Vault
from sysvm.store.store import SqliteStore, Tx
from sysvm.wire.link import PROTOCOL, HostFacts, HostHello, Welcome
from sysvm.wire.peer import Peer

NAMES = ("link.cpu_ms_per_host", "link.memory_kb_per_host")
NEEDS = ()
AT_ONCE = 16


def run(*, tiny: bool) -> Iterator[Row]:
    """Both rows."""
    count = 10 if tiny else 2000
    more_files()
    cpu, memory = measure("hub", count)
    bare_cpu, bare_memory = measure("bare", count)
    note = f"{count} links; TLS 1.3 hand-shake with client certificate, hello, welcome, transaction"
    yield row(NAMES[0], cpu, "ms", against=("bare TLS server, hand-shake only", bare_cpu), note=note)
    yield row(NAMES[1], memory, "KB", against=("bare TLS server", bare_memory), note=f"{count} links, idle")


def more_files() -> None:
    """As many open files as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure(kind: str, count: int) -> tuple[float, float]:
    """(milliseconds of CPU, kilobytes) of the serving process per link."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        command = [sys.executable, "-m", "bench.links", kind, folder, str(count)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            return uvloop.run(_dial(child.pid, port, Path(folder), count, hello=kind == "hub"))
        finally:
            child.terminate()
            child.wait()


# ---------------------------------------------------------------- the hosts
async def _dial(server: int, port: int, folder: Path, count: int, *, hello: bool) -> tuple[float, float]:
    names = (folder / "hosts").read_text().split()
    ca = (folder / "ca.pem").read_text()
    room = asyncio.Semaphore(AT_ONCE)
    open_: list[asyncio.StreamWriter] = []
    async with Tasks() as tasks:

        async def one(name: str) -> None:
            async with room:
                context = trusting(ca)
                context.load_cert_chain(folder / name, folder / name)
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                open_.append(writer)
                if not hello:
                    assert await reader.readexactly(1) == b"."
                    return
                peer = Peer(reader, writer, serve=_serve, hear=_hear)
                tasks.start(peer.run(tasks), "link")
                await peer.call(_hello(name), Welcome)

        # The first ones make the server import and allocate what it needs once.
        warm = names[: max(1, count // 20)]
        await asyncio.gather(*map(one, warm))
        cpu, memory = cpu_s(server), rss_mb(server)
        rest = names[len(warm) :]
        await asyncio.gather(*map(one, rest))
        spent, grown = cpu_s(server) - cpu, rss_mb(server) - memory
        tasks.stop()
    for writer in open_:
        writer.close()
    return spent / len(rest) * 1e3, grown * 1024 / len(rest)


def _hello(name: str) -> HostHello:
    facts = HostFacts(name=name, cpus=16, cpu_mhz=2000, memory_bytes=2**36, kernel="6.1", hypervisors=("KVM",),
                      features=("vlan",), templates=("1",), disk_bytes=2**40)  # fmt: skip
    return HostHello(protocol=PROTOCOL, cloud="", host=name, boot="boot", version="bench", epoch=1, facts=facts)


async def _serve(_raw: msgspec.Raw) -> msgspec.Struct:
    raise AssertionError("nobody asks a host here")


async def _hear(*_anything: object) -> None:
    return


# ---------------------------------------------------------------- the server
async def serve(kind: str, folder: Path, count: int) -> None:
    """Prepares certificates and rows, listens, prints the port, serves until it is ended."""
    configure("ERROR")  # a pipe that nobody reads is no place for a line a host
    store, ids, clock = SqliteStore(None, SystemClock(), inline=True), SystemIds(), SystemClock()
    with store.engine.connect() as connection:
        tables.metadata.create_all(connection)
    vault = Vault(b"k" * 32)
    await store.run(functools.partial(seed.sow, ids=ids, vault=vault, version="bench", admin_password_hash=seed.LOCKED))
    authority = (await store.run(lambda tx: keys.ensure_keys(tx, vault, ids))).authority
    await store.run(_open_session)
    await store.run(lambda tx: _add_hosts(tx, ids, authority, folder, count))
    context = _identity(authority, folder)
    async with Tasks() as tasks:
        if kind == "hub":
            identity = Identity("", "session", authority, context)
            hub = Hub(store, clock, identity, Links(), _ask, _hear)
            server = await hub.listen("127.0.0.1", 0, tasks)
            tasks.start(_beat(store, clock), "beat")
        else:
            server = await asyncio.start_server(_dot, "127.0.0.1", 0, ssl=context, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def _beat(store: SqliteStore, clock: SystemClock) -> None:
    """A hub takes links only for a session that lives."""
    while await store.run(lambda tx: turns.beat(tx, "session")):
        await clock.sleep(turns.SESSION_BEAT_S)


def _open_session(tx: Tx) -> None:
    """Nobody beats for it here, so it is a long one."""
    turns.open_session(tx, "session", "server", "server", "", "bench")
    tx.sql("update session set until = :until", until=tx.now + 3600)


async def _ask(*_anything: object) -> msgspec.Struct:
    raise AssertionError("nobody asks the server here")


async def _dot(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b".")
    await writer.drain()
    await asyncio.get_running_loop().create_future()


def _identity(authority: Authority, folder: Path) -> ssl.SSLContext:
    issued, key = authority.issue("management server", "sysvm://bench/server", SystemClock().now(), addresses=("127.0.0.1",))
    (folder / "server.pem").write_text(issued.chain)
    (folder / "server.key").write_text(key)
    return server_context(str(folder / "server.pem"), str(folder / "server.key"), authority.ca_pem)


def _add_hosts(tx: Tx, ids: SystemIds, authority: Authority, folder: Path, count: int) -> None:
    life = {"created": tx.now}
    zone = tx.insert(tables.zone, uuid=ids.uuid(), name="zone", **life)
    pod = tx.insert(tables.pod, uuid=ids.uuid(), zone_id=zone, name="pod", **life)
    cluster = tx.insert(tables.cluster, uuid=ids.uuid(), zone_id=zone, pod_id=pod, name="c", hypervisor="KVM", **life)
    names = [ids.uuid() for _ in range(count)]
    for name in names:
        host = tx.insert(tables.host, uuid=name, name=name, zone_id=zone, pod_id=pod, cluster_id=cluster,
                         hypervisor="KVM", **life)  # fmt: skip
        key = new_key()
        issued = authority.sign_request(make_request(key, name), name, f"sysvm://bench/host/{name}", tx.now)
        links.add_certificate(tx, host, issued.serial, issued.key_fingerprint, issued.not_after)
        (folder / name).write_text(issued.chain + key_pem(key))
    (folder / "hosts").write_text(" ".join(names))
    (folder / "ca.pem").write_text(authority.ca_pem)


if __name__ == "__main__":
    more_files()
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
