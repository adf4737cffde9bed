"""Without WireGuard: what is acceptable, what `wg` is told and says, and what the ruleset opens for peers."""

import base64
import secrets
from typing import Any

import msgspec
import pytest

from sysvm.agent.roles.router import rules, wireguard_peers
from sysvm.agent.roles.router.service import Wrong
from sysvm.agent.roles.router.wireguard_peers import (
    Live,
    differing,
    endpoints,
    greeting,
    parse_dump,
    said_by_socket,
    unsent,
)
from sysvm.agent.roles.router.wireguard_whereabouts import Whereabouts
from sysvm.wire.wireguard import WireGuard, WireGuardPeer
from tests.agent.documents import PUBLIC, dns, router

A, B, C = (f"{letter * 42}{end}=" for letter, end in (("A", "8"), ("B", "A"), ("C", "E")))
ONE, TWO = WireGuardPeer(key=B, address="10.253.0.2"), WireGuardPeer(key=C, address="10.253.0.3")
PLAIN = WireGuard(public=PUBLIC, port=51820, private_key=A, address="10.253.0.1/24", networks=("10.1.1.0/24",), peers=(TWO, ONE))
DUMP = (
    f"{A}\t{C}\t51820\toff\n"
    f"{C}\t(none)\t(none)\t10.253.0.3/32\t0\t0\t0\toff\n"
    f"{B}\t(none)\t203.0.113.1:40000\t10.253.0.2/32\t1700000000\t180\t92\toff\n"
)


def wanted(**changes: Any) -> wireguard_peers.Wanted:
    found = wireguard_peers.render(router(wireguard=msgspec.structs.replace(PLAIN, **changes)))
    assert found is not None
    return found


def test_a_document_without_it_wants_nothing() -> None:
    assert None is wireguard_peers.render(router())


def test_what_wg_is_told() -> None:
    """Sorted, so that equal peers are equal texts; the MTU leaves room in the public interface's."""
    assert (
        f"[Interface]\nPrivateKey = {A}\nListenPort = 51820\n"
        f"[Peer]\nPublicKey = {B}\nAllowedIPs = 10.253.0.2/32\n"
        f"[Peer]\nPublicKey = {C}\nAllowedIPs = 10.253.0.3/32\n"
    ) == wanted().text()
    assert wanted() == wanted(peers=(ONE, TWO))
    assert 1420 == wanted().mtu


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": 65536},
        {"public": "::1"},
        {"networks": ("10.1.1.0/33",)},
        {"address": "nonsense"},
        {"private_key": "short"},
        {"private_key": f"{'A' * 42}9="},
        {"private_key": f"{A}\n[Peer]"},
        {"peers": (WireGuardPeer(key=f"-{B[1:]}", address="10.253.0.2"),)},
        {"peers": (WireGuardPeer(key=B, address="10.254.0.2"),)},
        {"peers": (WireGuardPeer(key=B, address="10.253.0.1"),)},
        {"peers": (WireGuardPeer(key=B, address="10.253.0.2/24"),)},
        {"peers": (ONE, WireGuardPeer(key=B, address="10.253.0.4"))},
        {"peers": (ONE, WireGuardPeer(key=C, address="10.253.0.2"))},
    ],
)
def test_what_cannot_be_is_wrong_and_no_key_is_told(changes: dict[str, Any]) -> None:
    with pytest.raises(Wrong, match="wireguard") as raised:
        wanted(**changes)
    assert not [key for key in (A, B, C) if key[:20] in raised.value.why]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DUMP, ""),
        ("", "nothing is known of wg0"),
        ("Unable to access interface", "nothing is known of wg0"),
        (DUMP.replace(f"{A}\t", f"{B}\t"), "wg0 has another key"),
        (DUMP.replace("51820", "51821"), "wg0 listens at port 51821, not 51820"),
        (DUMP.replace("10.253.0.2/32", "10.253.0.9/32"), "wg0 has other peers"),
        (DUMP.replace("10.253.0.2/32", "10.253.0.2/32,0.0.0.0/0"), "wg0 has other peers"),
        (DUMP.rpartition(B)[0], "wg0 has other peers"),
    ],
)
def test_what_is_there_is_compared(text: str, words: str) -> None:
    assert words == differing(wanted(), parse_dump(text))


