"""A router's load balancer that is changed, handed over, broken and removed: no change costs anybody a connection, and
nothing is left.
"""

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import haproxy_socket
from sysvm.basics.digest import digest
from sysvm.wire.balancing import (
    Balancing,
    Carried,
    HealthCheck,
    LoadBalancer,
    StatisticsPage,
    StickyBy,
)
from sysvm.wire.channel import AgentReport, DriftReport
from sysvm.wire.documents import RouterDocument
from sysvm.wire.handover import StandBy, TakeOver
from tests.agent.balancer import (
    MEMBERS,
    OPEN,
    Load,
    answers,
    certificate,
    control,
    get,
    info,
    live,
    notices,
    rule,
    said,
    servers,
    sticky,
    total,
    worker,
)
from tests.agent.balancer import (
    world as world,
)
from tests.agent.documents import OUTSIDE, PUBLIC, ROUTER, router
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root


# ---------------------------------------------------------------- changes
def test_members_come_and_go_without_a_new_process(world: Lab) -> None:
    """Under load no request fails, nobody who has gone is asked, no counter begins again."""
    section = f"{PUBLIC.replace('.', '_')}-91"
    live(world, rule(91, members=MEMBERS[:1]))
    process = worker(world)
    with Load(world, 91) as load:
        for members in (MEMBERS[:2], MEMBERS, MEMBERS[1:], MEMBERS[2:], MEMBERS, MEMBERS[:1], MEMBERS[:2]):
            live(world, rule(91, members=members))
            for each in members:
                count = load.served[each]
                until(lambda each=each, count=count: load.served[each] > count, f"{each} to be asked")
    assert [] == load.failed
    assert process == worker(world)
    assert sum(load.served.values()) == total(world, section)
    assert set(MEMBERS[:2]) == answers(world, 6, 91)
    pools = haproxy_socket.ask(control(world), f"show servers conn {section}").splitlines()
    assert {"5000"} == {line.split()[5] for line in pools if line.startswith(section)}, "who is added keeps connections, too"
    config = (world.paths.run / "haproxy/haproxy.cfg").read_text()
    assert 2 == config.count("server 10_1_1_"), "the next process begins with the same members"


def test_a_member_that_leaves_keeps_its_connections(world: Lab) -> None:
    """It is asked for nothing new, and forgotten when its last connection has ended."""
    live(world, rule(8081, members=MEMBERS[:1], protocol=Carried.TCP))
    with world.connected(world.outside, PUBLIC, 8081) as handle:
        assert MEMBERS[0] == said(handle)
        live(world, rule(8081, members=MEMBERS[1:], protocol=Carried.TCP))
        assert set(MEMBERS[1:]) == answers(world, 4, 8081)
        assert MEMBERS[0] == said(handle), "the connection goes on"
    until(lambda: not any("10_1_1_5" in each.name for each in servers(world)), "the member to be forgotten")


def test_a_new_rule_costs_nobody_a_connection(world: Lab) -> None:
    """A reload: a stream goes on in the old process, and no new connection is refused."""
    live(world, rule(92), rule(8082, protocol=Carried.TCP))
    process = worker(world)
    with Load(world, 92) as load, world.connected(world.outside, PUBLIC, 8082) as handle:
        for more in range(100, 106):
            live(world, rule(92), rule(8082, protocol=Carried.TCP), rule(more))
            count = sum(load.served.values())
            until(lambda count=count: sum(load.served.values()) > count + 5, "a few more requests")
            assert said(handle) in MEMBERS
    assert [] == load.failed
    assert process != worker(world)


