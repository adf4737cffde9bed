"""A dual-stack network: a real DHCPv6 client and the kernel of a guest against the router's real dnsmasq and nft.

The router is not the gateway here, as on shared networks: its advertisements send guests to DHCPv6 and nowhere else.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import msgspec
import pytest

from sysvm.wire.documents import Dhcp6, DhcpNetwork, Dns, DnsRecord, Reservation, RouterDocument
from tests.agent import documents
from tests.agent.documents import GUEST, ROUTER
from tests.agent.lab import GUEST_MAC, Lab, until

pytestmark = pytest.mark.root
CIDR, OWN, GATEWAY, HELD = "2001:db8:1:2::/64", "2001:db8:1:2::2", "2001:db8:1:2::1", "2001:db8:1:2::5"
RA, AAAA, PTR = 134, 28, 12
OTHERS_MAC = "02:00:0a:01:01:06"


def dual_stack(*more: Reservation, default: bool = True, mac: str = GUEST_MAC) -> RouterDocument:
    """A router of a dual-stack network whose only guest has a reservation."""
    first = Reservation(mac=mac, address=GUEST, hostname="web", default=default, address6=HELD)
    guest, public = documents.interfaces()
    dhcp = DhcpNetwork(
        device="eth0", cidr="10.1.1.0/24", gateway=ROUTER, dns=(ROUTER,), domain="cs2.cloud.internal", mtu=1450,
        reservations=(first, *more), six=Dhcp6(cidr=CIDR, dns=(OWN,)),
    )  # fmt: skip
    dns = Dns(
        domain="cs2.cloud.internal", listen=(ROUTER, OWN), allow=("10.1.1.0/24", CIDR),
        records=(DnsRecord(name="web", addresses=(GUEST, HELD)),),
    )  # fmt: skip
    guest = msgspec.structs.replace(guest, addresses=(*guest.addresses, f"{OWN}/64"), gateway6=GATEWAY)
    return documents.router(interfaces=(guest, public), dhcp=(dhcp,), dns=dns)


def advertisement(lab: Lab) -> bytes:
    """The next router advertisement that reaches the guest, from its ICMPv6 header on; the guest solicits one."""
    lab.out(lab.guest, "ip", "link", "set", "eth0", "down")
    with lab.open_raw(lab.guest) as ear:
        ear.bind(("eth0", 0x86DD))
        ear.settimeout(60)
        lab.out(lab.guest, "ip", "link", "set", "eth0", "up")
        while True:
            try:
                frame = ear.recv(2000)
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # said once of a device that was down
                    raise
                continue
            if len(frame) > 54 and frame[20] == 58 and frame[54] == RA:
                return frame[54:]


def told(advert: bytes) -> tuple[bool, int, bool, bool]:
    """Managed, the router's lifetime, and of the prefix: on the link, to make addresses from."""
    at, flags = 16, 0
    while at < len(advert):
        if advert[at] == 3:
            flags = advert[at + 3]
        at += advert[at + 1] * 8
    (lifetime,) = struct.unpack("!H", advert[6:8])
    return bool(advert[5] & 0x80), lifetime, bool(flags & 0x80), bool(flags & 0x40)


@pytest.fixture
def client(lab: Lab, tmp_path: Path) -> Iterator["Client"]:
    """dhclient in the guest; what it has been given is handed back at the end."""
    yield (found := Client(lab, tmp_path))
    found.stop()


class Client:
    """ISC's client for DHCPv6. Its script notes what it was told; the test sets the address."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._script, self._told, self._pid = folder / "script", folder / "told", folder / "pid"
        self._script.write_text(f"#!/bin/sh\nenv >> {self._told}.new\ncp {self._told}.new {self._told}.$reason\n")
        self._script.chmod(0o755)
        self._lease = folder / "leases"

    def ask(self) -> dict[str, str]:
        """What the router answered."""
        self._lab.out(self._lab.guest, "ip", "link", "set", "eth0", "up")
        until(lambda: not self._own_address("tentative") and self._own_address(), "the guest's link-local address")
        self._start()
        bound = Path(f"{self._told}.BOUND6")
        until(bound.exists, "an answer of DHCPv6")
        lines = until(bound.read_text, "what it said").splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def is_left_alone(self) -> bool:
        """Whether a first attempt ends without an address."""
        until(lambda: not self._own_address("tentative") and self._own_address(), "the guest's link-local address")
        return self._start("-1", "-timeout", "4") != 0

    def _start(self, *options: str) -> int:
        argv = ("dhclient", "-6", *options, "-sf", str(self._script), "-lf", str(self._lease), "-pf", str(self._pid), "eth0")
        return self._lab.run(self._lab.guest, *argv).returncode

    def _own_address(self, *flags: str) -> str:
        return self._lab.out(self._lab.guest, "ip", "-6", "address", "show", "dev", "eth0", "scope", "link", *flags).strip()

    def stop(self) -> None:
        """The client is gone."""
        if self._pid.exists():
            self._lab.run(self._lab.guest, "kill", self._pid.read_text().strip())
        self._lab.run(self._lab.guest, "ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")


def asked(lab: Lab, name: str, kind: int) -> bytes:
    """The data of the last answer of the router's name server over IPv6; nothing when it has none."""
    labels = b"".join(len(label).to_bytes(1, "big") + label for label in name.encode().split(b"."))
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00" + struct.pack("!HH", kind, 1)
    with lab.open6(lab.guest, socket.SOCK_DGRAM) as handle:
        handle.settimeout(5.0)
        handle.sendto(question, (OWN, 53))
        answer = handle.recv(4096)
    return answer[len(question) :] if answer[7] else b""


