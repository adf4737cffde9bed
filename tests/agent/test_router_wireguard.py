"""A router's WireGuard with real ones on both sides: who gets in, what they reach, and that nothing stays."""

import os
import signal
import time
from collections.abc import Iterator

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import AgentReport, DriftReport
from sysvm.wire.documents import FirewallRule, Ports, Protocol
from sysvm.wire.wireguard import WireGuard, WireGuardPeer
from tests.agent.documents import ANY, GUEST, PUBLIC, ROUTER, dhcp, dns, egress, router, source_nat
from tests.agent.lab import Lab, until
from tests.agent.wireguard_client import WireguardClient, pair, public_of

pytestmark = pytest.mark.root

PORT, NETWORK = 51820, "10.1.1.0/24"
OPEN = (FirewallRule(rule="wg", public=PUBLIC, protocol=Protocol.UDP, sources=ANY, ports=Ports(PORT, PORT)),)
ADDRESSES = ("10.253.0.2", "10.253.0.3")


class Keys(msgspec.Struct, frozen=True):
    """The router's private key, and those of two clients."""

    server: str
    clients: tuple[str, str]

    def peers(self, *which: int) -> tuple[WireGuardPeer, ...]:
        """What the router is told of these clients."""
        return tuple(WireGuardPeer(key=public_of(self.clients[each]), address=ADDRESSES[each]) for each in which)

    def file(self, which: int) -> str:
        """What a client is given."""
        return (
            f"[Interface]\nPrivateKey = {self.clients[which]}\nAddress = {ADDRESSES[which]}/32\n\n"
            f"[Peer]\nPublicKey = {public_of(self.server)}\nAllowedIPs = {NETWORK}, 10.253.0.0/24\n"
            f"Endpoint = {PUBLIC}:{PORT}\nPersistentKeepalive = 25\n"
        )


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Made anew for each run."""
    return Keys(pair()[0], (pair()[0], pair()[0]))


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """The guest has its address."""
    lab.guest_address()
    return lab


@pytest.fixture
def client(world: Lab) -> Iterator[WireguardClient]:
    """Somebody outside."""
    made = WireguardClient(world)
    try:
        yield made
    finally:
        made.close()


def live(lab: Lab, keys: Keys, *which: int) -> AgentReport:
    """WireGuard as the router has it now; it says that all of it is live."""
    said = WireGuard(
        public=PUBLIC, port=PORT, private_key=keys.server, address="10.253.0.1/24", networks=(NETWORK,),
        peers=keys.peers(*which),
    )  # fmt: skip
    document = router(wireguard=said, firewall=OPEN, source_nat=source_nat(), egress=egress(True), dhcp=dhcp(), dns=dns())
    return lab.make_live(document)


def pings(lab: Lab, address: str = GUEST) -> bool:
    """Whether the outside reaches an address by the tunnel."""
    return lab.run(lab.outside, "ping", "-c", "1", "-W", "1", address).returncode == 0


# ---------------------------------------------------------------- who gets in
def test_a_peer_reaches_guests_names_and_the_router_by_ping(world: Lab, keys: Keys, client: WireguardClient):
    report = live(world, keys, 0)
    client.configure(keys.file(0))
    until(lambda: pings(world), "the first ping")
    assert (True, True) == (pings(world, ROUTER), pings(world, "10.253.0.1"))
    assert GUEST == world.asked(world.outside, ROUTER, "web.cs2.cloud.internal")
    (seen,) = [each for each in report.services if each.name == "wireguard"]
    assert (True, "WireGuard by wireguard-go") == (seen.running, seen.note), "this kernel has none"


def test_tcp_goes_both_ways(world: Lab, keys: Keys, client: WireguardClient):
    """Nobody's address is rewritten."""
    live(world, keys, 0)
    client.configure(keys.file(0))
    until(lambda: pings(world), "the first ping")
    world.serve(world.guest, GUEST, 7101)
    world.serve(world.outside, ADDRESSES[0], 7102)
    assert f"{ADDRESSES[0]} 7101" == world.reached(world.outside, GUEST, 7101)
    assert f"{GUEST} 7102" == world.reached(world.guest, ADDRESSES[0], 7102)


