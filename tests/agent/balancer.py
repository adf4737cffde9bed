"""What tests of the load balancer share: web servers behind a router, rules, requests, HAProxy's own words."""

import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysvm.agent.roles.router import haproxy_socket
from sysvm.wire.balancing import (
    Algorithm,
    Balancing,
    Certificate,
    LoadBalancer,
    Stickiness,
    StickyBy,
)
from tests.agent.documents import PUBLIC, allow, router
from tests.agent.lab import Lab

MEMBERS = ("10.1.1.5", "10.1.1.6", "10.1.1.7")
OPEN = (allow("all", 1, 65535),)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[Lab]:
    """The lab with web servers on port 8000 of three guest addresses."""
    lab.apply(router())
    for each in MEMBERS:
        lab.guest_address(f"{each}/24")
    (lab.root / "sick").mkdir()
    server = backend(lab, 8000, *MEMBERS)
    yield lab
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
    lab.make_live(router(**sections))


def get(lab: Lab, port: int = 80, path: str = "/", headers: str = "", public: str = PUBLIC) -> str:
    """Who answered, and what he said besides."""
    return lab.http(lab.outside, public, path, port, headers).removeprefix("200 ")


def answers(lab: Lab, count: int, port: int = 80, **more: str) -> set[str]:
    """Who answered `count` requests."""
    return {get(lab, port, **more).split()[0] for _ in range(count)}


def control(lab: Lab) -> Path:
    """HAProxy's socket."""
    return lab.paths.run / "haproxy/control.sock"


def info(lab: Lab, name: str) -> str:
    """A line of HAProxy about itself."""
    lines = haproxy_socket.ask(control(lab), "show info").splitlines()
    return next(line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: "))


def sessions(lab: Lab, section: str) -> list[int]:
    """Connections of each member now."""
    rows = [line.split(",") for line in haproxy_socket.ask(control(lab), "show stat").splitlines()]
    return [int(row[4]) for row in rows if row[0] == section and row[1] not in ("FRONTEND", "BACKEND")]


def servers(lab: Lab) -> tuple[haproxy_socket.ServerSeen, ...]:
    return haproxy_socket.servers(haproxy_socket.state(control(lab)))


def worker(lab: Lab) -> int:
    """The process that carries the connections."""
    return int(info(lab, "Pid"))


def total(lab: Lab, section: str) -> int:
    rows = [line.split(",") for line in haproxy_socket.ask(control(lab), "show stat").splitlines()]
    return next(int(row[7]) for row in rows if row[:2] == [section, "FRONTEND"])


def notices(lab: Lab) -> int:
    assert lab.host is not None
    return len(lab.host.notices)


def sticky(method: StickyBy, **params: str) -> Stickiness:
    return Stickiness(method=method, params={name.replace("_", "-"): value for name, value in params.items()})


def said(handle: socket.socket) -> str:
    """Who answers the next request of this connection."""
    handle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    text = b""
    while not re.search(rb"\r\n\r\n[0-9.]{8}", text):
        part = handle.recv(4096)
        assert part, "the connection has ended"
        text += part
    return text.rpartition(b"\n")[2].decode()


def certificate(name: str) -> Certificate:
    """Of itself."""
    argv = (
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", "-", "-out", "-",
    )  # fmt: skip
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    key, _, chain = text.partition("-----BEGIN CERTIFICATE")
    return Certificate(chain=f"-----BEGIN CERTIFICATE{chain}", key=key)


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
