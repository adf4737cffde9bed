"""An agent in a container whose other incarnation serves on another host: it has its namespace for itself, so all is live in it
behind shut ports. Once it has served, it is one of those that share a namespace; unless its service has gone to another host."""

import signal
from collections.abc import Iterator

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import AgentHello, AgentReport
from sysvm.wire.handover import StandBy, TakeOver
from tests.agent.documents import dhcp, dns, egress, router, source_nat
from tests.agent.lab import Lab, boot_data, until

pytestmark = pytest.mark.root
DOCUMENT = router(dhcp=dhcp(), dns=dns(), source_nat=source_nat(), egress=egress(True))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A router in a container that another host's incarnation serves; its NICs are its own."""
    made = Lab()
    try:
        made.build()
        boot = msgspec.structs.replace(boot_data(), standby=True, apart=True)
        made.paths.boot_data.write_bytes(msgspec.json.encode(boot))
        made.start_agent()
        yield made
    finally:
        made.remove()


def call(lab: Lab, body: StandBy | TakeOver) -> AgentReport:
    """The agent's answer."""
    assert lab.host is not None
    return lab.host.call(body, AgentReport)


def restarted(lab: Lab) -> AgentHello:
    """What it says first in its next life."""
    assert lab.host is not None
    heard = len(lab.host.notices)
    lab.kill_agent(signal.SIGKILL)
    lab.start_agent()
    return lab.host.heard(AgentHello, heard)


def test_all_is_live_there_and_only_ready_is_said_also_after_a_restart(lab: Lab):
    report = lab.apply(DOCUMENT)
    assert ("", True, digest(DOCUMENT), ()) == (report.live, report.standby, report.ready, report.faults)
    assert "dnsmasq" in lab.daemons()
    assert restarted(lab).standby
    assert digest(DOCUMENT) == until(lambda: lab.report().ready, "it is ready")


def test_it_takes_over_and_goes_on_behind_shut_ports_when_its_service_leaves(lab: Lab):
    """To be called back at any time."""
    for _ in range(2):
        report = call(lab, TakeOver())
        assert (digest(DOCUMENT), False, ()) == (report.live, report.standby, report.faults)
        assert call(lab, StandBy(apart=True)).standby
        assert "dnsmasq" in lab.daemons()


def test_one_that_has_served_makes_room_in_its_namespace_for_the_next_one(lab: Lab):
    """It writes nothing there any more, whatever its boot data say."""
    assert not call(lab, TakeOver()).standby
    assert not restarted(lab).standby
    report = call(lab, StandBy())
    assert (True, "") == (report.standby, report.live)
    assert "dnsmasq" not in lab.daemons()
    assert restarted(lab).standby
    lab.apply(DOCUMENT)
    assert "dnsmasq" not in lab.daemons()
