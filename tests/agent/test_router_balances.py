"""A router's load balancer with real HAProxy and real web servers behind it: who is asked, who stays with whom, who is left
out, and that no change of it costs anybody a connection.
"""

import base64
import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import haproxy_socket
from sysvm.basics.digest import digest
from sysvm.wire.balancing import (
    Algorithm,
    Balancing,
    Carried,
    Certificate,
    HealthCheck,
    LoadBalancer,
    MemberSeen,
    StatisticsPage,
    Stickiness,
    StickyBy,
)
from sysvm.wire.channel import AgentReport, DriftReport, MembersReport
from sysvm.wire.documents import RouterDocument
from sysvm.wire.handover import StandBy, TakeOver
from tests.agent.documents import OUTSIDE, PUBLIC, ROUTER, SECOND, allow, interfaces, router
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root

MEMBERS = ("10.1.1.5", "10.1.1.6", "10.1.1.7")
OPEN = (allow("all", 1, 65535),)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[Lab]:
    """The lab with three web servers on port 8000 of three guest addresses, and another three on 8001."""
    lab.apply(router())
    for each in MEMBERS:
        lab.guest_address(f"{each}/24")
    (lab.root / "sick").mkdir()
    servers = [backend(lab, port, *MEMBERS) for port in (8000, 8001)]
    yield lab
    for server in servers:
        server.kill()
        server.wait()


