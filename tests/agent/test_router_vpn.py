"""A router's remote access VPN with real charons on both sides: who gets in, what they reach, and that nothing stays."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import AgentReport, DriftReport
from sysvm.wire.documents import FirewallRule, Ports, Protocol
from sysvm.wire.vpc import Tier, Vpc
from sysvm.wire.vpn import RemoteAccess, VpnUser
from tests.agent.documents import ANY, GUEST, PUBLIC, ROUTER, dhcp, dns, egress, router, source_nat
from tests.agent.lab import Lab, until
from tests.agent.vpn_client import VpnClient

pytestmark = pytest.mark.root

KEY, NETWORK = "presharedkey0123", "10.1.1.0/24"
ALICE, BOB = VpnUser(name="alice", password="won=der.land"), VpnUser(name="Bob@example.org", password="b+u@i_l-d")
OPEN = tuple(
    FirewallRule(rule=f"vpn-{port}", public=PUBLIC, protocol=Protocol.UDP, sources=ANY, ports=Ports(port, port))
    for port in (500, 4500)
)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """The guest has its address."""
    lab.guest_address()
    return lab


@pytest.fixture
def client(world: Lab) -> Iterator[VpnClient]:
    """Somebody outside."""
    made = VpnClient(world)
    try:
        yield made
    finally:
        made.close()


def access(*users: VpnUser, **changes: Any) -> RemoteAccess:
    """The VPN of the router, for these users."""
    plain = RemoteAccess(
        public=PUBLIC,
        preshared_key=KEY,
        first="10.1.2.2",
        last="10.1.2.8",
        networks=(NETWORK,),
        dns=(ROUTER,),
        users=users,
    )
    return msgspec.structs.replace(plain, **changes)


def live(lab: Lab, *users: VpnUser, **changes: Any) -> AgentReport:
    """The VPN as the router has it now; it says that all of it is live."""
    document = router(
        vpn=access(*users, **changes),
        firewall=OPEN,
        source_nat=source_nat(),
        egress=egress(True),
        dhcp=dhcp(),
        dns=dns(),
    )
    return lab.make_live(document)


def login(client: VpnClient, user: VpnUser, key: str = KEY) -> str:
    return client.login(user.name, user.password, public=PUBLIC, key=key, network=NETWORK)


def pings(lab: Lab, address: str = GUEST) -> bool:
    """Whether the outside reaches an address with its own client address."""
    return lab.run(lab.outside, "ping", "-c", "1", "-W", "2", address).returncode == 0


# ---------------------------------------------------------------- who gets in
def test_a_user_logs_in_and_reaches_guests(world: Lab, client: VpnClient) -> None:
    report = live(world, ALICE, BOB)
    assert "" == login(client, ALICE), client.log()
    assert ("10.1.2.2", True, True) == (client.address, pings(world), pings(world, ROUTER))
    (seen,) = [each for each in report.services if each.name == "ipsec"]
    note = "ESP by kernel-libipsec; users by IKEv2 only (no ESP in this kernel)"
    assert (True, note) == (seen.running, seen.note), "this kernel has no ESP"


def test_tcp_goes_both_ways(world: Lab, client: VpnClient) -> None:
    """A client opens a connection to a guest, and a guest one to the client; nobody's address is rewritten."""
    live(world, ALICE)
    assert "" == login(client, ALICE), client.log()
    world.serve(world.guest, GUEST, 7001)
    world.serve(world.outside, client.address, 7002)
    assert f"{client.address} 7001" == world.reached(world.outside, GUEST, 7001)
    assert f"{GUEST} 7002" == world.reached(world.guest, client.address, 7002)


def test_a_client_is_served_names_of_guests(world: Lab, client: VpnClient) -> None:
    live(world, ALICE)
    assert "" == login(client, ALICE), client.log()
    assert GUEST == world.asked(world.outside, ROUTER, "web.cs2.cloud.internal")


@pytest.mark.parametrize(
    ("user", "key"),
    [
        (VpnUser(name="alice", password="wrong"), KEY),
        (VpnUser(name="mallory", password=ALICE.password), KEY),
        (ALICE, "another key"),
    ],
    ids=["password", "name", "key"],
)
def test_who_cannot_prove_it_stays_outside(world: Lab, client: VpnClient, user: VpnUser, key: str) -> None:
    live(world, ALICE)
    assert "fail" in login(client, user, key).lower()
    assert ("", False) == (client.address, pings(world))


