"""A guest that means harm: the router keeps serving the one beside it, and tells neither about the other.

The harmful guest and the other one are two addresses in one namespace; nothing here stands in for the guard on a host's bridge
(`tests/hosts/test_guard.py`), which would stop some of this earlier.
"""

import secrets
import socket
import struct
from collections.abc import Iterator

import pytest

from sysvm.wire.documents import GuestData, Metadata
from tests.agent.documents import (
    GUEST,
    OUTSIDE,
    PUBLIC,
    ROUTER,
    dhcp,
    dns,
    egress,
    metadata,
    router,
    source_nat,
)
from tests.agent.lab import GUEST_MAC, ROUTER_GUEST_MAC, Lab

pytestmark = pytest.mark.root
HARMFUL = "10.1.1.66"
MANY = 5000


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """All services for the good guest; the harmful one is known as well."""
    lab.make_live(
        router(dhcp=dhcp(), dns=dns(forwarders=()), metadata=two_guests(), source_nat=source_nat(), egress=egress(True))
    )
    lab.guest_address()
    lab.out(lab.guest, "ip", "address", "add", f"{HARMFUL}/24", "dev", "eth0")
    lab.serve(lab.outside, OUTSIDE, 80)
    return lab


def two_guests() -> Metadata:
    """The good one has a secret and a password."""
    good = metadata(userdata=b"secret", password="told-once").guests[0]
    bad = GuestData(address=HARMFUL, userdata=b"mine", metadata={"instance-id": "i-2-9-VM"}, password=None)
    return Metadata(listen=(ROUTER,), guests=(good, bad))


def is_served(world: Lab) -> dict[str, bool]:
    """What the good guest asks for, and whether it got it."""
    return {
        "ping": world.run(world.guest, "ping", "-I", GUEST, "-c1", "-W2", ROUTER).returncode == 0,
        "name": GUEST in asked(world, "web.cs2.cloud.internal"),
        "user data": world.http(world.guest, ROUTER, "/latest/user-data") == "200 secret",
        "outside": world.reached(world.guest, OUTSIDE, 80) == f"{PUBLIC} 80",
    }


ALL = {"ping": True, "name": True, "user data": True, "outside": True}


def asked(world: Lab, name: str) -> str:
    """The router's answer about a name."""
    return world.run(world.guest, "busybox", "nslookup", name, ROUTER).stdout


def test_nobody_reads_what_is_told_to_another(world: Lab) -> None:
    """Neither by paths nor by headers that name him."""
    for path in (
        "/latest/user-data",
        f"/guests/{GUEST}/user-data",
        f"/latest/../{GUEST}/user-data",
        f"/latest/%2e%2e/{GUEST}/user-data",
    ):
        for header in ("", f"X-Forwarded-For: {GUEST}\r\n", f"Forwarded: for={GUEST}\r\n", f"Client-IP: {GUEST}\r\n"):
            assert "secret" not in from_harmful(
                world, f"GET {path} HTTP/1.1\r\nHost: {ROUTER}\r\n{header}Connection: close\r\n\r\n", 80
            )
    assert "mine" in from_harmful(world, f"GET /latest/user-data HTTP/1.1\r\nHost: {ROUTER}\r\nConnection: close\r\n\r\n", 80)
    assert "told-once" not in from_harmful(
        world,
        f"GET / HTTP/1.0\r\nHost: {ROUTER}\r\nX-Forwarded-For: {GUEST}\r\nDomU_Request: send_my_password\r\n\r\n",
        8080,
    )


def from_harmful(world: Lab, request: str, port: int) -> str:
    """What the harmful guest is answered."""
    with world.open(world.guest) as handle:
        handle.settimeout(5.0)
        handle.bind((HARMFUL, 0))
        handle.connect((ROUTER, port))
        handle.sendall(request.encode())
        data = b""
        while part := handle.recv(65536):
            data += part
    return data.decode()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (ROUTER, "200"), (f"{ROUTER}:80", "200"), ("data-server", "200"), ("DATA-SERVER.cs2.cloud.internal", "200"),
        ("evil.example", "403"), ("data-server.evil.example", "403"), (f"{ROUTER}.evil.example", "403"), ("10x1x1x1", "403"),
    ],
)  # fmt: skip
def test_metadata_is_not_told_to_pages_whose_name_was_made_to_point_here(world: Lab, name: str, status: str) -> None:
    """DNS rebinding: the address is the router's, the name is not."""
    assert world.http(world.guest, ROUTER, "/latest/user-data", name=name)[:3] == status


