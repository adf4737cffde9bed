"""Tunnels between two routers with their real agents and charons: who reaches whom, and what a router says of a tunnel.

guest ── router ── outside ──── outside ── router ── guest        (here: the left half; there: the right one)
"""

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sysvm.agent.roles.router.ipsec_vici import Charon
from sysvm.wire.channel import DriftReport, TunnelsReport
from sysvm.wire.documents import Interface, PortForward, Ports, Protocol, RouterDocument, SourceNat
from sysvm.wire.machines import BootData
from sysvm.wire.vpc import AclRule, Tier, Vpc
from sysvm.wire.vpn import RemoteAccess, Tunnel, TunnelSeen, TunnelState, VpnUser
from tests.agent.documents import GUEST, PUBLIC, egress, router, source_nat
from tests.agent.lab import ROUTER_GUEST_MAC, ROUTER_PUBLIC_MAC, Lab, boot_data, until
from tests.agent.test_router_vpn import OPEN
from tests.agent.vpn_client import VpnClient

pytestmark = pytest.mark.root

KEY, NEAR, FAR, FAR_GUEST, FAR_ROUTER, FAR_PUBLIC = (
    "between us", "10.1.1.0/24", "10.2.2.0/24", "10.2.2.5", "10.2.2.1", "198.51.100.10",
)  # fmt: skip
HERE = Tunnel(
    connection="here", local=PUBLIC, remote=FAR_PUBLIC, preshared_key=KEY, local_networks=(NEAR,), remote_networks=(FAR,),
    ike_policy="aes128-sha1;modp1536", esp_policy="aes128-sha1",
)  # fmt: skip
THERE = msgspec.structs.replace(
    HERE,
    connection="there",
    local=FAR_PUBLIC,
    remote=PUBLIC,
    local_networks=(FAR,),
    remote_networks=(NEAR,),
    passive=True,
)


@pytest.fixture(scope="module")
def here(lab: Lab) -> Lab:
    """The left half."""
    lab.guest_address()
    lab.serve(lab.guest, GUEST, 7001)
    return lab


@pytest.fixture(scope="module")
def there(here: Lab) -> Iterator[Lab]:
    """The right half, connected with the left one."""
    made = Lab()
    try:
        made.build()
        made.paths.boot_data.write_bytes(msgspec.json.encode(_boot()))
        made.start_agent()
        _connect(here, made)
        made.out(made.guest, "ip", "address", "replace", f"{FAR_GUEST}/24", "dev", "eth0")
        made.out(made.guest, "ip", "route", "replace", "default", "via", FAR_ROUTER)
        made.serve(made.guest, FAR_GUEST, 7002)
        yield made
    finally:
        made.remove()


def _boot() -> BootData:
    plain = boot_data()
    inside, outside = plain.nics
    return msgspec.structs.replace(
        plain,
        nics=(
            msgspec.structs.replace(inside, addresses=(f"{FAR_ROUTER}/24",)),
            msgspec.structs.replace(outside, addresses=(f"{FAR_PUBLIC}/24",), gateway="198.51.100.1"),
        ),
    )