def test_a_dump_is_read() -> None:
    assert Live(A, 51820, ((B, "10.253.0.2"), (C, "10.253.0.3"))) == parse_dump(DUMP)


def test_traffic_and_handshakes_are_no_change() -> None:
    """What a client does makes nobody look again; another peer does."""
    said = "private_key=00\nlisten_port=1\npublic_key=11\nendpoint=[::1]:9\nrx_bytes={}\nallowed_ip=10.253.0.2/32\nerrno=0\n\n"
    assert said_by_socket(said.format(1)) == said_by_socket(said.format(2))
    assert said_by_socket(said.format(1)) != said_by_socket(said.format(1).replace("=11", "=12"))


# ---------------------------------------------------------------- where peers are
HEX = {key: base64.b64decode(key).hex() for key in (B, C)}
SAID = f"listen_port=1\npublic_key={HEX[C]}\ntx_bytes=0\npublic_key={HEX[B]}\nendpoint=203.0.113.1:40000\ntx_bytes=9\n\n"


def test_who_was_seen_where() -> None:
    assert {B: "203.0.113.1:40000"} == endpoints(SAID)
    assert {} == endpoints("")


def test_who_was_sent_nothing_yet() -> None:
    assert (True, False, False) == (unsent(SAID, {C, B}), unsent(SAID, {B}), unsent("", {B}))


def test_peers_are_greeted_where_they_were_seen() -> None:
    """Who is wanted no more is not, nor whose place is no place."""
    known = {B: "203.0.113.1:40000", A: "203.0.113.2:40000"}
    lines = f"[Peer]\nPublicKey = {B}\nAllowedIPs = 10.253.0.2/32\nEndpoint = 203.0.113.1:40000\nPersistentKeepalive = 1\n"
    assert lines == greeting(wanted(), known, keepalive="1")
    for place in ("", "203.0.113.1", "example.org:1", "203.0.113.1:0", "203.0.113.1:65536", "1.2.3.4:1\n[Peer]"):
        assert "" == greeting(wanted(), {B: place}, keepalive="1"), place
    assert "[2001:db8::1]:9" in greeting(wanted(), {B: "[2001:db8::1]:9"}, keepalive="1")


def test_the_next_incarnation_is_told_where_peers_are() -> None:
    """Once; with many of them, too; and with nobody there, nobody is told."""
    name = f"\0sysvm-test-{secrets.token_hex(6)}"
    one, other = Whereabouts(name), Whereabouts(name)
    one.tell({B: "192.0.2.1:1"})
    other.listen()
    other.listen()
    one.listen()
    assert {} == one.heard(), "somebody else listens"
    many = {f"key {number}": "192.0.2.1:1" for number in range(1200)}
    one.tell(many)
    assert (many, {}) == (other.heard(), other.heard())
    one.listen()
    assert {} == one.heard()


def test_one_port_is_open_and_peers_see_guests_names_and_each_other_only() -> None:
    chains = {chain.name: chain.rules for chain in rules.render(router(wireguard=PLAIN, dns=dns())).chains}
    plain = {chain.name: chain.rules for chain in rules.render(router(dns=dns())).chains}
    assert [
        f"ip daddr {PUBLIC} udp dport 51820 accept",
        'iifname "wg0" udp dport 53 accept',
        'iifname "wg0" tcp dport 53 accept',
    ] == [rule for rule in chains["input"] if rule not in plain["input"]]
    assert [
        'iifname "wg0" oifname { "eth0" } ip saddr 10.253.0.0/24 ip daddr { 10.1.1.0/24 } accept',
        'iifname { "eth0" } oifname "wg0" ip saddr { 10.1.1.0/24 } ip daddr 10.253.0.0/24 accept',
        'iifname "wg0" oifname "wg0" ip saddr 10.253.0.0/24 ip daddr 10.253.0.0/24 accept',
    ] == [rule for rule in chains["forward"] if rule not in plain["forward"]]
    assert plain.keys() == chains.keys()
