"""An agent with a kernel of its own (a VM's) beside another incarnation that serves: everything is live behind shut ports,
nothing is told of what nobody can see from there, and when the ports are opened neighbours hear of it and members count as well.
"""

import signal
import socket
from collections.abc import Iterator

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.balancing import Balancing, HealthCheck, MemberSeen
from sysvm.wire.channel import AgentHello, AgentReport, DriftReport, MembersReport, TrafficReport, TunnelsReport
from sysvm.wire.handover import Connections, StandBy, TakeConnections, Taken, TakeOver, TellConnections
from sysvm.wire.machines import Runtime
from tests.agent.balancer import MEMBERS, OPEN, backend, get, rule, servers
from tests.agent.documents import dhcp, dns, egress, metadata, router, source_nat
from tests.agent.lab import ROUTER_GUEST_MAC, Lab, boot_data, until

pytestmark = pytest.mark.root
# A member that is down comes back by itself after ten good checks only.
CHECK = HealthCheck(path="/ping", response_s=1, interval_s=1, healthy=10, unhealthy=1)
DOCUMENT = router(
    dhcp=dhcp(), dns=dns(), metadata=metadata(), firewall=OPEN, source_nat=source_nat(), egress=egress(True),
    balancing=Balancing(rules=(rule(80, members=MEMBERS[:1], health_check=CHECK),)),
)  # fmt: skip
SEEN = (MembersReport, DriftReport, TrafficReport, TunnelsReport)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A router that is told to be a VM and that another incarnation serves; nobody is behind it yet."""
    made = Lab()
    try:
        made.build()
        boot = msgspec.structs.replace(boot_data(), standby=True, runtime=Runtime.VM)
        made.paths.boot_data.write_bytes(msgspec.json.encode(boot))
        made.start_agent()
        yield made
    finally:
        made.remove()


def call(lab: Lab, body: StandBy | TakeOver) -> AgentReport:
    """The agent's answer."""
    assert lab.host is not None
    return lab.host.call(body, AgentReport)


def told(lab: Lab) -> list[object]:
    """What it has said of what it sees."""
    assert lab.host is not None
    return [notice for notice in lab.host.notices if isinstance(notice, SEEN)]


def member_is(lab: Lab, *, up: bool) -> bool:
    """What HAProxy makes of the one member."""
    return [up] == [each.up for each in servers(lab)]


def test_everything_is_live_behind_shut_ports_and_only_ready_is_said(lab: Lab):
    report = lab.apply(DOCUMENT)
    assert ("", True, digest(DOCUMENT), ()) == (report.live, report.standby, report.ready, report.faults)
    assert {"dnsmasq", "apache2", "haproxy"} <= set(lab.daemons())


def test_that_nobody_is_seen_from_there_is_no_news(lab: Lab):
    until(lambda: member_is(lab, up=False), "the member is taken out")
    dnsmasq = lab.daemons()["dnsmasq"]
    for pid in dnsmasq:
        lab.out(lab.router, "kill", str(pid))
    until(lambda: lab.daemons().get("dnsmasq", dnsmasq).isdisjoint(dnsmasq), "dnsmasq is started again")
    assert [] == told(lab)


def test_after_a_restart_it_is_behind_shut_ports_still(lab: Lab):
    assert lab.host is not None
    heard = len(lab.host.notices)
    lab.kill_agent(signal.SIGKILL)
    lab.start_agent()
    assert lab.host.heard(AgentHello, heard).standby
    assert digest(DOCUMENT) == until(lambda: lab.report().ready, "it is ready")
    assert ("", []) == (lab.report().live, told(lab))


def test_connections_are_taken_and_told(lab: Lab):
    assert lab.host is not None
    lab.guest_address(f"{MEMBERS[0]}/24")
    lab.serve(lab.outside, "203.0.113.1", 9000)
    with lab.connected(lab.guest, "203.0.113.1", 9000) as stream:
        assert stream.recv(100).startswith(b"203.0.113.10 ")
        found = lab.host.call(TellConnections(), Connections)
        assert len(found.entries) == 1
        lab.out(lab.router, "conntrack", "-F")
        assert Taken(taken=1) == lab.host.call(TakeConnections(found), Taken)
        stream.sendall(b"still there?")
        assert stream.recv(100) == b"still there?"


def test_when_it_takes_over_neighbours_hear_of_it_and_members_count_as_well(lab: Lab):
    assert lab.host is not None
    server = backend(lab, 8000, MEMBERS[0])
    try:
        with lab.open_raw(lab.guest) as ear:
            ear.bind(("eth0", 0x0806))
            ear.settimeout(10.0)
            report = call(lab, TakeOver())
            assert (digest(DOCUMENT), False) == (report.live, report.standby)
            assert get(lab).startswith(MEMBERS[0])
            announced = b"\x00\x01" + bytes.fromhex(ROUTER_GUEST_MAC.replace(":", "")) + socket.inet_aton("10.1.1.1")
            while announced not in ear.recv(100):
                pass
        up = (MemberSeen(rule="rule-80", address=MEMBERS[0], up=True),)
        assert up == lab.host.heard(MembersReport).members
    finally:
        server.kill()
        server.wait()


def test_the_one_that_served_goes_on_behind_shut_ports_to_be_heard_again_at_once(lab: Lab):
    before = set(lab.daemons())
    for _ in range(2):
        report = call(lab, StandBy())
        assert ("", True, digest(DOCUMENT), False) == (report.live, report.standby, report.ready, report.carries)
    assert before == set(lab.daemons())
    count = len(told(lab))
    until(lambda: member_is(lab, up=False), "the member, whose server has ended, is taken out")
    assert count == len(told(lab))
    report = call(lab, TakeOver())
    assert (digest(DOCUMENT), False) == (report.live, report.standby)