def test_the_outside_cannot_speak_for_a_client(world: Lab, client: VpnClient) -> None:
    """Packets with a client's address that come by the public interface go nowhere."""
    live(world, ALICE)
    world.serve(world.guest, GUEST, 7003)
    world.out(world.outside, "ip", "address", "add", "10.1.2.3/32", "dev", "lo")
    world.out(world.outside, "ip", "route", "add", NETWORK, "via", PUBLIC, "src", "10.1.2.3")
    try:
        assert world.is_blocked(world.outside, GUEST, 7003)
    finally:
        world.out(world.outside, "ip", "route", "del", NETWORK, "via", PUBLIC)
        world.out(world.outside, "ip", "address", "del", "10.1.2.3/32", "dev", "lo")


def test_in_a_vpc_clients_are_on_its_tiers_whatever_their_rules_say(world: Lab, client: VpnClient) -> None:
    """As in CloudStack: here the list lets nothing in."""
    tier = Tier(device="eth0", cidr=NETWORK)
    document = router(vpn=access(ALICE), vpc=Vpc(cidr=NETWORK, tiers=(tier,)), source_nat=source_nat(), dhcp=dhcp(), dns=dns())
    world.make_live(document)
    assert "" == login(client, ALICE), client.log()
    world.serve(world.guest, GUEST, 7004)
    world.serve(world.outside, client.address, 7005)
    assert f"{client.address} 7004" == world.reached(world.outside, GUEST, 7004)
    assert f"{GUEST} 7005" == world.reached(world.guest, client.address, 7005)
    assert GUEST == world.asked(world.outside, ROUTER, "web.cs2.cloud.internal")


# ---------------------------------------------------------------- what changes
def test_a_user_who_is_removed_is_cut_off_and_the_others_stay(world: Lab, client: VpnClient) -> None:
    live(world, ALICE, BOB)
    assert "" == login(client, BOB), client.log()
    live(world, BOB)
    assert (True, True) == (client.is_in, pings(world)), "somebody else was removed"
    live(world, ALICE)
    until(lambda: not client.is_in, "the client to be told")
    assert not pings(world)
    assert "fail" in login(client, BOB).lower()
    assert "" == login(client, ALICE), client.log()


def test_a_new_password_ends_the_old_login(world: Lab, client: VpnClient) -> None:
    live(world, ALICE)
    assert "" == login(client, ALICE), client.log()
    fresh = VpnUser(name="alice", password="other")
    live(world, fresh)
    until(lambda: not client.is_in, "the client to be told")
    assert "fail" in login(client, ALICE).lower()
    assert "" == login(client, fresh), client.log()


def test_another_key_and_another_range_count_from_now_on(world: Lab, client: VpnClient) -> None:
    live(world, ALICE)
    assert "" == login(client, ALICE), client.log()
    live(world, ALICE, preshared_key="another", first="10.9.9.10", last="10.9.9.13")
    until(lambda: not client.is_in, "the client to be told")
    assert "" == login(client, ALICE, "another"), client.log()
    assert ("10.9.9.10", True) == (client.address, pings(world))


def test_what_a_user_cannot_be_is_said(world: Lab) -> None:
    """The router keeps what it had and names the fault."""
    live(world, ALICE)
    for users in ((VpnUser(name="a b", password="x"),), (ALICE, VpnUser(name="ALICE", password="x"))):
        report = world.apply(router(vpn=access(*users)))
        assert ["ipsec"] == [fault.service for fault in report.faults]
    assert "charon-systemd" in world.daemons()


# ---------------------------------------------------------------- what others do to it
def test_a_killed_daemon_knows_its_users_again(world: Lab, client: VpnClient) -> None:
    live(world, ALICE)
    assert world.host is not None
    before = len(world.host.notices)
    (pid,) = world.daemons()["charon-systemd"]
    os.kill(pid, signal.SIGKILL)
    assert world.host.heard(DriftReport, before).service == "ipsec"
    until(lambda: login(client, ALICE) == "", "the router's charon to know alice again")
    assert pings(world)


# ---------------------------------------------------------------- the end
def test_without_a_vpn_nothing_of_it_is_left(world: Lab) -> None:
    live(world, ALICE)
    document = router()
    assert digest(document) == world.apply(document).live
    assert "charon-systemd" not in world.daemons()
    assert "ipsec0" not in world.out(world.router, "ip", "-br", "link")
    assert "10.1.2" not in world.out(world.router, "ip", "route", "show", "table", "all")
    assert "lookup 220" not in world.out(world.router, "ip", "rule")
    assert "4500" not in world.out(world.router, "nft", "list", "ruleset")
    assert not (world.paths.run / "ipsec").exists()
    assert not (world.paths.scan / "ipsec").exists()