def test_what_cannot_be_bound_changes_nothing(world: Lab) -> None:
    """An address that the router does not have: the reload fails, the process before goes on, the fault is told."""
    live(world, rule())
    process = worker(world)
    rules = (rule(), rule(rule="elsewhere", public="192.0.2.1"))
    report = world.apply(router(firewall=OPEN, balancing=Balancing(rules=rules)))
    assert [("haproxy", True)] == [(fault.service, "192.0.2.1:80: Cannot assign" in fault.why) for fault in report.faults]
    assert process == worker(world)
    assert get(world).split()[0] in MEMBERS
    live(world, rule())


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Balancing(rules=(rule(), rule(rule="other"))), "both want"),
        (Balancing(rules=(rule(70000),)), "is no port"),
        (Balancing(rules=(rule(),), max_connections=0), "connections cannot be"),
        (Balancing(rules=(rule(stickiness=sticky(StickyBy.SOURCE, expire="1h\n  log x")),)), "cannot be a parameter"),
        (Balancing(rules=(rule(stickiness=sticky(StickyBy.LB_COOKIE, mode="other")),)), "no mode"),
        (
            Balancing(rules=(rule(health_check=HealthCheck(path="/\n", response_s=1, interval_s=1, healthy=1, unhealthy=1)),)),
            "cannot be said to HAProxy",
        ),
    ],
    ids=["twice", "port", "none", "stick", "mode", "path"],
)  # fmt: skip
def test_a_part_that_cannot_be_is_refused_and_the_old_one_stays(world: Lab, broken: Balancing, why: str) -> None:
    live(world, rule())
    (fault, *_) = [fault for fault in world.apply(router(firewall=OPEN, balancing=broken)).faults if fault.service == "haproxy"]
    assert why in fault.why
    assert get(world).split()[0] in MEMBERS


# ---------------------------------------------------------------- the next process, the next incarnation
def test_a_table_of_sources_keeps_a_client_over_a_reload_and_a_handover(world: Lab) -> None:
    """The next process is told the table. HAProxy tells only when it has been told itself, or after its first ten seconds."""
    stay = rule(83, stickiness=sticky(StickyBy.SOURCE, tablesize="10k", expire="10m"))
    live(world, stay)
    until(lambda: int(info(world, "Uptime_sec")) > 11, "the process to be grown up")
    (first,) = answers(world, 6, 83)
    live(world, stay, rule(84))
    until(lambda: knows(control(world), 83, OUTSIDE), "the table in the new process")
    assert {first} == answers(world, 3, 83)
    hands_over(world, stay, first)


def knows(path: Path, port: int, source: str) -> bool:
    """Whether the table of a rule has this source."""
    return source in haproxy_socket.ask(path, f"show table {PUBLIC.replace('.', '_')}-{port}")


def hands_over(lab: Lab, stay: LoadBalancer, first: str) -> None:
    """Another incarnation in the same namespace: nobody is refused, streams go on in the old one, tables come along."""
    assert lab.host is not None
    rules = (stay, rule(84), rule(8083, protocol=Carried.TCP))
    live(lab, *rules)
    until(lambda: knows(control(lab), 83, OUTSIDE), "the table in the last process of this incarnation")
    document = router(firewall=OPEN, balancing=Balancing(rules=rules))
    with second(lab) as stage, lab.connected(lab.outside, PUBLIC, 8083) as handle:
        member = said(handle)
        with Load(lab, 84) as load:
            assert "staged" == stage(document)
            assert lab.host.call(StandBy(), AgentReport).standby
            other = lab.root / "second/run/sysvm/haproxy/control.sock"
            until(lambda: knows(other, 83, OUTSIDE), "the table in the next incarnation")
            count = sum(load.served.values())
            until(lambda: sum(load.served.values()) > count + 20, "requests after the handover")
        assert [] == load.failed
        assert {first} == answers(lab, 3, 83)
        assert member == said(handle), "the stream goes on in the one that rests"
        handle.close()
        until(lambda: not serving(lab), "the one that rests to end with its last connection")
        report = lab.host.call(TakeOver(), AgentReport)
        assert ((), digest(document)) == (report.faults, report.live), "it can take over again"
    assert set(MEMBERS) == answers(lab, 6, 84)


def serving(lab: Lab) -> bool:
    """Whether HAProxy of the lab's own agent runs."""
    return "true" in lab.out(lab.router, "s6-svstat", "-o", "up", str(lab.paths.scan / "haproxy"))


