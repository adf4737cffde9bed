"""A small world for a router: three network namespaces, the real agent in the middle one, and this test as its host.

    guest (eth0, 10.1.1.x) ── eth0 router eth2 ── outside (eth0, 203.0.113.x)

Sockets of the test are opened inside a namespace by a thread that enters it, so that TCP through the router is real. All
names carry a random part; everything is removed at the end, also after a failure, and only what was started here is killed.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sysvm.agent.paths import Paths
from sysvm.basics.digest import digest
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import AgentNoticeBody, AgentReport, Apply, Report
from sysvm.wire.documents import SystemVmDocument
from sysvm.wire.machines import BootData, Kind, Nic, Runtime, Segment, Traffic
from sysvm.wire.peer import Peer

T = TypeVar("T")
GUEST_MAC, ROUTER_GUEST_MAC, ROUTER_PUBLIC_MAC = "02:00:0a:01:01:05", "02:00:0a:01:01:01", "02:00:cb:00:71:0a"
_PATIENCE = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


def until(condition: Callable[[], T], what: str) -> T:
    """The first true value of `condition`; a minute without one is a failure."""
    end = time.monotonic() + _PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"still waiting for: {what}")
        threading.Event().wait(0.02)
    return value


class Host:
    """The host's end of the channel: accepts the agent on the unix socket, calls it, keeps its notices."""

    def __init__(self, path: Path) -> None:
        self.notices: list[Any] = []
        self._path = path
        self._peer: Peer | None = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with Tasks() as tasks:

            async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = Peer(reader, writer, serve=self._refuse, hear=self._hear)
                self._peer = peer
                tasks.start(peer.run(tasks), "link")

            server = await asyncio.start_unix_server(met, str(self._path))
            self._ready.set()
            await self._end.wait()
            server.close()
            if self._peer is not None:
                self._peer.close()
                await asyncio.sleep(0)  # the transport closes in the next round of the loop
            tasks.stop()

    async def _refuse(self, raw: msgspec.Raw) -> msgspec.Struct:
        raise NotImplementedError("a router asks nothing")

    async def _hear(self, raw: msgspec.Raw) -> None:
        self.notices.append(msgspec.msgpack.decode(raw, type=AgentNoticeBody))

    @property
    def is_connected(self) -> bool:
        """Whether the agent's stream stands."""
        return self._peer is not None and self._peer.is_open

    def call(self, body: msgspec.Struct, answer: type[T]) -> T:
        """The agent's answer."""
        until(lambda: self.is_connected, "the agent to connect")
        assert self._peer is not None
        return asyncio.run_coroutine_threadsafe(self._peer.call(body, answer, seconds=_PATIENCE), self._loop).result()

    def heard(self, kind: type[T], since: int = 0) -> T:
        """The first notice of that kind after the first `since` notices."""
        return until(lambda: next((n for n in self.notices[since:] if isinstance(n, kind)), None), f"a {kind.__name__}")

    def close(self) -> None:
        """Ends the channel for good."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()
        self._path.unlink(missing_ok=True)


class Lab:
    """The namespaces, the root folder, s6 and the agent."""

    def __init__(self, above: Path = Path("/run")) -> None:
        mark = secrets.token_hex(3)
        self.guest, self.router, self.outside = (f"sv{mark}-{name}" for name in ("guest", "router", "out"))
        self.root = Path(tempfile.mkdtemp(prefix=f"sysvm-lab-{mark}-", dir=above))
        self.root.chmod(0o755)
        self.paths = Paths(self.root)
        self._mark = mark
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listeners: list[socket.socket] = []
        self.agent: subprocess.Popen[bytes] | None = None
        self.host: Host | None = None

    # ------------------------------------------------------------ building up and tearing down
    def build(self) -> None:
        """Namespaces, links, folders, s6."""
        for name in self._namespaces():
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        self._wire()
        self._furnish(boot_data())

    def _wire(self) -> None:
        self._link(self.router, "eth0", ROUTER_GUEST_MAC, self.guest, "eth0", GUEST_MAC)
        self._link(self.router, "eth2", ROUTER_PUBLIC_MAC, self.outside, "eth0", "02:00:cb:00:71:01")
        sh("ip", "-n", self.guest, "link", "set", "eth0", "up")
        sh("ip", "-n", self.outside, "address", "add", "203.0.113.1/24", "dev", "eth0")
        sh("ip", "-n", self.outside, "link", "set", "eth0", "up")

    def _furnish(self, boot: BootData) -> None:
        for folder in (self.paths.boot_data.parent, self.paths.host_socket.parent, self.paths.state, self.paths.scan):
            folder.mkdir(parents=True)
        self.paths.state.chmod(0o700)  # as a host makes it
        poweroff = self.paths.poweroff
        poweroff.parent.mkdir(parents=True)
        poweroff.write_text(f"#!/bin/sh\ntouch {self.root}/powered-off\n")
        poweroff.chmod(0o755)
        self.paths.boot_data.write_bytes(msgspec.json.encode(boot))
        log = (self.root / "s6.log").open("wb")
        self._processes.append(self.spawn(self.router, "s6-svscan", str(self.paths.scan), stdout=log, stderr=log))
        self.host = Host(self.paths.host_socket)

    def start_agent(self) -> None:
        """The real program, in the router's namespaces of network and host name."""
        log = (self.root / "agent.log").open("ab")
        argv = ("unshare", "--uts", sys.executable, "-m", "sysvm.agent.main", "--root", str(self.root))
        self.agent = self.spawn(self.router, *argv, stdout=log, stderr=log)

    def kill_agent(self, number: int = signal.SIGKILL) -> None:
        """The agent dies; its services go on."""
        assert self.agent is not None
        self.agent.send_signal(number)
        self.agent.wait()
        self.agent = None
        if self.host is not None:
            until(lambda: self.host is None or not self.host.is_connected, "the host to see the agent's end")

    def remove(self) -> None:
        """Nothing of this lab is left."""
        if "LABLOG" in os.environ:
            print((self.root / "agent.log").read_text(), (self.root / "s6.log").read_text())
        if self.agent is not None:
            self.kill_agent()
        if self.host is not None:
            self.host.close()
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)  # or its thread goes on to accept from whoever has the number next
            listener.close()
        for link in self.paths.scan.glob("[a-z]*"):
            subprocess.run(("s6-svunlink", "-t", "5000", str(self.paths.scan), link.name), check=False, capture_output=True)
        subprocess.run(("s6-svscanctl", "-t", str(self.paths.scan)), check=False, capture_output=True)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in self._namespaces():
            left = subprocess.run(("ip", "netns", "pids", name), check=False, capture_output=True, text=True).stdout.split()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def _namespaces(self) -> tuple[str, ...]:
        return self.guest, self.router, self.outside

    def _link(self, one: str, one_name: str, one_mac: str, other: str, other_name: str, other_mac: str) -> None:
        sh(
            "ip", "link", "add", "name", one_name, "address", one_mac, "netns", one, "type", "veth",
            "peer", "name", other_name, "address", other_mac, "netns", other,
        )  # fmt: skip

    # ------------------------------------------------------------ the agent
    def apply(self, document: SystemVmDocument) -> AgentReport:
        """The agent's answer to Apply."""
        assert self.host is not None
        return self.host.call(Apply(document), AgentReport)

    def make_live(self, document: SystemVmDocument) -> AgentReport:
        """Applies a document and sees that all of it is live. A daemon that is slow to start on a busy machine is a fault until
        the agent's watch looks again; a document with which something is wrong stays one."""
        report = self.apply(document)
        if report.faults:
            print("at first:", report.faults)
            until(lambda: not self.report().faults, "the watch to mend it")
            report = self.report()
        assert (digest(document), ()) == (report.live, report.faults)
        return report

    def report(self) -> AgentReport:
        """The agent's answer to Report."""
        assert self.host is not None
        return self.host.call(Report(), AgentReport)

    # ------------------------------------------------------------ acting inside namespaces
    def spawn(self, namespace: str, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """A process inside a namespace."""
        return subprocess.Popen(("ip", "netns", "exec", namespace, *argv), **options)

    def run(self, namespace: str, *argv: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """A finished program inside a namespace, whatever its code."""
        return subprocess.run(("ip", "netns", "exec", namespace, *argv), input=said, capture_output=True, text=True, check=False)

    def out(self, namespace: str, *argv: str) -> str:
        """Its output; an error fails the test."""
        done = self.run(namespace, *argv)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def nft(self) -> list[dict[str, Any]]:
        """The router's ruleset as nft lists it."""
        listing: list[dict[str, Any]] = json.loads(self.out(self.router, "nft", "-j", "list", "ruleset"))["nftables"]
        return listing[1:]

    def daemons(self) -> dict[str, set[int]]:
        """Name -> pids of the processes in the router's namespace that are neither s6, the agent nor this test's."""
        found: dict[str, set[int]] = {}
        for pid in self.out(self.router, "ip", "netns", "pids", self.router).split():
            with contextlib.suppress(OSError):
                words = [Path(word.decode()).name for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
                name = "passwords" if "passwords.py" in words else words[0]
                found.setdefault(name, set()).add(int(pid))
        none_of_ours = ("s6-svscan", "s6-supervise", "ip", Path(sys.executable).name, "unshare")
        return {name: pids for name, pids in found.items() if name not in none_of_ours}

    def guest_address(self, address: str = "10.1.1.5/24") -> None:
        """Gives the guest an address by hand, and its default route."""
        self.out(self.guest, "ip", "address", "replace", address, "dev", "eth0")
        self.out(self.guest, "ip", "route", "replace", "default", "via", "10.1.1.1")

    def open(self, namespace: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that lives in a namespace."""
        return self._opened(namespace, socket.AF_INET, kind)

    def open6(self, namespace: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """The same over IPv6."""
        return self._opened(namespace, socket.AF_INET6, kind)

    def opens6(self, namespace: str, address: str, port: int, own: str = "") -> bool:
        """Whether a connection over IPv6 comes about within a second, from the address `own` or any."""
        with self.open6(namespace) as handle:
            handle.settimeout(1.0)
            try:
                if own:
                    handle.bind((own, 0))
                handle.connect((address, port))
            except OSError:
                return False
            return True

    def open_raw(self, namespace: str) -> socket.socket:
        """A socket of frames that lives in a namespace; to be bound to a device."""
        return self._opened(namespace, socket.AF_PACKET, socket.SOCK_RAW)

    def _opened(self, namespace: str, family: int, kind: int) -> socket.socket:
        made: list[socket.socket] = []

        def enter() -> None:
            with Path(f"/run/netns/{namespace}").open() as handle:
                if _libc.setns(handle.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(family, kind))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def serve(self, namespace: str, address: str, port: int) -> None:
        """A TCP server of either family that tells its callers their address, then repeats what they say."""
        door = self.open6(namespace) if ":" in address else self.open(namespace)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address, port))
        door.listen(64)
        self._listeners.append(door)

        def talk(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(f"{connection.getpeername()[0]} {port}\n".encode())
                while data := connection.recv(4096):
                    connection.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=(door.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    @contextlib.contextmanager
    def connected(self, namespace: str, address: str, port: int, own: str = "") -> Iterator[socket.socket]:
        """A connection to a server, from the address `own` or any: its greeting is the first line read."""
        handle = self.open6(namespace) if ":" in address else self.open(namespace)
        with handle:
            handle.settimeout(5.0)
            if own:
                handle.bind((own, 0))
            handle.connect((address, port))
            yield handle

    def reached(self, namespace: str, address: str, port: int, own: str = "") -> str:
        """What a server of `serve` says to a caller from `namespace`; empty when it cannot be reached."""
        try:
            with self.connected(namespace, address, port, own) as handle:
                return handle.recv(100).decode().strip()
        except OSError:
            return ""

    def is_blocked(self, namespace: str, address: str, port: int) -> bool:
        """Whether a SYN is dropped: no answer in a second, where an open port takes a millisecond."""
        with self.open(namespace) as handle:
            handle.settimeout(1.0)
            try:
                handle.connect((address, port))
            except TimeoutError:
                return True
            except OSError:
                return False
            return False

    def http(
        self, namespace: str, address: str, path: str, port: int = 80, headers: str = "", method: str = "GET", name: str = ""
    ) -> str:
        """Status and body of a request from `namespace`, for the address or another `name`."""
        with self.connected(namespace, address, port) as handle:
            handle.sendall(f"{method} {path} HTTP/1.0\r\nHost: {name or address}\r\n{headers}\r\n".encode())
            data = b""
            while part := handle.recv(65536):
                data += part
        head, _, body = data.partition(b"\r\n\r\n")
        return f"{head.split()[1].decode()} {body.decode()}"

    def asked(self, namespace: str, server: str, name: str) -> str:
        """The first address that a name server has for `name`; its error number otherwise ("3": no such name)."""
        labels = b"".join(len(label).to_bytes(1, "big") + label for label in name.encode().split(b"."))
        with self.open(namespace, socket.SOCK_DGRAM) as handle:
            handle.settimeout(2.0)
            handle.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01", (server, 53))
            try:
                answer = handle.recv(4096)
            except OSError:
                return "silence"
        if answer[3] & 0x0F or not answer[7]:
            return str(answer[3] & 0x0F)
        return socket.inet_ntoa(answer[-4:]) if answer[7] == 1 else f"{answer[7]} answers"


def boot_data() -> BootData:
    """Who the router of a lab is."""
    guest = Segment(key="net-1", traffic=Traffic.GUEST)
    public = Segment(key="public-1", traffic=Traffic.PUBLIC)
    return BootData(
        machine="11111111-2222-3333-4444-555555555555",
        incarnation=1,
        name="r-4-VM",
        kind=Kind.ROUTER,
        runtime=Runtime.CONTAINER,
        hostname="r-4-VM",
        nics=(
            Nic(device=0, mac=ROUTER_GUEST_MAC, segment=guest, addresses=("10.1.1.1/24",)),
            Nic(
                device=2,
                mac=ROUTER_PUBLIC_MAC,
                segment=public,
                addresses=("203.0.113.10/24",),
                gateway="203.0.113.1",
                default=True,
            ),
        ),
        state_key=secrets.token_hex(16),
    )


def sh(*argv: str) -> str:
    """Output of a program; an error fails the test."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
