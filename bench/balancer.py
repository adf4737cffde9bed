"""lb.change_dropped, lb.req_per_s: the router's load balancer under wrk, with the real agent, its ruleset and real HAProxy.

Requests that fail while members come and go (none should), and requests per second against a HAProxy that somebody has
configured by hand, in namespaces of the same kind with the same ruleset. Members are HAProxy too, which answers by itself, so
that the balancer is what is measured. Both share this machine's cores with wrk and the members.
"""

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.measure import median
from bench.rows import Row, row
from sysvm.wire.balancing import Algorithm, Balancing, LoadBalancer
from tests.agent.documents import PUBLIC, allow, router
from tests.agent.lab import Lab

NAMES = ("lb.change_dropped", "lb.req_per_s")
NEEDS = ("root", "haproxy", "wrk", "nft", "s6-svscan")
MEMBERS = ("10.1.1.5", "10.1.1.6", "10.1.1.7")
_ANSWERS = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout client 60s
    timeout http-request 60s
frontend member
{binds}
    http-request return status 200 content-type text/plain string "hello"
"""
_BY_HAND = """\
global
    nbthread 2
    maxconn 4096
    user haproxy
    group haproxy
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen web
    bind {public}:80
    balance roundrobin
    option forwardfor
{servers}
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk has counted."""

    requests: int
    per_s: float
    failed: int


def run(*, tiny: bool) -> Iterator[Row]:
    """A row for each name."""
    with ours() as lab, by_hand() as other:
        yield changes(lab, 1 if tiny else 10)
        apply(lab, MEMBERS)
        ruleset = other.run(other.router, "nft", "-f", "-", said=lab.out(lab.router, "nft", "list", "ruleset"))
        assert ruleset.returncode == 0, ruleset.stderr
        seconds, times = (1, 1) if tiny else (2, 15)
        rounds = [side_by_side(lab, other, seconds) for _ in range(times)]
        own, peer = median([one for one, _ in rounds]), median([two for _, two in rounds])
        note = "32 connections that stay, 3 members, the same ruleset; both at the same time, so each has half of the machine"
        yield row("lb.req_per_s", own, "/s", better="higher", against=("HAProxy configured by hand", peer), note=note)


def side_by_side(lab: Lab, other: Lab, seconds: int) -> tuple[float, float]:
    """Requests per second of both in the same seconds, whatever else the machine has to do."""
    found: dict[str, float] = {}

    def measure(name: str, which: Lab) -> None:
        found[name] = load(which, seconds).per_s

    threads = [threading.Thread(target=measure, args=each) for each in (("ours", lab), ("other", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found["ours"], found["other"]


def changes(lab: Lab, seconds: int) -> Row:
    """Members come and go as fast as the agent makes it live."""
    counted = 0
    found: list[Load] = []
    thread = threading.Thread(target=lambda: found.append(load(lab, seconds)))
    apply(lab, MEMBERS[:1])
    thread.start()
    while thread.is_alive():
        for members in (MEMBERS[:2], MEMBERS[1:2], MEMBERS, MEMBERS[1:], MEMBERS[:1]):
            apply(lab, members)
            counted += 1
    thread.join()
    (done,) = found
    note = f"{counted} changes of members during {done.requests:,} requests"
    return row("lb.change_dropped", done.failed, "requests", note=note)


def apply(lab: Lab, members: tuple[str, ...]) -> None:
    """The rule is live with these members."""
    rule = LoadBalancer(
        rule="bench", public=PUBLIC, port=80, private_port=8000, algorithm=Algorithm.ROUND_ROBIN, keep_alive=True,
        members=members,
    )  # fmt: skip
    report = lab.apply(router(firewall=(allow("web", 80),), balancing=Balancing(rules=(rule,))))
    if report.faults:
        raise RuntimeError(report.faults[0].why)


def load(lab: Lab, seconds: int) -> Load:
    """wrk from outside."""
    said = lab.out(lab.outside, "wrk", "-t1", "-c32", f"-d{seconds}s", f"http://{PUBLIC}/")
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert requests is not None and rate is not None, said
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Load(int(requests[1]), float(rate[1]), failed + (int(other[1]) if other else 0))


# ---------------------------------------------------------------- the two balancers
@contextlib.contextmanager
def ours() -> Iterator[Lab]:
    """The agent's router, with members behind it."""
    lab = Lab()
    try:
        lab.build()
        lab.start_agent()
        lab.apply(router())
        with members_of(lab):
            yield lab
    finally:
        lab.remove()


@contextlib.contextmanager
def by_hand() -> Iterator[Lab]:
    """The same namespaces, addresses and HAProxy by hand."""
    lab = Lab()
    try:
        lab.build()
        for device, address in (("eth0", "10.1.1.1/24"), ("eth2", f"{PUBLIC}/24")):
            lab.out(lab.router, "ip", "address", "add", address, "dev", device)
            lab.out(lab.router, "ip", "link", "set", device, "up")
        servers = "\n".join(f"    server m{at} {each}:8000 check" for at, each in enumerate(MEMBERS))
        with members_of(lab), haproxy(lab, lab.router, _BY_HAND.format(public=PUBLIC, servers=servers)):
            yield lab
    finally:
        lab.remove()


@contextlib.contextmanager
def members_of(lab: Lab) -> Iterator[None]:
    """Web servers on all member addresses."""
    for each in MEMBERS:
        lab.guest_address(f"{each}/24")
    binds = "\n".join(f"    bind {each}:8000" for each in MEMBERS)
    with haproxy(lab, lab.guest, _ANSWERS.format(binds=binds)):
        yield


@contextlib.contextmanager
def haproxy(lab: Lab, namespace: str, text: str) -> Iterator[None]:
    """A HAProxy of the benchmark's own; it listens when this is entered."""
    path = lab.root / f"{namespace}.cfg"
    path.write_text(text)
    process = lab.spawn(namespace, "haproxy", "-db", "-f", str(path), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while "LISTEN" not in lab.out(namespace, "ss", "-tlnH"):
            if process.poll() is not None:
                raise RuntimeError("HAProxy by hand has ended")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()