def _connect(here: Lab, there: Lab) -> None:
    there.out(there.outside, "ip", "address", "replace", "198.51.100.1/24", "dev", "eth0")
    there.out(there.outside, "ip", "address", "del", "203.0.113.1/24", "dev", "eth0")
    pair = ("ip", "link", "add", "far", "type", "veth", "peer", "name", "far", "netns", there.outside)
    here.out(here.outside, *pair)
    for lab, own, other, net in (
        (here, "192.0.2.1", "192.0.2.2", "198.51.100.0/24"),
        (there, "192.0.2.2", "192.0.2.1", "203.0.113.0/24"),
    ):
        lab.out(lab.outside, "ip", "address", "add", f"{own}/30", "dev", "far")
        lab.out(lab.outside, "ip", "link", "set", "far", "up")
        lab.out(lab.outside, "ip", "route", "add", net, "via", other)
        lab.out(lab.outside, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def near(*tunnels: Tunnel, **sections: Any) -> RouterDocument:
    """The router here."""
    return router(tunnels=tunnels, source_nat=source_nat(), egress=egress(True), **sections)


def far(*tunnels: Tunnel) -> RouterDocument:
    """The router there."""
    plain = near(*tunnels)
    return msgspec.structs.replace(
        plain,
        interfaces=(
            Interface(device="eth0", mac=ROUTER_GUEST_MAC, role="guest", addresses=(f"{FAR_ROUTER}/24",)),
            Interface(
                device="eth2",
                mac=ROUTER_PUBLIC_MAC,
                role="public",
                addresses=(f"{FAR_PUBLIC}/24",),
                gateway="198.51.100.1",
            ),
        ),
        source_nat=(SourceNat(device="eth2", public=FAR_PUBLIC, source=FAR),),
        egress=(msgspec.structs.replace(plain.egress[0], source=FAR),),
    )


def changed(tunnel: Tunnel, **words: Any) -> Tunnel:
    return msgspec.structs.replace(tunnel, **words)


def told(lab: Lab) -> tuple[TunnelSeen, ...]:
    """What the router has said of its tunnels last."""
    assert lab.host is not None
    return next((notice.tunnels for notice in reversed(lab.host.notices) if isinstance(notice, TunnelsReport)), ())


def becomes(lab: Lab, tunnel: Tunnel, state: TunnelState) -> str:
    """Waits until the router says that the tunnel is so; why."""
    mark = (tunnel.connection, tunnel.resets, state)
    return until(
        lambda: next((each for each in told(lab) if (each.connection, each.resets, each.state) == mark), None),
        f"{tunnel.connection} to be {state}",
    ).why


def meet(here: Lab, there: Lab, one: Tunnel = HERE, other: Tunnel = THERE) -> Tunnel:
    """Both routers have their tunnel, and say that it is connected."""
    one, other = anew(one), anew(other)
    there.make_live(far(other))
    here.make_live(near(one))
    becomes(here, one, TunnelState.CONNECTED)
    becomes(there, other, TunnelState.CONNECTED)
    return one


def anew(tunnel: Tunnel, **words: Any) -> Tunnel:
    """Not the one that was before."""
    return msgspec.structs.replace(tunnel, resets=next(_numbers), **words)


_numbers = itertools.count(1)


def reach(here: Lab, there: Lab) -> tuple[str, str]:
    """What guests on both sides hear when they call each other."""
    return here.reached(here.guest, FAR_GUEST, 7002), there.reached(there.guest, GUEST, 7001)


BOTH = (f"{GUEST} 7002", f"{FAR_GUEST} 7001")


# ---------------------------------------------------------------- what goes through
def test_guests_of_both_sites_reach_each_other_with_their_own_addresses(here: Lab, there: Lab) -> None:
    meet(here, there)
    assert reach(here, there) == BOTH
    (seen,) = [each for each in here.report().services if each.name == "ipsec"]
    assert (True, "ESP by kernel-libipsec") == (seen.running, seen.note), "this kernel has no ESP"


@pytest.mark.parametrize(
    "words",
    [
        {"ike_version": "ikev1"},
        {"ike_version": "ikev2", "split": True, "dpd": True},
        {"ike_policy": "aes256-sha512;modp4096", "esp_policy": "aes256-sha256;modp2048"},
        {"ike_policy": "3des-md5;modp1024,aes192-sha384;modp3072", "esp_policy": "3des-md5"},
    ],
    ids=["ikev1", "split", "strong", "weak"],
)
def test_every_policy_and_version_carries_tcp(here: Lab, there: Lab, words: dict[str, Any]) -> None:
    meet(here, there, changed(HERE, **words), changed(THERE, **words))
    assert reach(here, there) == BOTH


def test_a_large_answer_comes_whole(here: Lab, there: Lab) -> None:
    """Segments fit into the tunnel."""
    meet(here, there)
    with here.connected(here.guest, FAR_GUEST, 7002) as handle:
        assert handle.recv(100)
        handle.sendall(b"x" * 200_000)
        left = 200_000
        while left:
            left -= len(handle.recv(65536))


# ---------------------------------------------------------------- what a router says
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"preshared_key": "another"}, "the other side refuses the preshared key or this address"),
        ({"ike_policy": "aes256-sha256;modp2048"}, "the other side takes none of the IKE or ESP policies"),
        ({"local_networks": ("10.9.9.0/24",)}, "the other side has other networks"),
    ],
    ids=["key", "policy", "networks"],
)
def test_why_a_tunnel_is_not_connected_is_said(here: Lab, there: Lab, words: dict[str, Any], why: str) -> None:
    there.make_live(far(changed(THERE, **words)))
    here.make_live(near(tunnel := anew(HERE)))
    assert becomes(here, tunnel, TunnelState.DISCONNECTED) == why
    assert here.is_blocked(here.guest, FAR_GUEST, 7002)


def test_what_is_meant_for_the_other_site_never_leaves_in_the_open(here: Lab, there: Lab) -> None:
    """Without a tunnel it goes nowhere, although the router would bring anything else out."""
    there.make_live(far())
    here.make_live(near(HERE))
    here.out(here.outside, "ip", "address", "add", f"{FAR_GUEST}/32", "dev", "lo")
    try:
        here.serve(here.outside, FAR_GUEST, 7005)
        assert here.is_blocked(here.guest, FAR_GUEST, 7005)
    finally:
        here.out(here.outside, "ip", "address", "del", f"{FAR_GUEST}/32", "dev", "lo")


def test_a_side_that_has_begun_begins_again(here: Lab, there: Lab) -> None:
    """The other side's charon ends and knows nothing any more."""
    meet(here, there)
    before = _associations(here)
    (pid,) = there.daemons()["charon-systemd"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: _associations(here) and _associations(here).isdisjoint(before), "another association")
    until(lambda: reach(here, there) == BOTH, "the tunnel to be there again")


