"""Two routers of a pair, with real keepalived and conntrackd: one serves, one is ready, and connections outlive the first."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import RedundancyReport
from sysvm.wire.redundancy import RedundantState
from tests.agent.documents import OUTSIDE, PUBLIC, ROUTER, dhcp, dns, egress, metadata, source_nat
from tests.agent.lab import until
from tests.agent.pair import OWN, SHARED, Half, Switch

pytestmark = pytest.mark.root
PORT = 7000
SECTIONS = {
    "dhcp": dhcp(), "dns": dns(), "metadata": metadata(), "source_nat": source_nat(), "egress": egress(True),
}  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Half, Half]]:
    """Both, with their agents."""
    switch = Switch()
    with ExitStack() as stack:
        stack.callback(switch.remove)
        switch.build()
        halves = []
        for number in (1, 2):
            half = Half(switch, number)
            stack.callback(half.remove)
            half.build()
            half.start_agent()
            halves.append(half)
        yield halves[0], halves[1]


def addresses(half: Half) -> set[str]:
    """Shared addresses that it has now."""
    seen = json.loads(half.out(half.router, "ip", "-j", "address", "show"))
    held = {f"{each['local']}/{each['prefixlen']}" for link in seen for each in link["addr_info"]}
    return held & set(SHARED)


def serves(half: Half) -> bool:
    """It has all of them, and says so."""
    return addresses(half) == set(SHARED) and half.report().redundancy == RedundantState.PRIMARY


def waits(half: Half) -> bool:
    """It has none of them, and says so."""
    return not addresses(half) and half.report().redundancy == RedundantState.BACKUP


class Stream:
    """A connection of the guest through source NAT on which only the server outside speaks."""

    def __init__(self, half: Half) -> None:
        self._door = half.open(half.outside)
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._door.bind((OUTSIDE, PORT))
        self._door.listen(1)
        self._end = threading.Event()
        self._guest = half.open(half.guest)
        self._guest.settimeout(30)
        self._guest.connect((OUTSIDE, PORT))
        self._server, (self.seen_as, _) = self._door.accept()
        threading.Thread(target=self._speak, daemon=True).start()

    def _speak(self) -> None:
        with suppress(OSError):
            while not self._end.wait(0.05):
                self._server.send(b".")

    def goes_on(self) -> bool:
        """Something new has come."""
        self._guest.setblocking(False)
        with suppress(BlockingIOError):
            while self._guest.recv(65536):
                pass
        self._guest.settimeout(30)
        return self._guest.recv(1) == b"."

    def close(self) -> None:
        """The end."""
        self._end.set()
        for each in (self._guest, self._server, self._door):
            each.close()


def entries(half: Half, port: int = PORT) -> str:
    """Of its kernel, those about the stream."""
    return half.out(half.router, "conntrack", "-L", "-p", "tcp", "--dport", str(port))


def test_a_router_that_was_alone_goes_on_as_the_first_of_a_pair(pair: tuple[Half, Half]):
    first, _ = pair
    assert digest(first.alone(**SECTIONS)) == first.apply(first.alone(**SECTIONS)).live
    stream = Stream(first)
    document = first.paired(peer=False, **SECTIONS)
    report = first.apply(document)
    assert ((), digest(document)) == (report.faults, report.live)
    assert RedundantState.PRIMARY == report.redundancy
    assert stream.goes_on()
    stream.close()
    assert [] == left_off(first)


def left_off(half: Half) -> list[RedundancyReport]:
    """When it said that it serves no more."""
    assert half.host is not None
    serves_on = RedundancyReport(RedundantState.PRIMARY)
    return [notice for notice in half.host.notices if isinstance(notice, RedundancyReport) and notice != serves_on]


def test_who_comes_second_waits_with_everything_ready(pair: tuple[Half, Half]):
    first, second = pair
    for half in pair:
        document = half.paired(**SECTIONS)
        report = half.apply(document)
        assert ((), digest(document)) == (report.faults, report.live)
    until(lambda: serves(first) and waits(second), "the first one serves")
    assert [] == left_off(first)
    assert {"keepalived", "conntrackd", "dnsmasq", "apache2"} <= set(second.daemons())
    tables = second.out(second.router, "nft", "list", "tables")
    assert "sysvm_backup" in tables
    assert "sysvm_backup" not in first.out(first.router, "nft", "list", "tables")


def test_who_waits_tells_nobody_that_there_is_no_way_out(pair: tuple[Half, Half]):
    """What a guest sends to the one that has just stopped serving is sent again, to the other one."""
    first, second = until(lambda: agreed(pair), "one serves, and one waits")
    far, via = "198.51.100.77", OWN[pair.index(second)]
    first.out(first.guest, "ip", "route", "add", far, "via", via)
    try:
        assert first.is_blocked(first.guest, far, 80)
    finally:
        first.out(first.guest, "ip", "route", "del", far)


def test_a_guest_is_not_heard_by_the_pair(pair: tuple[Half, Half]):
    """Its words of VRRP with the highest priority and its entries of connections end at the rules."""
    first, _ = pair
    rules = json.dumps(first.nft())
    assert OWN[1] in rules
    with first.open(first.guest, socket.SOCK_DGRAM) as handle:
        handle.sendto(b"x" * 64, (OWN[0], 3780))
    vrrp = bytes((0x21, 51, 255, 1, 0, 1)) + bytes(10)
    with suppress(OSError), first.open_raw(first.guest) as raw:
        raw.bind(("eth0", 0))
        raw.send(vrrp)
    assert serves(first)


def agreed(pair: tuple[Half, Half]) -> tuple[Half, Half] | None:
    """The one that serves and the one that waits; None as long as it is not so."""
    for first, second in (pair, pair[::-1]):
        if serves(first) and waits(second):
            return first, second
    return None


def test_when_keepalived_is_killed_one_of_them_serves_and_it_runs_again(pair: tuple[Half, Half]):
    first, _ = pair
    before = first.daemons()["keepalived"]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not before & first.daemons().get("keepalived", before), "keepalived is another one")
    serving, _ = until(lambda: agreed(pair), "one serves, and one waits")
    assert "203.0.113.10" == seen_as(serving)


def seen_as(half: Half) -> str:
    """The address from which the guest is seen outside."""
    stream = Stream(half)
    stream.close()
    return str(stream.seen_as)


def test_who_waits_does_not_know_of_a_handshake_before_it_is_answered(pair: tuple[Half, Half]):
    """It would take the rest of it for invalid, and drop what the guest says until the entry is forgotten."""
    first, second = until(lambda: agreed(pair), "one serves, and one waits")
    unheard = PORT + 1
    for words in ("table ip deaf", "chain ip deaf input { type filter hook input priority 0 ; }"):
        first.out(first.outside, "nft", f"add {words}")
    first.out(first.outside, "nft", f"add rule ip deaf input tcp dport {unheard} drop")
    with first.open(first.guest) as guest:
        guest.setblocking(False)
        guest.connect_ex((OUTSIDE, unheard))
        until(lambda: "SYN_SENT" in entries(first, unheard), "the first one has seen the beginning")
        stream = Stream(first)
        until(lambda: "ESTABLISHED" in entries(second), "the second one knows what came later")
        assert "SYN_SENT" in entries(first, unheard)
        assert "" == entries(second, unheard).strip()
        stream.close()
    first.out(first.outside, "nft", "delete table ip deaf")


def test_a_stream_outlives_the_one_that_served(pair: tuple[Half, Half]):
    """Everything of the first one dies at once; only the server speaks on the stream."""
    first, second = until(lambda: agreed(pair), "one serves, and one waits")
    stream = Stream(first)
    assert PUBLIC == stream.seen_as
    until(lambda: "ESTABLISHED" in entries(second), "the second one knows the connection")
    assert second.host is not None
    heard = len(second.host.notices)
    for name in ("keepalived", "conntrackd"):
        stop(first, name)
    first.out(first.router, "ip", "link", "set", "eth0", "down")
    first.out(first.router, "ip", "link", "set", "eth2", "down")
    assert RedundancyReport(RedundantState.PRIMARY) == second.host.heard(RedundancyReport, heard)
    assert addresses(second) == set(SHARED)
    assert stream.goes_on()
    stream.close()
    assert "sysvm_backup" not in second.out(second.router, "nft", "list", "tables")
    assert "200 i-2-3-VM" == second.http(second.guest, ROUTER, "/latest/instance-id")
    assert "10.1.1.5" == second.asked(second.guest, ROUTER, "web.cs2.cloud.internal")


def stop(half: Half, name: str) -> None:
    """All its processes stand still, and s6 does not start others."""
    for pid in half.daemons()[name]:
        os.kill(pid, signal.SIGSTOP)
