"""Connections of one router's kernel are carried to another kernel, which goes on with them: as a guest and a world outside
that the second router is suddenly in the place of the first notice nothing.

    guest ── bridge ── first | second ── bridge ── outside        (the routers have the same MACs and addresses)
"""

import ctypes
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sysvm.agent import connections
from sysvm.agent.connections import Teller, take
from sysvm.wire.handover import Connections, Taken, Which

pytestmark = pytest.mark.root
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
RULES = """
table inet t {
 chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname "eth0" accept; ct status dnat accept; }
 chain dstnat { type nat hook prerouting priority -100; iifname "eth1" meta nfproto ipv4 tcp dport 2222 dnat ip to 10.1.1.10:22; }
 chain srcnat { type nat hook postrouting priority 100; oifname "eth1" meta nfproto ipv4 snat ip to 203.0.113.10; }
}
"""  # noqa: E501
Pair = tuple[socket.socket, socket.socket]


def sh(*words: str, said: str = "") -> str:
    """The program's output."""
    return subprocess.run(words, input=said, check=True, capture_output=True, text=True).stdout


class Town:
    """The namespaces; routers `first` and `second`, of which one is plugged in."""

    def __init__(self) -> None:
        self._mark = f"svc{secrets.token_hex(3)}"
        self._servers: dict[str, socket.socket] = {}

    def build(self) -> None:
        """Everything; the first router is plugged in."""
        for place in ("switch", "guest", "outside", "first", "second"):
            sh("ip", "netns", "add", self.name(place))
            sh("ip", "-n", self.name(place), "link", "set", "lo", "up")
        for bridge in ("inner", "outer"):
            self.ip("switch", f"link add {bridge} type bridge", f"link set {bridge} up")
        self._plug("guest", "eth0", "02:00:00:00:00:10", "10.1.1.10/24", "fd00::10/64", "inner")
        self._plug("outside", "eth0", "02:00:00:00:00:64", "203.0.113.100/24", "fd01::64/64", "outer")
        self.ip("guest", "route add default via 10.1.1.1", "route add default via fd00::1")
        self.ip("outside", "route add fd00::/64 via fd01::1")
        for router in ("first", "second"):  # never both at once: one would find its link-local address taken, by the other
            self._plug(router, "eth0", "02:00:00:00:01:01", "10.1.1.1/24", "fd00::1/64")
            self._plug(router, "eth1", "02:00:00:00:01:02", "203.0.113.10/24", "fd01::1/64")
            switches = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            sh("ip", "netns", "exec", self.name(router), "sysctl", "-qw", *switches)
            sh("ip", "netns", "exec", self.name(router), "nft", "-f", "-", said=RULES)
        self.instead("first", "second")
        for place, address, port in (("outside", "203.0.113.100", 5000), ("guest", "10.1.1.10", 22)):
            door = self.inside(place, lambda address=address, port=port: socket.create_server((address, port)))  # type: ignore[misc]
            self._servers[place] = door
        self._servers["six"] = self.inside("outside", lambda: socket.create_server(("fd01::64", 5000), family=socket.AF_INET6))

    def remove(self) -> None:
        """Nothing is left."""
        for server in self._servers.values():
            server.close()
        for place in ("guest", "outside", "first", "second", "switch"):
            subprocess.run(("ip", "netns", "delete", self.name(place)), check=False, capture_output=True)

    def name(self, place: str) -> str:
        """Of the namespace."""
        return f"{self._mark}-{place}"

    def ip(self, place: str, *lines: str) -> None:
        """Lines for `ip`."""
        sh("ip", "-n", self.name(place), "-batch", "-", said="\n".join([*lines, ""]))

    def _plug(self, place: str, device: str, mac: str, four: str, six: str, bridge: str = "") -> None:
        port = f"{place[:3]}{device}"
        self.ip(
            "switch",
            f"link add {port} type veth peer name {device} address {mac} netns {self.name(place)}",
            f"link set {port} {f'master {bridge}' if bridge else ''} up",
        )
        lines = (f"address add {four} dev {device}", f"address add {six} dev {device} nodad", f"link set {device} up")
        self.ip(place, *lines)

    def instead(self, serves: str, rests: str) -> None:
        """One router is plugged in, and the other is not."""
        gone = (f"link set {rests[:3]}{device} nomaster" for device in ("eth0", "eth1"))
        come = (f"link set {serves[:3]}{device} master {bridge}" for device, bridge in (("eth0", "inner"), ("eth1", "outer")))
        self.ip("switch", *gone, *come)

    def inside(self, place: str, work: Callable[[], T]) -> T:
        """What `work` gives in the namespace."""
        made: list[T] = []

        def enter() -> None:
            with (Path("/run/netns") / self.name(place)).open() as handle:
                assert _libc.setns(handle.fileno(), 0x40000000) == 0
            made.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def call(self, caller: str, called: str, door: str = "") -> Pair:
        """A connection from one to the other, both ends."""
        where = {"outside": ("203.0.113.100", 5000), "guest": ("203.0.113.10", 2222), "six": ("fd01::64", 5000)}
        here = self.inside(caller, lambda: socket.create_connection(where[door or called], 10.0))
        there = self._servers[door or called].accept()[0]
        there.settimeout(10.0)
        return here, there

    def carry(self, teller: Teller, which: Which) -> Taken:
        """From the first to the second, page by page."""
        taken = refused = 0
        more = True
        while more:
            told = self.inside("first", lambda: teller.tell(which))  # noqa: B023 (called at once)
            done = self.inside("second", lambda: take(told))  # noqa: B023
            taken, refused = taken + done.taken, refused + done.refused
            which, more = Which.MORE, told.more
        return Taken(taken=taken, refused=refused)

    def tracked(self, router: str) -> set[tuple[str, ...]]:
        """The connections of a router's kernel, without their clocks and ends by themselves."""
        lines = sh("ip", "netns", "exec", self.name(router), "conntrack", "-L").splitlines()
        lines += sh("ip", "netns", "exec", self.name(router), "conntrack", "-L", "-f", "ipv6").splitlines()
        words = (line.split() for line in lines)
        return {(each[0], *each[3:]) for each in words if "tcp" in each[0] or "udp" in each[0]}


