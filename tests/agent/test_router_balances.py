"""A router's load balancer with real HAProxy and real web servers behind it: who is asked, who stays with whom, who is left
out, and what is told on the way.
"""

import contextlib
import re
import socket
import ssl
import subprocess
import threading
from collections import Counter

import pytest

from sysvm.basics.digest import digest
from sysvm.wire.balancing import (
    Algorithm,
    Balancing,
    Carried,
    Certificate,
    HealthCheck,
    MemberSeen,
    StickyBy,
)
from sysvm.wire.channel import MembersReport
from tests.agent.balancer import (
    MEMBERS,
    OPEN,
    answers,
    backend,
    certificate,
    get,
    live,
    notices,
    rule,
    sessions,
    sticky,
)
from tests.agent.balancer import (
    world as world,
)
from tests.agent.documents import OUTSIDE, PUBLIC, SECOND, allow, interfaces, router
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root


# ---------------------------------------------------------------- who is asked
def test_each_member_has_its_turn(world: Lab) -> None:
    live(world, rule())
    assert Counter(dict.fromkeys(MEMBERS, 3)) == Counter(get(world).split()[0] for _ in range(9))


def test_nothing_comes_in_without_a_firewall_rule(world: Lab) -> None:
    """The gate is shut for a load balancer's port as for any other."""
    world.apply(router(balancing=Balancing(rules=(rule(),))))
    assert world.is_blocked(world.outside, PUBLIC, 80)
    world.apply(router(balancing=Balancing(rules=(rule(),)), firewall=(allow("one", 80, sources=("198.51.100.0/24",)),)))
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
def test_a_cookie_of_the_application_keeps_a_client(world: Lab, params: dict[str, str], path: str, headers: str) -> None:
    """The member that has set the session gets all of it."""
    live(world, rule(82, stickiness=sticky(StickyBy.APP_COOKIE, **params)))
    login = get(world, 82, "/login?JSESSIONID=abc").split()[0]
    assert {login} == answers(world, 6, 82, path=path, headers=headers)
    assert set(MEMBERS) == answers(world, 6, 82)


# ---------------------------------------------------------------- who is left out
def seen(lab: Lab, since: int, *members: MemberSeen) -> None:
    """The router has told this of its members."""
    assert lab.host is not None
    host = lab.host

    def told() -> bool:
        return any(isinstance(n, MembersReport) and set(members) == set(n.members) for n in host.notices[since:])

    until(told, f"the router to tell {members}")


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
