"""Without charon: what a tunnel is called, what is opened for it, and what a router makes of charon's words."""

from typing import Any

import msgspec
import pytest

from sysvm.agent.roles.router import ipsec_tunnels, rules
from sysvm.agent.roles.router.ipsec import render
from sysvm.agent.roles.router.ipsec_tunnels import judged, missing, reason
from sysvm.agent.roles.router.service import Wrong
from sysvm.wire.vpc import Vpc
from sysvm.wire.vpn import RemoteAccess, Tunnel, TunnelState
from tests.agent.documents import PUBLIC, router

PLAIN = Tunnel(
    connection="one", local=PUBLIC, remote="198.51.100.10", preshared_key="key", local_networks=("10.1.1.0/24",),
    remote_networks=("172.16.0.0/24", "172.16.1.7/32"), ike_policy="aes128-sha1;modp1536", esp_policy="aes128-sha1",
)  # fmt: skip
UP = {"state": "ESTABLISHED", "child-sas": {"net1-7": {"name": "net1", "state": "INSTALLED"}}}


def site(**changes: Any) -> ipsec_tunnels.Site:
    (found,) = ipsec_tunnels.render(router(tunnels=(msgspec.structs.replace(PLAIN, **changes),)))
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": "two"}, {"remote": "198.51.100.11"}, {"preshared_key": "other"}, {"resets": 1}, {"passive": True},
        {"remote_networks": ("172.16.0.0/24",)}, {"ike_policy": "aes128-sha1;modp2048"}, {"esp_policy": "aes128-sha256"},
        {"ike_lifetime_s": 7200}, {"esp_lifetime_s": 7200}, {"dpd": True}, {"split": True}, {"ike_version": "ikev2"},
    ],
)  # fmt: skip
def test_whatever_changes_makes_another_connection(changes: dict[str, Any]) -> None:
    assert site().connection(kernel=False)[0] == site().connection(kernel=False)[0]
    assert site().connection(kernel=False)[0] != site(**changes).connection(kernel=False)[0]


@pytest.mark.parametrize(
    ("changes", "children"),
    [
        ({}, [("172.16.0.0/24", "172.16.1.7/32")]),
        ({"split": True}, [("172.16.0.0/24",), ("172.16.1.7/32",)]),
        ({"ike_version": "ikev1"}, [("172.16.0.0/24",), ("172.16.1.7/32",)]),
    ],
)
def test_networks_are_together_unless_they_are_split_or_ike_knows_no_other(
    changes: dict[str, Any], children: list[tuple[str, ...]]
) -> None:
    _, said = site(**changes).connection(kernel=True)
    assert children == [child["remote_ts"] for child in said["children"].values()]
    assert all(child["if_id_in"] == child["if_id_out"] == "1" for child in said["children"].values())


def test_policies_are_said_in_charons_words() -> None:
    _, said = site(ike_policy="3des-md5;modp1024,aes256-sha512;modp8192").connection(kernel=False)
    assert ("3des-md5-modp1024", "aes256-sha512-modp8192") == said["proposals"]


@pytest.mark.parametrize(
    "changes",
    [{"remote": "256.1.1.1"}, {"remote": "no name"}, {"local": "x"}, {"remote_networks": ("x",)}, {"ike_version": "3"},
     {"esp_lifetime_s": 0}],
)  # fmt: skip
def test_what_cannot_be_a_tunnel_is_said_with_its_id(changes: dict[str, Any]) -> None:
    with pytest.raises(Wrong, match="VPN connection one"):
        site(**changes)


def test_routes_and_keys_are_those_of_both_kinds() -> None:
    access = RemoteAccess(public=PUBLIC, preshared_key="users", first="10.1.2.2", last="10.1.2.2", networks=())
    wanted = render(router(tunnels=(PLAIN,), vpn=access))
    assert wanted is not None
    assert {"172.16.0.0/24", "172.16.1.7", "10.1.2.2"} == wanted.routes()
    assert [None, (PUBLIC, "198.51.100.10")] == [key.get("owners") for key in wanted.keys().values()]
    assert render(router()) is None


# ---------------------------------------------------------------- the ruleset
def test_only_the_other_gateway_is_let_in() -> None:
    chains = {chain.name: chain.rules for chain in rules.render(router(tunnels=(PLAIN,))).chains}
    opened = f"ip saddr 198.51.100.10 ip daddr {PUBLIC} udp dport {{ 500, 4500 }} accept"
    assert (opened, opened) == (chains["inward"][0], chains["gate"][1])
    assert opened in chains["input"]
    named = rules.render(router(tunnels=(msgspec.structs.replace(PLAIN, remote="vpn.example.org"),))).chains
    anybody = f"ip daddr {PUBLIC} udp dport {{ 500, 4500 }} accept"
    assert [anybody] == [chain.rules[0] for chain in named if chain.name == "inward"]


def test_what_is_for_the_other_site_is_dropped_where_it_would_leave_in_the_open() -> None:
    forward = next(chain.rules for chain in rules.render(router(tunnels=(PLAIN,))).chains if chain.name == "forward")
    assert 'oifname "eth2" ip daddr { 172.16.0.0/24, 172.16.1.7/32 } drop' in forward


def test_without_a_tier_nothing_is_asked_about_none() -> None:
    """A VPC may have a connection before it has a network: no rule is about an empty set of devices."""
    document = router(tunnels=(PLAIN,), vpc=Vpc(cidr="10.1.0.0/16"))
    alone = msgspec.structs.replace(document, interfaces=document.interfaces[1:])
    for each in (alone, msgspec.structs.replace(alone, vpc=None)):
        found = [rule for chain in rules.render(each).chains for rule in chain.rules]
        assert [] == [rule for rule in found if "{  }" in rule or "{ }" in rule]


# ---------------------------------------------------------------- what charon says
@pytest.mark.parametrize(
    ("associations", "left"),
    [
        ([], ("net1", "net2")),
        ([UP], ("net2",)),
        ([{**UP, "state": "CONNECTING"}], ("net1", "net2")),
        ([{**UP, "child-sas": {"net1-7": {"name": "net1", "state": "DELETING"}}}], ("net1", "net2")),
        ([UP, {"state": "ESTABLISHED", "child-sas": {"net2-9": {"name": "net2", "state": "REKEYING"}}}], ()),
    ],
)
def test_a_tunnel_stands_when_all_its_parts_do(associations: list[dict[str, Any]], left: tuple[str, ...]) -> None:
    assert left == missing(("net1", "net2"), associations)


@pytest.mark.parametrize(
    ("passive", "left", "why", "state"),
    [
        (False, (), "", TunnelState.CONNECTED),
        (False, (), "old", TunnelState.CONNECTED),
        (False, ("net1",), "", TunnelState.CONNECTING),
        (False, ("net1",), "it says no", TunnelState.DISCONNECTED),
        (True, ("net1",), "", TunnelState.DISCONNECTED),
        (True, (), "", TunnelState.CONNECTED),
    ],
)
def test_how_a_tunnel_is(passive: bool, left: tuple[str, ...], why: str, state: TunnelState) -> None:
    seen = judged(site(passive=passive, resets=3), left, why)
    assert ("one", 3, state) == (seen.connection, seen.resets, seen.state)
    assert bool(seen.why) == (state is TunnelState.DISCONNECTED)


def test_the_reason_is_the_worst_that_was_said() -> None:
    lines = ("sending packet", "retransmit 1 of request", "received AUTHENTICATION_FAILED notify error")
    assert "the other side refuses the preshared key or this address" == reason(lines, "x")
    assert "the other side does not answer" == reason(lines[:2], "x")
    assert "x" == reason((), "x")
