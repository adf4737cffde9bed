"""An agent beside another incarnation that serves in the same network namespace: it is ready, touches nothing, takes over
when it is told and when the other one has left, and goes on where it was after a restart.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.wire.channel import AgentHello, AgentReport
from sysvm.wire.documents import Interface
from sysvm.wire.handover import StandBy, TakeOver
from tests.agent.documents import dhcp, dns, forward, interfaces, metadata, router
from tests.agent.lab import Lab, boot_data, until

pytestmark = pytest.mark.root
DOCUMENT = router(interfaces=interfaces(), dhcp=dhcp(), dns=dns(), metadata=metadata(), port_forwards=(forward("pf", 8000, 80),))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A router whose boot data say that another incarnation serves."""
    made = Lab()
    try:
        made.build()
        made.paths.boot_data.write_bytes(msgspec.json.encode(msgspec.structs.replace(boot_data(), standby=True)))
        made.start_agent()
        yield made
    finally:
        made.remove()


def call(lab: Lab, body: StandBy | TakeOver) -> AgentReport:
    """The agent's answer."""
    assert lab.host is not None
    return lab.host.call(body, AgentReport)


def changed(lab: Lab) -> tuple[list[object], str, set[str]]:
    """What it could have changed: rules, addresses, daemons."""
    return list(lab.nft()), lab.out(lab.router, "ip", "-br", "address"), set(lab.daemons())


HOLD = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(chr(0) + sys.argv[1]); print(1)"


@contextlib.contextmanager
def other(lab: Lab) -> Iterator[None]:
    """Somebody else in the namespace has the right."""
    words = (sys.executable, "-uc", f"{HOLD}; input()", f"sysvm-holder-{boot_data().machine}")
    holder = lab.spawn(lab.router, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        yield
    finally:
        holder.communicate(b"\n")


def test_it_is_ready_and_has_touched_nothing(lab: Lab):
    before = changed(lab)
    report = lab.apply(DOCUMENT)
    assert ("", True, digest(DOCUMENT), ()) == (report.live, report.standby, report.ready, report.faults)
    assert before == changed(lab)


def test_a_document_that_is_wrong_is_not_ready(lab: Lab):
    bad = router(interfaces=(Interface(device="eth0", mac="no mac", role="guest"),))
    report = lab.apply(bad)
    assert ("", True, "") == (report.live, report.standby, report.ready)
    assert {"interfaces"} <= {fault.service for fault in report.faults}
    assert digest(DOCUMENT) == lab.apply(DOCUMENT).ready


def test_after_a_restart_it_is_ready_again_and_still_touches_nothing(lab: Lab):
    assert lab.host is not None
    before, heard = changed(lab), len(lab.host.notices)
    lab.kill_agent(signal.SIGKILL)
    lab.start_agent()
    hello = lab.host.heard(AgentHello, heard)
    assert ("", True) == (hello.live, hello.standby)
    assert digest(DOCUMENT) == until(lambda: lab.report().ready, "it is ready")
    assert before == changed(lab)


def test_it_does_not_take_over_while_another_one_has_the_right(lab: Lab):
    before = changed(lab)
    with other(lab), pytest.raises(Refused, match="still serves"):
        call(lab, TakeOver())
    assert before == changed(lab)


def test_it_takes_over_when_it_is_told_and_stays_the_holder_after_a_restart(lab: Lab):
    assert lab.host is not None
    for _ in range(2):
        report = call(lab, TakeOver())
        assert (digest(DOCUMENT), False) == (report.live, report.standby)
    assert {"dnsmasq", "apache2", "passwords"} <= set(lab.daemons())
    heard = len(lab.host.notices)
    lab.kill_agent(signal.SIGKILL)
    lab.start_agent()
    assert not lab.host.heard(AgentHello, heard).standby
    assert digest(DOCUMENT) == until(lambda: lab.report().live, "it is live again")


def test_the_one_that_stands_by_again_leaves_rules_and_addresses(lab: Lab):
    rules, addresses, _ = changed(lab)
    for _ in range(2):
        report = call(lab, StandBy())
        assert ("", True, ()) == (report.live, report.standby, report.faults)
    now_rules, now_addresses, daemons = changed(lab)
    assert (addresses, set()) == (now_addresses, daemons & {"dnsmasq", "apache2", "passwords"})
    assert len(rules) == len(now_rules)
    with other(lab):
        assert "" == lab.report().live
    assert digest(DOCUMENT) == call(lab, TakeOver()).live
