"""Traffic through a demo's router that notices whatever is lost: pings, streams in which one side only listens, streams that
are born all the time, streams through a port forward, questions to the name server.

The visitor is a namespace of its own on the demo's guest network, plugged in and guarded as a guest is, and removed also
on failure. The world outside is this machine's end of the demo's uplink.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sysvm.agent.roles.router.dnsmasq import asked
from sysvm.hosts.lxc.driver import read_spec
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.network.plans import Port
from sysvm.store.queries.addresses import eui64
from sysvm.wire.machines import Nic, Traffic
from tests.boot.world import World

T = TypeVar("T")
BORN = 200
UNBORN = "not born: "  # how the loss of a stream begins that was never heard
_PATIENCE_S = 20.0  # a stream that hears nothing for so long is lost
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Seen:
    """What was noticed."""

    pings: int = 0
    pings_lost: int = 0
    streams: int = 0
    lost: list[str] = field(default_factory=list)  # streams, with what became of them
    silence_s: float = 0.0  # the longest that the stream heard nothing in which only the server speaks
    unnamed_s: float = 0.0  # the longest that the name server did not answer


class Visitor:
    """A namespace on the guest network of the demo's router."""

    def __init__(self, world: World, address: str, router: str = "router", cidr6: str = "") -> None:
        self.world = world
        self.name = f"sysvm-visit-{secrets.token_hex(3)}"
        self.mac = f"02:00:0a:{os.urandom(1).hex()}:{os.urandom(1).hex()}:fe"
        self._router, self._address, self._cidr6 = router, address, cidr6

    def plug(self) -> None:
        """A NIC with the address, and the router as its way out."""
        router = self.world.uuid(self._router)
        spec = read_spec(self.world.layout, router, self.world.incarnation(router))
        assert spec is not None
        guest = next(nic for nic in spec.nics if nic.segment.traffic is Traffic.GUEST)
        self.gateway, prefix = guest.addresses[0].split("/")
        if spec.paired:  # its own address is not where guests send to
            (self.gateway,) = guest.allowed
        held = (f"{self._address}/{prefix}", *((f"{eui64(self._cidr6, self.mac)}/64",) if self._cidr6 else ()))
        nic = Nic(device=0, mac=self.mac, segment=guest.segment, addresses=held, mtu=guest.mtu)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        inside = Path("/run/netns") / self.name
        port = Port(self._port, nic, f"{self.name}:0:0", inside)
        asyncio.run(HostNetwork(self.world.layout).ensure_ports([port]))
        lines = f"link set lo up\nlink set eth0 up\naddress add {self._address}/{prefix} dev eth0\n"
        lines += f"route add default via {self.gateway}\n"
        subprocess.run(["ip", "-n", self.name, "-batch", "-"], input=lines, text=True, check=True)

    def unplug(self) -> None:
        """Nothing of it is left."""
        with contextlib.suppress(OSError):
            asyncio.run(HostNetwork(self.world.layout).remove_port(self._port))
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

    @property
    def _port(self) -> str:
        return f"sv{self.name[-6:]}"

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` gives in the namespace."""
        return within(self.name, work)


def within(name: str, work: Callable[[], T]) -> T:
    """What `work` gives, or raises, in a namespace."""
    made: list[T] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            with (Path("/run/netns") / name).open() as handle:
                if _libc.setns(handle.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(work())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


class Outside:
    """A server in the world outside: a caller that says "listen" is spoken to for ever; any other hears an echo."""

    def __init__(self, address: str) -> None:
        self._pace = threading.Event()  # never set
        self._door = socket.create_server((address, 0), backlog=256)
        self.address: tuple[str, int] = self._door.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more callers."""
        self._door.shutdown(socket.SHUT_RDWR)  # or its thread goes on to accept from whoever has the number next
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                threading.Thread(target=self._talk, args=(caller,), daemon=True).start()

    def _talk(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            words = caller.recv(100)
            while words == b"listen":
                caller.sendall(b"on and on " * 5)
                self._pace.wait(0.01)
            while words:
                caller.sendall(words)
                words = caller.recv(100)


class Stream:
    """A connection to the server outside."""

    def __init__(self, visitor: Visitor, address: tuple[str, int], words: bytes) -> None:
        self.handle = visitor.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.handle.settimeout(_PATIENCE_S)
        self.handle.connect(address)
        self.handle.sendall(words)
        self.handle.recv(100)

    def says(self, words: bytes) -> str:
        """What is wrong with its echo; empty when nothing is."""
        try:
            self.handle.sendall(words)
            return "" if self.handle.recv(100) == words else "it ended"
        except OSError as error:
            return str(error)
        finally:
            self.handle.close()


def replaced(world: World, visitor: Visitor, doors: Mapping[str, tuple[str, int]], replace: Callable[[], object]) -> Seen:
    """What is noticed while `replace` does its work, which may raise; looks on for a second afterwards. `doors`: where guest
    one's page is reached from outside, by name; a connection through each is opened before and used afterwards."""
    seen, over = Seen(), threading.Event()
    server = Outside(world.places.outside)
    waiting = {name: socket.create_connection(door, _PATIENCE_S) for name, door in doors.items()}
    born: list[Stream] = []
    works: tuple[Callable[[], None], ...] = (
        lambda: _listen(visitor, server, seen, over),
        lambda: _bear(visitor, server, seen, born, over),
        lambda: _ask(visitor, seen, over),
    )
    threads = [threading.Thread(target=work) for work in works]
    words = ["ip", "netns", "exec", visitor.name, "ping", "-i", "0.1", "-W", "1", "-q", server.address[0]]
    pinging = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        for thread in threads:
            thread.start()
        over.wait(1.0)
        replace()
        over.wait(1.0)
    finally:
        over.set()
        pinging.send_signal(2)
        told = pinging.communicate()[0]
        for thread in threads:
            thread.join()
        _count(told, seen)
        seen.lost += [f"born during the flip: {why}" for stream in born if (why := stream.says(b"still there?"))]
        seen.lost += [f"{name}: {why}" for name, line in waiting.items() if (why := _page(line))]
        seen.streams += len(born) + len(waiting)
        server.close()
    return seen


def _listen(visitor: Visitor, server: Outside, seen: Seen, over: threading.Event) -> None:
    stream, last = Stream(visitor, server.address, b"listen"), time.monotonic()
    seen.streams += 1
    with stream.handle:
        while not over.is_set():
            try:
                if not stream.handle.recv(4096):
                    seen.lost.append("the one that only listens: it ended")
                    return
            except OSError as error:
                seen.lost.append(f"the one that only listens: {error}")
                return
            now = time.monotonic()
            seen.silence_s, last = max(seen.silence_s, now - last), now


def _bear(visitor: Visitor, server: Outside, seen: Seen, born: list[Stream], over: threading.Event) -> None:
    while not over.is_set():
        try:
            born.append(Stream(visitor, server.address, b"hello"))
        except OSError as error:
            seen.lost.append(f"{UNBORN}{error}")
            seen.streams += 1
        over.wait(0.005 if len(born) < 2 * BORN else 0.1)


def _ask(visitor: Visitor, seen: Seen, over: threading.Event) -> None:
    def work() -> None:
        last = time.monotonic()
        while not over.is_set():
            if asked(visitor.gateway, "data-server"):
                now = time.monotonic()
                seen.unnamed_s, last = max(seen.unnamed_s, now - last), now
            over.wait(0.01)
        seen.unnamed_s = max(seen.unnamed_s, time.monotonic() - last)

    visitor.inside(work)


def _count(told: str, seen: Seen) -> None:
    found = re.search(r"(\d+) packets transmitted, (\d+) received", told)
    assert found is not None, told
    seen.pings = int(found[1])
    seen.pings_lost = seen.pings - int(found[2])


def _page(waiting: socket.socket) -> str:
    """A connection that has been open all the time, and is used now; what is wrong with it."""
    with waiting:
        try:
            waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "" if waiting.recv(4096) else "it ended"
        except OSError as error:
            return str(error)


@contextlib.contextmanager
def visiting(world: World) -> Iterator[Visitor]:
    """A visitor on the demo's guest network, with an address that no guest has; unplugged at the end."""
    taken = {str(row.get("ipaddress")) for row in world.machines()}
    base = str(world.machine("one")["ipaddress"]).rpartition(".")[0]
    visitor = Visitor(world, next(f"{base}.{last}" for last in range(250, 1, -1) if f"{base}.{last}" not in taken))
    try:
        visitor.plug()
        yield visitor
    finally:
        visitor.unplug()


def balance(world: World, public: int, private: int) -> tuple[str, int]:
    """A load balancer's door with guest one behind it; where it is."""
    address = str(world.machine("router")["publicip"])
    (ip,) = world.client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=address)
    made = world.client.job(
        "createLoadBalancerRule", publicipid=ip["id"], name="balanced", algorithm="roundrobin", publicport=public,
        privateport=private, openfirewall="true",
    )  # fmt: skip
    world.client.job("assignToLoadBalancerRule", id=made["loadbalancer"]["id"], virtualmachineids=world.uuid("one"))
    return address, public


def forward(world: World, public: int, private: int) -> tuple[str, int]:
    """A port forward to guest one, which rewrites the port; where it is."""
    address = str(world.machine("router")["publicip"])
    (ip,) = world.client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=address)
    world.client.job(
        "createPortForwardingRule", ipaddressid=ip["id"], protocol="tcp", publicport=public, privateport=private,
        virtualmachineid=world.uuid("one"), openfirewall="true",
    )  # fmt: skip
    return address, public