def test_a_guest_that_asks_for_all_addresses_gets_none_and_takes_none(world: Lab) -> None:
    """DHCP starvation: whoever has no reservation is not answered."""
    before = world.daemons()["dnsmasq"]
    with packets(world) as handle:
        for _ in range(500):
            mac = b"\x02" + secrets.token_bytes(5)
            handle.send(discover(mac))
        handle.settimeout(0.5)
        assert not offers(handle)
        handle.send(discover(bytes.fromhex(GUEST_MAC.replace(":", ""))))
        handle.settimeout(10.0)
        assert socket.inet_aton(GUEST) in offers(handle, most=1)
    assert before == world.daemons()["dnsmasq"]


def packets(world: Lab) -> socket.socket:
    """Raw frames of the guest's side."""
    handle = world.open_raw(world.guest)
    handle.bind(("eth0", 0x0800))
    return handle


def offers(handle: socket.socket, most: int = 1000) -> set[bytes]:
    """The addresses offered until there is silence, or so many."""
    found: set[bytes] = set()
    while len(found) < most:
        try:
            frame = handle.recv(2048)
        except TimeoutError:
            break
        if frame[23:24] == b"\x11" and frame[34:38] == b"\x00\x43\x00\x44":
            found.add(frame[58:62])
    return found


def discover(mac: bytes) -> bytes:
    """A DHCPDISCOVER (RFC 2131) as a frame."""
    body = struct.pack("!BBBB4sHH16s16s", 1, 1, 6, 0, secrets.token_bytes(4), 0, 0x8000, bytes(16), mac + bytes(10))
    body += bytes(192) + b"\x63\x82\x53\x63" + b"\x35\x01\x01\xff" + bytes(60)
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    return b"\xff" * 6 + mac + b"\x08\x00" + ip4(b"\0" * 4, b"\xff" * 4, 17, udp)


def ip4(source: bytes, target: bytes, protocol: int, body: bytes) -> bytes:
    """An IPv4 packet (RFC 791)."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(target: str, port: int, number: int) -> bytes:
    """The first packet of a connection that is never finished (RFC 9293)."""
    source, to = socket.inet_aton(HARMFUL), socket.inet_aton(target)
    head = struct.pack("!HHIIBBHHH", 1024 + number % 60000, port, number, 0, 0x50, 0x02, 1024, 0, 0)
    pseudo = source + to + struct.pack("!BBH", 0, 6, len(head))
    return ip4(source, to, 6, head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:])


def echo(target: str, number: int) -> bytes:
    """A large ping (RFC 792)."""
    head = struct.pack("!BBHHH", 8, 0, 0, number & 0xFFFF, 0) + bytes(1000)
    filled = head[:2] + struct.pack("!H", checksum(head)) + head[4:]
    return ip4(socket.inet_aton(HARMFUL), socket.inet_aton(target), 1, filled)


def to_router(packet: bytes) -> bytes:
    """The frame of a packet."""
    return bytes.fromhex((ROUTER_GUEST_MAC + GUEST_MAC).replace(":", "")) + b"\x08\x00" + packet


@pytest.fixture
def frames(world: Lab) -> Iterator[socket.socket]:
    """To send what no kernel would."""
    with packets(world) as handle:
        yield handle


@pytest.mark.parametrize("target", [(ROUTER, 80), (ROUTER, 8080), (OUTSIDE, 80)])
def test_half_open_connections_keep_nobody_from_being_served(world: Lab, frames: socket.socket, target: tuple[str, int]) -> None:
    """While they come and after."""
    for number in range(MANY):
        frames.send(to_router(syn(*target, number)))
        if number == MANY // 2:
            assert is_served(world) == ALL
    assert is_served(world) == ALL


@pytest.mark.parametrize("target", [ROUTER, OUTSIDE])
def test_pings_without_end_keep_nobody_from_being_served(world: Lab, frames: socket.socket, target: str) -> None:
    """While they come and after."""
    for number in range(MANY):
        frames.send(to_router(echo(target, number)))
        if number == MANY // 2:
            assert is_served(world) == ALL
    assert is_served(world) == ALL


def test_connections_that_say_nothing_keep_nobody_from_being_served(world: Lab) -> None:
    """Slow readers and idle callers, at both servers and at the name server."""
    held = []
    try:
        for port in (80, 8080, 53):
            for _ in range(100):
                handle = world.open(world.guest)
                handle.settimeout(5.0)
                handle.bind((HARMFUL, 0))
                held.append(handle)
                try:
                    handle.connect((ROUTER, port))
                except OSError:
                    break
        assert is_served(world) == ALL
    finally:
        for handle in held:
            handle.close()