def test_a_peer_has_no_way_to_the_routers_other_ports(world: Lab, keys: Keys, client: WireguardClient):
    live(world, keys, 0)
    client.configure(keys.file(0))
    until(lambda: pings(world), "the first ping")
    assert [] == [port for port in (22, 80, 8080, 3922) if not world.is_blocked(world.outside, ROUTER, port)]


def test_who_has_no_key_stays_outside(world: Lab, keys: Keys, client: WireguardClient):
    live(world, keys, 1)
    client.configure(keys.file(0))
    assert (False, 0) == (pings(world), client.handshakes())


def test_the_outside_cannot_speak_for_a_peer(world: Lab, keys: Keys):
    """Packets with a peer's address that come by the public interface go nowhere."""
    live(world, keys, 0)
    world.serve(world.guest, GUEST, 7103)
    world.out(world.outside, "ip", "address", "add", f"{ADDRESSES[0]}/32", "dev", "lo")
    world.out(world.outside, "ip", "route", "add", NETWORK, "via", PUBLIC, "src", ADDRESSES[0])
    try:
        assert world.is_blocked(world.outside, GUEST, 7103)
    finally:
        world.out(world.outside, "ip", "route", "del", NETWORK, "via", PUBLIC)
        world.out(world.outside, "ip", "address", "del", f"{ADDRESSES[0]}/32", "dev", "lo")


# ---------------------------------------------------------------- what changes
def test_peers_come_and_go_and_the_others_stay(world: Lab, keys: Keys, client: WireguardClient):
    """One handshake is enough for all of it; who is removed is cut off at once."""
    live(world, keys, 0)
    client.configure(keys.file(0))
    until(lambda: pings(world), "the first ping")
    first = client.handshakes()
    live(world, keys, 0, 1)
    assert pings(world)
    live(world, keys, 0)
    assert (True, first) == (pings(world), client.handshakes())
    live(world, keys, 1)
    assert not pings(world)


# ---------------------------------------------------------------- what others do to it
def test_a_killed_daemon_knows_its_peers_again(world: Lab, keys: Keys, client: WireguardClient):
    """And greets them: the client, which says nothing, is shaken hands with."""
    live(world, keys, 0)
    client.configure(keys.file(0).replace("PersistentKeepalive = 25", "PersistentKeepalive = off"))
    until(lambda: pings(world), "the first ping")
    first = client.handshakes()
    until(lambda: time.time() > first + 1, "another second, so that handshakes can be told from each other")
    world.report()  # the agent has looked since, and knows where the client is
    assert world.host is not None
    before = len(world.host.notices)
    (pid,) = world.daemons()["wireguard-go"]
    os.kill(pid, signal.SIGKILL)
    assert "wireguard" == world.host.heard(DriftReport, before).service
    until(lambda: client.handshakes() > first, "the router to shake hands again")
    assert pings(world)
    assert "persistent keepalive" not in world.out(world.router, "wg", "show", "wg0")


def test_a_peer_that_somebody_adds_by_hand_is_removed(world: Lab, keys: Keys):
    live(world, keys, 0)
    assert world.host is not None
    before = len(world.host.notices)
    world.out(world.router, "wg", "set", "wg0", "peer", public_of(keys.clients[1]), "allowed-ips", "10.253.0.9/32")
    report = world.host.heard(DriftReport, before)
    assert ("wireguard", "wg0 has other peers", True) == (report.service, report.difference, report.mended)
    assert public_of(keys.clients[1]) not in world.out(world.router, "wg", "show", "wg0", "peers")


def test_no_key_is_on_a_disk(world: Lab, keys: Keys):
    """The router's private key is in the sealed document alone."""
    live(world, keys, 0)
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert [] == [path for path in files if keys.server.encode() in path.read_bytes()]


# ---------------------------------------------------------------- the end
def test_without_peers_nothing_of_it_is_left(world: Lab, keys: Keys):
    live(world, keys, 0)
    document = router()
    assert digest(document) == world.apply(document).live
    assert "wireguard-go" not in world.daemons()
    assert "wg0" not in world.out(world.router, "ip", "-br", "link")
    assert "10.253" not in world.out(world.router, "ip", "route", "show", "table", "all")
    assert str(PORT) not in world.out(world.router, "nft", "list", "ruleset")
    assert not (world.paths.run / "wireguard").exists()
    assert not (world.paths.scan / "wireguard").exists()