def test_advertisements_send_guests_to_dhcpv6_and_not_to_the_router(lab: Lab) -> None:
    """Managed, on the link, no addresses made from the prefix, and the router is no way out where it is not the gateway."""
    lab.make_live(dual_stack())
    assert told(advertisement(lab)) == (True, 0, True, False)
    route = until(lambda: lab.out(lab.guest, "ip", "-6", "route", "show", CIDR), "the prefix in the guest's kernel")
    assert "dev eth0" in route
    assert not lab.out(lab.guest, "ip", "-6", "route", "show", "default")
    assert not lab.out(lab.guest, "ip", "-6", "address", "show", "scope", "global")


def test_the_link_local_address_is_there_at_once_whoever_answers_for_it(lab: Lab) -> None:
    """As the incarnation that is being replaced would, whose MAC it has."""
    octets = bytes.fromhex(lab.out(lab.router, "cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
    local = IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])
    lab.out(lab.guest, "ip", "-6", "address", "add", f"{local}/64", "dev", "eth0", "nodad")
    try:
        lab.make_live(dual_stack())
        for flags, found in (((), True), (("tentative",), False), (("dadfailed",), False)):
            shown = lab.out(lab.router, "ip", "-6", "address", "show", "dev", "eth0", "scope", "link", *flags)
            assert found == (str(local) in shown)
    finally:
        lab.out(lab.guest, "ip", "-6", "address", "delete", f"{local}/64", "dev", "eth0")


def test_a_guest_gets_its_address_and_reaches_the_router_by_name(lab: Lab, client: Client) -> None:
    """A lease by its MAC with DNS and search domain; AAAA, reverse name, ping."""
    lab.make_live(dual_stack())
    answer = client.ask()
    assert (HELD, OWN) == (answer["new_ip6_address"], answer["new_dhcp6_name_servers"])
    assert answer["new_dhcp6_domain_search"].startswith("cs2.cloud.internal")
    lab.out(lab.guest, "ip", "address", "replace", f"{HELD}/64", "dev", "eth0", "nodad")
    assert lab.run(lab.guest, "ping", "-c1", "-W5", OWN).returncode == 0
    assert asked(lab, "web.cs2.cloud.internal", AAAA)[-16:] == IPv6Address(HELD).packed
    assert b"\x03web\x03cs2" in asked(lab, IPv6Address(HELD).reverse_pointer, PTR)


def test_a_new_reservation_is_answered_without_another_process(lab: Lab, client: Client) -> None:
    """A guest that comes is a line more, which dnsmasq reads; the address of one that goes is nobody's."""
    lab.make_live(dual_stack(mac=OTHERS_MAC))
    before = lab.daemons()["dnsmasq"]
    assert client.is_left_alone()
    more = Reservation(mac=GUEST_MAC, address="10.1.1.6", hostname="two", address6="2001:db8:1:2::6")
    lab.make_live(dual_stack(more, mac=OTHERS_MAC))
    assert client.ask()["new_ip6_address"] == "2001:db8:1:2::6"
    assert lab.daemons()["dnsmasq"] == before


def test_a_secondary_nic_gets_an_address_and_no_name_server(lab: Lab, client: Client) -> None:
    """As over IPv4."""
    lab.make_live(dual_stack(default=False))
    answer = client.ask()
    assert (HELD, None) == (answer["new_ip6_address"], answer.get("new_dhcp6_name_servers"))


def test_nothing_else_is_open_over_ipv6(lab: Lab) -> None:
    """A guest scans the router's address; the outside does not even get an answer to DHCPv6's port."""
    lab.make_live(dual_stack())
    lab.out(lab.guest, "ip", "address", "replace", f"{HELD}/64", "dev", "eth0", "nodad")
    opened = [port for port in (22, 53, 80, 443, 3922, 8080) if lab.opens6(lab.guest, OWN, port)]
    lab.out(lab.guest, "ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
    assert opened == [53]


def test_of_a_network_that_has_ipv6_no_longer_nothing_stays(lab: Lab) -> None:
    """Address, route, advertisements and doors are gone."""
    lab.make_live(dual_stack())
    assert GATEWAY in lab.out(lab.router, "ip", "-6", "route", "show", "default")
    lab.make_live(documents.router(dhcp=documents.dhcp(), dns=documents.dns()))
    assert "scope global" not in lab.out(lab.router, "ip", "-6", "address")
    assert not lab.out(lab.router, "ip", "-6", "route", "show", "default")
    assert "callers6" not in lab.out(lab.router, "nft", "list", "ruleset")
    assert "enable-ra" not in (lab.paths.run / "dnsmasq" / "options").read_text()