@pytest.fixture
def town() -> Iterator[Town]:
    """Removed also on failure."""
    made = Town()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def speaks(pair: Pair) -> bool:
    """Both ways, beginning with the one that was called."""
    here, there = pair
    there.sendall(b"are you there?")
    heard = here.recv(100)
    here.sendall(b"yes")
    return (heard, there.recv(100)) == (b"are you there?", b"yes")


def test_streams_go_on_behind_another_kernel(town: Town):
    """Rewritten sources, rewritten ports, IPv6, a question to which no answer has come, and those born between the passes."""
    streams = [town.call("guest", "outside"), town.call("outside", "guest"), town.call("guest", "outside", "six")]
    asker = town.inside("guest", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    asked = town.inside("outside", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    asked.bind(("203.0.113.100", 53))
    asker.sendto(b"who?", ("203.0.113.100", 53))
    asked.settimeout(10.0)
    _, back = asked.recvfrom(100)
    teller = Teller()
    assert Taken(taken=4) == town.carry(teller, Which.ALL)
    streams += [town.call("guest", "outside"), town.call("outside", "guest")]
    assert Taken(taken=2) == town.carry(teller, Which.CHANGED)
    assert Taken(taken=0) == town.carry(teller, Which.CHANGED)
    assert town.tracked("first") == town.tracked("second")
    town.instead("second", "first")
    assert all(speaks(stream) for stream in streams)
    asked.sendto(b"I", back)
    asker.settimeout(10.0)
    assert asker.recv(100) == b"I"
    for handle in (asker, asked, *(end for stream in streams for end in stream)):
        handle.close()


def test_what_ends_in_the_router_itself_stays_there(town: Town):
    """The other router has no socket for it."""
    door = town.inside("first", lambda: socket.create_server(("10.1.1.1", 8080)))
    called = town.inside("guest", lambda: socket.create_connection(("10.1.1.1", 8080), 10.0))
    calling = town.inside("first", lambda: socket.create_connection(("203.0.113.100", 5000), 10.0))
    stream = town.call("guest", "outside")
    assert Taken(taken=1) == town.carry(Teller(), Which.ALL)
    assert 1 == len(town.tracked("second"))
    for handle in (door, called, calling, *stream):
        handle.close()


def test_what_is_there_already_is_brought_up_to_date_and_what_has_ended_ends(town: Town):
    teller = Teller()
    here, there = town.call("guest", "outside")
    kept = town.call("guest", "outside")
    town.carry(teller, Which.ALL)
    assert Taken(taken=2) == town.carry(Teller(), Which.ALL)
    before = town.tracked("first")
    here.close()
    there.close()
    sh("ip", "netns", "exec", town.name("first"), "conntrack", "-D", "-p", "tcp", "--sport", str(kept[0].getsockname()[1]))
    town.carry(teller, Which.CHANGED)
    assert town.tracked("first") == town.tracked("second") != before
    assert 1 == len(town.tracked("second"))
    for end in kept:
        end.close()


def test_a_long_table_comes_in_pages(town: Town, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "PAGE", 2)
    streams = [town.call("guest", "outside") for _ in range(5)]
    assert Taken(taken=5) == town.carry(Teller(), Which.ALL)
    assert 5 == len(town.tracked("second"))
    for stream in streams:
        for end in stream:
            end.close()


def test_what_the_kernel_will_not_take_is_counted_and_harms_nothing(town: Town):
    stream = town.call("guest", "outside")
    told = town.inside("first", lambda: Teller().tell(Which.ALL))
    wrong = Connections(entries=(b"\x02", *told.entries, told.entries[0][:-8]), ended=(b"\x02",))
    assert 1 <= town.inside("second", lambda: take(wrong)).refused
    assert town.tracked("first") == town.tracked("second")
    for end in stream:
        end.close()