@contextlib.contextmanager
def second(lab: Lab) -> Iterator[Callable[[RouterDocument], str]]:
    """The load balancer of another incarnation; gone afterwards."""
    root = lab.root / "second"
    scan = Paths(root).scan
    scan.mkdir(parents=True)
    with (root / "s6.log").open("wb") as log:
        supervisor = lab.spawn(lab.router, "s6-svscan", str(scan), stdout=log, stderr=log)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program = lab.spawn(lab.router, sys.executable, "-m", "tests.agent.second", str(root), **pipes)
    assert program.stdin is not None and program.stdout is not None
    stdin, stdout = program.stdin, program.stdout

    def stage(document: RouterDocument) -> str:
        stdin.write(msgspec.json.encode(document) + b"\n")
        stdin.flush()
        return stdout.readline().decode().strip()

    try:
        yield stage
    finally:
        stdin.close()
        stdout.close()
        program.wait()
        subprocess.run(("s6-svunlink", "-t", "5000", str(scan), "haproxy"), check=False, capture_output=True)
        subprocess.run(("s6-svscanctl", "-t", str(scan)), check=False, capture_output=True)
        supervisor.wait()


# ---------------------------------------------------------------- care
def test_what_somebody_changes_is_mended_and_told(world: Lab) -> None:
    """A member that was put into maintenance, and a killed HAProxy."""
    live(world, rule())
    assert world.host is not None
    section = f"{PUBLIC.replace('.', '_')}-80"
    before = notices(world)
    haproxy_socket.dismiss(control(world), section, "10_1_1_6-8000")
    drift = world.host.heard(DriftReport, before)
    assert ("haproxy", True) == (drift.service, drift.mended) and "10_1_1_6" in drift.difference
    assert set(MEMBERS) == answers(world, 3)
    before = notices(world)
    for pid in world.daemons()["haproxy"]:
        with contextlib.suppress(ProcessLookupError):
            world.run(world.router, "kill", "-9", str(pid))
    until(lambda: any(isinstance(n, DriftReport) and n.service == "haproxy" for n in world.host.notices[before:]), "it")  # type: ignore[union-attr]
    until(lambda: world.report().live, "all to be live")
    assert set(MEMBERS) == answers(world, 3)


def test_the_process_that_carries_has_no_rights(world: Lab) -> None:
    """Not root, and in an empty folder."""
    live(world, rule())
    pid = worker(world)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    assert "0000000000000000" == status["CapEff"]
    assert [] == list(Path(f"/proc/{pid}/root").iterdir())


def test_the_statistics_page_is_where_it_was_asked_for(world: Lab) -> None:
    """On the guest address for guests; on the public one behind the firewall; with its password."""
    page = StatisticsPage(addresses=(ROUTER, PUBLIC), port=8081, uri="/admin?stats", user="admin", password="p a'ss$#\"x")
    live(world, rule(), statistics=page)
    assert world.http(world.guest, ROUTER, "/admin?stats", 8081).startswith("401")
    word = base64.b64encode(b"admin:p a'ss$#\"x").decode()
    text = world.http(world.guest, ROUTER, "/admin?stats;csv", 8081, f"Authorization: Basic {word}\r\n")
    assert text.startswith("200") and "203_0_113_10-80,10_1_1_5-8000" in text
    assert get(world, 8081, "/admin?stats").startswith("401")
    world.out(world.outside, "ip", "route", "replace", "10.1.1.0/24", "via", PUBLIC)
    assert world.is_blocked(world.outside, ROUTER, 8081)
    world.apply(router(balancing=Balancing(rules=(rule(),), statistics=page)))
    assert world.is_blocked(world.outside, PUBLIC, 8081)
    live(world, rule(), statistics=StatisticsPage(uri="/own", user="u", password="p"))
    assert get(world, 80, "/own").startswith("401"), "without a port it is a page of every rule that speaks HTTP"


def test_nothing_is_left_of_it(world: Lab) -> None:
    """No process, no folder, no open port, no element of a set."""
    live(world, rule(), rule(443, protocol=Carried.SSL, certificate=certificate("x.example")))
    plain = router(firewall=OPEN)
    assert digest(plain) == world.apply(plain).live
    assert "haproxy" not in world.daemons()
    assert not (world.paths.run / "haproxy").exists()
    assert "haproxy" not in {path.name for path in world.paths.scan.iterdir()}
    sets = [each["set"] for each in world.nft() if "set" in each and each["set"]["name"] == "balanced"]
    assert [None] == [each.get("elem") for each in sets], json.dumps(sets)