def backend(lab: Lab, port: int, *addresses: str) -> subprocess.Popen[bytes]:
    """Web servers in the guest's namespace; serving when this returns."""
    argv = (sys.executable, "-m", "tests.agent.backend", str(lab.root / "sick"), str(port), *addresses)
    server = lab.spawn(lab.guest, *argv, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert b"serving\n" == server.stdout.readline()
    return server


def rule(port: int = 80, **more: object) -> LoadBalancer:
    """A rule with all members."""
    given = {"rule": f"rule-{port}", "public": PUBLIC, "private_port": 8000, "members": MEMBERS, **more}
    given.setdefault("algorithm", Algorithm.ROUND_ROBIN)
    return LoadBalancer(port=port, **given)  # type: ignore[arg-type]


def live(lab: Lab, *rules: LoadBalancer, **more: object) -> None:
    """These rules are live, and every port is open."""
    sections = {"firewall": OPEN, "balancing": Balancing(rules=rules, **more)}  # type: ignore[arg-type]
    document = router(**sections)
    report = lab.apply(document)
    assert ((), digest(document)) == (report.faults, report.live)


def get(lab: Lab, port: int = 80, path: str = "/", headers: str = "", public: str = PUBLIC) -> str:
    """Who answered, and what he said besides."""
    return lab.http(lab.outside, public, path, port, headers).removeprefix("200 ")


def answers(lab: Lab, count: int, port: int = 80, **more: str) -> set[str]:
    """Who answered `count` requests."""
    return {get(lab, port, **more).split()[0] for _ in range(count)}


def control(lab: Lab) -> Path:
    """HAProxy's socket."""
    return lab.paths.run / "haproxy/control.sock"


# ---------------------------------------------------------------- who is asked
def test_each_member_has_its_turn(world: Lab) -> None:
    live(world, rule())
    assert Counter(dict.fromkeys(MEMBERS, 3)) == Counter(get(world).split()[0] for _ in range(9))


def test_nothing_comes_in_without_a_firewall_rule(world: Lab) -> None:
    """The gate is shut for a load balancer's port as for any other."""
    world.apply(router(balancing=Balancing(rules=(rule(),))))
    assert world.is_blocked(world.outside, PUBLIC, 80)
    world.apply(
        router(balancing=Balancing(rules=(rule(),)), firewall=(allow("one", 80, sources=("198.51.100.0/24",)),))
    )
    assert world.is_blocked(world.outside, PUBLIC, 80)
    world.apply(router(balancing=Balancing(rules=(rule(),)), firewall=(allow("one", 80, sources=(f"{OUTSIDE}/32",)),)))
    assert get(world).split()[0] in MEMBERS


def test_the_rule_itself_looks_at_the_source(world: Lab) -> None:
    """Without its own firewall rule a CIDR list still counts."""
    live(world, rule(sources=("198.51.100.0/24", "10.0.0.0/8")), rule(81, sources=("203.0.113.0/24",)))
    with pytest.raises((OSError, IndexError)):
        get(world)
    assert get(world, 81).split()[0] in MEMBERS


def test_a_source_stays_with_its_member(world: Lab) -> None:
    live(world, rule(algorithm=Algorithm.SOURCE))
    assert 1 == len(answers(world, 6))


def test_who_has_the_fewest_connections_gets_the_next(world: Lab) -> None:
    """Three connections that are held lie with three members."""
    live(world, rule(8080, algorithm=Algorithm.LEAST_CONNECTIONS, protocol=Carried.TCP))
    with contextlib.ExitStack() as held:
        for _ in MEMBERS:
            held.enter_context(world.connected(world.outside, PUBLIC, 8080))
        until(lambda: [1, 1, 1] == sessions(world, f"{PUBLIC.replace('.', '_')}-8080"), "one connection each")


def sessions(lab: Lab, section: str) -> list[int]:
    """Connections of each member now."""
    rows = [line.split(",") for line in haproxy_socket.ask(control(lab), "show stat").splitlines()]
    return [int(row[4]) for row in rows if row[0] == section and row[1] not in ("FRONTEND", "BACKEND")]


def test_another_address_and_another_port_are_rules_of_their_own(world: Lab) -> None:
    """Two rules with the same port on two addresses, one of them not the source NAT address."""
    rules = (rule(), rule(rule="second", public=SECOND, members=MEMBERS[:1]))
    opened = (*OPEN, allow("second", 80, public=SECOND))
    document = router(interfaces=interfaces(SECOND), firewall=opened, balancing=Balancing(rules=rules))
    assert digest(document) == world.apply(document).live
    assert {MEMBERS[0]} == answers(world, 3, public=SECOND)
    assert set(MEMBERS) == answers(world, 3)


def test_a_guest_may_use_the_public_address(world: Lab) -> None:
    """From inside, through the same gate."""
    live(world, rule())
    assert world.http(world.guest, PUBLIC, "/").split()[1] in MEMBERS


# ---------------------------------------------------------------- who stays with whom
def sticky(method: StickyBy, **params: str) -> Stickiness:
    return Stickiness(method=method, params={name.replace("_", "-"): value for name, value in params.items()})


def cookie_of(lab: Lab, port: int, path: str = "/") -> str:
    """The cookie that an answer sets."""
    with lab.connected(lab.outside, PUBLIC, port) as handle:
        handle.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        text = b"".join(iter(lambda: handle.recv(65536), b"")).decode()
    found = re.search(r"(?im)^set-cookie: ([^;\r]+)", text)
    return found[1] if found else ""


def test_a_cookie_of_the_load_balancer_keeps_a_client(world: Lab) -> None:
    """Whoever shows it comes to the same member; it does not tell the member's address."""
    live(world, rule(81, stickiness=sticky(StickyBy.LB_COOKIE, cookie_name="stay", nocache="true", indirect="true")))
    cookie = cookie_of(world, 81)
    assert cookie.startswith("stay=") and "10" not in cookie.split("=")[1][:2]
    assert 1 == len(answers(world, 6, 81, headers=f"Cookie: {cookie}\r\n"))
    assert set(MEMBERS) == answers(world, 6, 81)


@pytest.mark.parametrize(
    ("params", "path", "headers"),
    [
        ({}, "/", "Cookie: JSESSIONID=abc\r\n"),
        ({}, "/x;JSESSIONID=abc", ""),
        ({"mode": "query-string"}, "/x?JSESSIONID=abc", ""),
        ({"prefix": "true"}, "/", "Cookie: other=1; JSESSIONID=abc\r\n"),
        ({"length": "20", "holdtime": "10m", "request_learn": "true"}, "/", "Cookie: JSESSIONID=abc\r\n"),
    ],
    ids=["cookie", "path", "query", "prefix", "learn"],
)
def test_a_cookie_of_the_application_keeps_a_client(
    world: Lab, params: dict[str, str], path: str, headers: str
) -> None:
    """The member that has set the session gets all of it."""
    live(world, rule(82, stickiness=sticky(StickyBy.APP_COOKIE, **params)))
    login = get(world, 82, "/login?JSESSIONID=abc").split()[0]
    assert {login} == answers(world, 6, 82, path=path, headers=headers)
    assert set(MEMBERS) == answers(world, 6, 82)


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


def info(lab: Lab, name: str) -> str:
    """A line of HAProxy about itself."""
    lines = haproxy_socket.ask(control(lab), "show info").splitlines()
    return next(line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: "))


# ---------------------------------------------------------------- who is left out
def seen(lab: Lab, since: int, *members: MemberSeen) -> None:
    """The router has told this of its members."""
    assert lab.host is not None
    host = lab.host

    def told() -> bool:
        return any(isinstance(n, MembersReport) and set(members) == set(n.members) for n in host.notices[since:])

    until(told, f"the router to tell {members}")


def notices(lab: Lab) -> int:
    assert lab.host is not None
    return len(lab.host.notices)


def test_a_health_check_takes_a_member_out_and_brings_it_back(world: Lab) -> None:
    """The path decides, not the port: a server that answers 503 is out while it answers everything else."""
    check = HealthCheck(path="/ping", response_s=1, interval_s=1, healthy=2, unhealthy=1)
    before = notices(world)
    live(world, rule(85, health_check=check))
    seen(world, before, *(MemberSeen(rule="rule-85", address=each, up=True) for each in MEMBERS))
    sick, before = world.root / "sick" / MEMBERS[1], notices(world)
    sick.touch()
    seen(world, before, *(MemberSeen(rule="rule-85", address=each, up=each != MEMBERS[1]) for each in MEMBERS))
    assert {MEMBERS[0], MEMBERS[2]} == answers(world, 6, 85)
    # The next process does not begin with everybody up.
    live(world, rule(85, health_check=check), rule(86))
    assert {MEMBERS[0], MEMBERS[2]} == answers(world, 6, 85)
    before = notices(world)
    sick.unlink()
    until(lambda: set(MEMBERS) == answers(world, 3, 85), "the member to be asked again")
    assert set(MEMBERS) == answers(world, 3, 85)


def test_a_dead_member_is_out_and_nobody_notices(world: Lab) -> None:
    """Without a policy the port is looked at; until that has been seen, a refused connection goes to another member."""
    mortal = backend(world, 8002, MEMBERS[2])
    others = backend(world, 8002, *MEMBERS[:2])
    live(world, rule(80, private_port=8002))
    assert set(MEMBERS) == answers(world, 6)
    mortal.kill()
    mortal.wait()
    assert set(MEMBERS[:2]) == answers(world, 6)
    others.kill()
    others.wait()


# ---------------------------------------------------------------- TLS, PROXY
@pytest.fixture(scope="module")
def certificates() -> tuple[Certificate, Certificate]:
    """Two certificates of two names."""
    return certificate("one.example"), certificate("two.example")


def certificate(name: str) -> Certificate:
    """Of itself."""
    argv = (
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", "-", "-out", "-",
    )  # fmt: skip
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    key, _, chain = text.partition("-----BEGIN CERTIFICATE")
    return Certificate(chain=f"-----BEGIN CERTIFICATE{chain}", key=key)


def over_tls(lab: Lab, port: int) -> tuple[str, str]:
    """What the certificate is, and what was answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with lab.connected(lab.outside, PUBLIC, port) as plain, context.wrap_socket(plain) as handle:
        handle.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        text = b"".join(iter(lambda: handle.recv(65536), b"")).decode()
        shown = ssl.DER_cert_to_PEM_cert(handle.getpeercert(binary_form=True) or b"")
    named = subprocess.run(("openssl", "x509", "-noout", "-subject"), input=shown, capture_output=True, text=True)
    return named.stdout.strip(), text.partition("\r\n\r\n")[2]


def test_tls_ends_in_the_router(world: Lab, certificates: tuple[Certificate, Certificate]) -> None:
    """The member hears HTTP, and that the client spoke TLS; another certificate is live with the next connection."""
    one, two = certificates
    live(world, rule(443, protocol=Carried.SSL, certificate=one))
    name, said = over_tls(world, 443)
    assert "one.example" in name
    assert {"x-forwarded-proto=https", f"x-forwarded-for={OUTSIDE}"} == set(said.lower().split()[1:])
    live(world, rule(443, protocol=Carried.SSL, certificate=two))
    assert "two.example" in over_tls(world, 443)[0]
    keys = list((world.paths.run / "haproxy/certificates").iterdir())
    assert [0o600] == [path.stat().st_mode & 0o777 for path in keys], "one key, for root alone"


def test_a_rule_that_ends_tls_waits_for_its_certificate(world: Lab) -> None:
    live(world, rule(), rule(443, protocol=Carried.SSL))
    with pytest.raises(OSError), world.connected(world.outside, PUBLIC, 443):
        pass
    assert get(world).split()[0] in MEMBERS


def test_a_certificate_that_is_none_changes_nothing(world: Lab) -> None:
    """The router says which service and why, and what ran before runs on."""
    live(world, rule())
    broken = Certificate(chain="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key="no key")
    rules = (rule(), rule(443, protocol=Carried.SSL, certificate=broken))
    report = world.apply(router(firewall=OPEN, balancing=Balancing(rules=rules)))
    assert ("haproxy", "") == (report.faults[0].service, report.live)
    assert "certificate" in report.faults[0].why.lower() or "pem" in report.faults[0].why.lower()
    assert get(world).split()[0] in MEMBERS
    live(world, rule())


def test_a_member_is_told_who_the_client_is(world: Lab) -> None:
    """tcp-proxy: the PROXY protocol's line comes first."""
    door = world.open(world.guest)
    with door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((MEMBERS[0], 8009))
        door.listen(8)
        heard: list[bytes] = []

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with door.accept()[0] as connection:
                        heard.append(connection.recv(200))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        live(world, rule(90, protocol=Carried.TCP_PROXY, private_port=8009, members=MEMBERS[:1]))
        with world.connected(world.outside, PUBLIC, 90) as handle:
            port = handle.getsockname()[1]
            handle.sendall(b"hello")
            until(lambda: any(f"TCP4 {OUTSIDE} {PUBLIC} {port} 90".encode() in each for each in heard), "the line")
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


# ---------------------------------------------------------------- changes
class Load:
    """Requests one after the other from a few threads, until the end of the block; `failed` says which did not work."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.failed: list[str] = []
        self.served: Counter[str] = Counter()
        self._lab, self._port = lab, port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(3)]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self.served[get(self._lab, self._port).split()[0]] += 1
            except (OSError, IndexError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def worker(lab: Lab) -> int:
    """The process that carries the connections."""
    return int(info(lab, "Pid"))


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
    assert {"5000"} == {line.split()[5] for line in pools if line.startswith(section)}, (
        "who is added keeps connections, too"
    )
    config = (world.paths.run / "haproxy/haproxy.cfg").read_text()
    assert 2 == config.count("server 10_1_1_"), "the next process begins with the same members"


def total(lab: Lab, section: str) -> int:
    rows = [line.split(",") for line in haproxy_socket.ask(control(lab), "show stat").splitlines()]
    return next(int(row[7]) for row in rows if row[:2] == [section, "FRONTEND"])


def test_a_member_that_leaves_keeps_its_connections(world: Lab) -> None:
    """It is asked for nothing new, and forgotten when its last connection has ended."""
    live(world, rule(8081, members=MEMBERS[:1], protocol=Carried.TCP))
    with world.connected(world.outside, PUBLIC, 8081) as handle:
        assert MEMBERS[0] == said(handle)
        live(world, rule(8081, members=MEMBERS[1:], protocol=Carried.TCP))
        assert set(MEMBERS[1:]) == answers(world, 4, 8081)
        assert MEMBERS[0] == said(handle), "the connection goes on"
    until(lambda: not any("10_1_1_5" in each.name for each in servers(world)), "the member to be forgotten")


def said(handle: socket.socket) -> str:
    """Who answers the next request of this connection."""
    handle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    text = b""
    while not re.search(rb"\r\n\r\n[0-9.]{8}", text):
        part = handle.recv(4096)
        assert part, "the connection has ended"
        text += part
    return text.rpartition(b"\n")[2].decode()


def servers(lab: Lab) -> tuple[haproxy_socket.ServerSeen, ...]:
    return haproxy_socket.servers(haproxy_socket.state(control(lab)))


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
    assert [("haproxy", True)] == [
        (fault.service, "192.0.2.1:80: Cannot assign" in fault.why) for fault in report.faults
    ]
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
    (fault, *_) = [
        fault for fault in world.apply(router(firewall=OPEN, balancing=broken)).faults if fault.service == "haproxy"
    ]
    assert why in fault.why
    assert get(world).split()[0] in MEMBERS


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
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    assert "0000000000000000" == status["CapEff"]
    assert [] == list(Path(f"/proc/{pid}/root").iterdir())


def test_the_statistics_page_is_where_it_was_asked_for(world: Lab) -> None:
    """On the guest address for guests; on the public one behind the firewall; with its password."""
    page = StatisticsPage(
        addresses=(ROUTER, PUBLIC), port=8081, uri="/admin?stats", user="admin", password="p a'ss$#\"x"
    )
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
