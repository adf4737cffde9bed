"""A router with a rate: how fast real traffic gets through, against the same router without one; and what is mended."""

import msgspec
import pytest

from sysvm.agent.roles.router import shaping
from sysvm.wire.channel import DriftReport
from sysvm.wire.documents import Interface
from tests.agent.documents import OUTSIDE, egress, interfaces, router, source_nat
from tests.agent.lab import Lab, until

root = pytest.mark.root
BYTES = 3_000_000


def limited(mbit: int) -> tuple[Interface, ...]:
    """The public interface has a rate."""
    guest, public = interfaces()
    return guest, msgspec.structs.replace(public, rate_mbit=mbit)


def live(lab: Lab, mbit: int) -> None:
    """A document with this limit is."""
    lab.make_live(router(interfaces=limited(mbit), source_nat=source_nat(), egress=egress(True)))


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """The lab with a sink outside that tells how long the bytes took to come."""
    lab.apply(router())
    lab.guest_address()
    return lab


def sent(lab: Lab) -> float:
    """Bytes a second from the guest to the outside, as the receiver has measured it."""
    program = (
        "import socket, time; door = socket.create_server(('203.0.113.1', 9)); print('up', flush=True);"
        "link, _ = door.accept(); count = len(link.recv(1)); begun = time.monotonic()\n"
        "while data := link.recv(65536): count += len(data)\n"
        "print(count / (time.monotonic() - begun))"
    )
    sink = lab.spawn(lab.outside, "python3", "-c", program, stdout=-1)
    try:
        assert sink.stdout is not None
        assert sink.stdout.readline() == b"up\n"
        with lab.connected(lab.guest, OUTSIDE, 9) as handle:
            handle.settimeout(60.0)
            handle.sendall(b"x" * BYTES)
        return float(sink.stdout.readline())
    finally:
        sink.kill()
        sink.communicate()


@root
def test_a_rate_slows_what_leaves_and_its_end_frees_it(world: Lab) -> None:
    """Each against the other in the same run; a rate twice as high is about twice as fast."""
    live(world, 0)
    free = sent(world)
    live(world, 8)
    slow = sent(world)
    live(world, 16)
    faster = sent(world)
    live(world, 0)
    assert slow < free / 5 and sent(world) > 5 * slow
    assert 1.5 < faster / slow < 2.6
    assert 0.6 < slow / 1_000_000 < 1.5


@root
def test_a_rate_that_somebody_takes_away_comes_back(world: Lab) -> None:
    """Drift is told and mended; counters of a busy queue are none."""
    live(world, 8)
    assert world.host is not None
    since = len(world.host.notices)
    world.out(world.router, "tc", "qdisc", "del", "dev", "eth2", "root")
    report = world.host.heard(DriftReport, since)
    assert (report.service, report.mended) == ("shaping", True)
    assert "tbf" in world.out(world.router, "tc", "qdisc", "show", "dev", "eth2")
    live(world, 0)
    assert "tbf" not in until(lambda: world.out(world.router, "tc", "qdisc", "show", "dev", "eth2"), "a queue")


def test_only_what_differs_is_changed() -> None:
    """Nothing when equal; a new rate replaces; none removes."""
    assert shaping.steps({"eth2": 1_000_000, "eth0": 0}, {"eth2": 1_000_000}) == ()
    assert shaping.steps({"eth2": 0}, {"eth2": 5}) == ("qdisc del dev eth2 root",)
    (line,) = shaping.steps({"eth2": 1_000_000}, {"eth2": 5})
    assert line == "qdisc replace dev eth2 root tbf rate 8000000bit burst 16384 latency 50ms"