def test_a_reset_makes_it_anew(here: Lab, there: Lab) -> None:
    """Nobody has to mend anything for that, on either side."""
    tunnel = meet(here, there)
    before = _associations(here)
    assert here.host is not None and there.host is not None
    since = len(here.host.notices), len(there.host.notices)
    here.make_live(near(again := anew(tunnel)))
    becomes(here, again, TunnelState.CONNECTED)
    assert _associations(here) and _associations(here).isdisjoint(before)
    assert reach(here, there) == BOTH
    heard = (*here.host.notices[since[0] :], *there.host.notices[since[1] :])
    assert [] == [notice for notice in heard if isinstance(notice, DriftReport)]


def _associations(lab: Lab) -> set[str]:
    with Charon(lab.paths.run / "ipsec" / "charon.vici") as charon:
        listed = charon.listed("list-sas", "list-sa")
    return {each["initiator-spi"] for each in listed.values() if each["state"] == "ESTABLISHED"}


def test_a_forward_of_all_ports_leaves_the_tunnel_alone(here: Lab, there: Lab) -> None:
    """What the other gateway says is the router's; anybody else's packets to these ports are the guest's."""
    everything = PortForward(
        rule="all",
        public=PUBLIC,
        protocol=Protocol.UDP,
        ports=Ports(1, 65535),
        private=GUEST,
        private_ports=Ports(1, 65535),
    )
    there.make_live(far(other := anew(THERE)))
    here.make_live(near(tunnel := anew(HERE), port_forwards=(everything,)))
    becomes(here, tunnel, TunnelState.CONNECTED)
    here.make_live(near(changed(tunnel, passive=True), port_forwards=(everything,)))
    there.make_live(far(begins := anew(other, passive=False)))
    becomes(there, begins, TunnelState.CONNECTED)
    assert reach(here, there) == BOTH


# ---------------------------------------------------------------- both kinds
def test_users_and_sites_are_served_by_one_router(here: Lab, there: Lab) -> None:
    """A user logs in while the tunnel stands, and is removed: the tunnel does not notice."""
    tunnel = meet(here, there)
    alice = VpnUser(name="alice", password="won=der.land")
    access = RemoteAccess(
        public=PUBLIC, preshared_key="of users", first="10.1.2.2", last="10.1.2.8", networks=(NEAR,), users=(alice,)
    )
    here.make_live(near(tunnel, vpn=access, firewall=OPEN))
    client = VpnClient(here)
    try:
        assert "" == client.login("alice", alice.password, public=PUBLIC, key="of users", network=NEAR), client.log()
        assert f"{client.address} 7001" == here.reached(here.outside, GUEST, 7001)
        assert reach(here, there) == BOTH
        kept = _associations(here)
        here.make_live(near(tunnel, vpn=msgspec.structs.replace(access, users=()), firewall=OPEN))
        until(lambda: not client.is_in, "the client to be told")
        assert _associations(here) < kept
        assert reach(here, there) == BOTH
    finally:
        client.close()


@pytest.mark.parametrize("lets_in", [False, True], ids=["closed", "open"])
def test_in_a_vpc_a_tier_says_what_comes_in_from_other_sites(here: Lab, there: Lab, lets_in: bool) -> None:
    """What goes out to another site is the tier's to say, too; here it lets out everything."""
    meet(here, there)
    ingress = (AclRule(rule="a", number=1, allow=True, protocol="tcp", cidrs=(FAR,), first=7001),) if lets_in else ()
    vpc = Vpc(cidr=NEAR, tiers=(Tier(device="eth0", cidr=NEAR, ingress=ingress),))
    here.make_live(router(tunnels=(tunnel := anew(HERE),), source_nat=source_nat(), vpc=vpc))
    becomes(here, tunnel, TunnelState.CONNECTED)
    assert here.reached(here.guest, FAR_GUEST, 7002) == f"{GUEST} 7002"
    assert lets_in != there.is_blocked(there.guest, GUEST, 7001)


def test_in_a_vpc_a_tier_says_what_goes_out_to_other_sites(here: Lab, there: Lab) -> None:
    deny = AclRule(rule="a", number=1, allow=False, protocol="all", cidrs=(FAR,))
    meet(here, there)
    vpc = Vpc(cidr=NEAR, tiers=(Tier(device="eth0", cidr=NEAR, egress=(deny,)),))
    here.make_live(router(tunnels=(tunnel := anew(HERE),), source_nat=source_nat(), vpc=vpc))
    becomes(here, tunnel, TunnelState.CONNECTED)
    assert here.is_blocked(here.guest, FAR_GUEST, 7002)


# ---------------------------------------------------------------- the end
def test_without_tunnels_nothing_of_them_is_left(here: Lab, there: Lab) -> None:
    meet(here, there)
    here.make_live(near())
    assert "charon-systemd" not in here.daemons()
    assert "ipsec0" not in here.out(here.router, "ip", "-br", "link")
    assert FAR not in here.out(here.router, "ip", "route", "show", "table", "all")
    ruleset = here.out(here.router, "nft", "list", "ruleset")
    assert "4500" not in ruleset and FAR not in ruleset
    assert not (here.paths.run / "ipsec").exists()
    until(lambda: told(here) == (), "the router to say that it has no tunnels")
