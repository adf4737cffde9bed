"""IPv6 of an isolated network in the demo's zone, in real containers: a visitor's kernel makes its address of what the router
advertises, a stream goes on while the router is replaced, and the host lets nobody speak for another guest.
"""

import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from sysvm.store.queries.addresses import eui64
from tests.boot.outside import place_outside
from tests.boot.traffic import Visitor, within
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]
PREFIX, GATEWAY, CIDR = "2001:db8:100::/56", "2001:db8:ff::1", "2001:db8:ff::/64"
SERVICES = ("Dhcp", "Dns", "Firewall", "SourceNat", "UserData")
PORT = 8000
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def network(demo: World) -> Iterator[dict[str, Any]]:
    """A dual-stack network that has its router without guests; all that it needed is gone afterwards."""
    api, zone = demo.client, demo.client.rows("listZones", "zone")[0]["id"]
    api.call("updateConfiguration", name="ipv6.offering.enabled", value="true")
    pool = api.call("createVlanIpRange", zoneid=zone, forvirtualnetwork="true", vlan="untagged", ip6gateway=GATEWAY, ip6cidr=CIDR)
    prefix = api.job("createGuestNetworkIpv6Prefix", zoneid=zone, prefix=PREFIX)
    providers = {f"serviceproviderlist[{at}].service": each for at, each in enumerate(SERVICES)}
    providers |= {f"serviceproviderlist[{at}].provider": "VirtualRouter" for at in range(len(SERVICES))}
    offering = api.call(
        "createNetworkOffering", name="dual", displaytext="dual", guestiptype="Isolated", traffictype="Guest", enable="true",
        internetprotocol="dualstack", ispersistent="true", egressdefaultpolicy="true", supportedservices=",".join(SERVICES),
        **providers,
    )  # fmt: skip
    offered = offering["networkoffering"]["id"]
    made = api.call("createNetwork", zoneid=zone, name="dual", displaytext="dual", networkofferingid=offered)
    id_ = made["network"]["id"]
    try:
        demo.until(lambda: _row(demo, id_)["state"] == "Implemented", "the network has its router")
        yield _row(demo, id_)
    finally:
        api.job("deleteNetwork", id=id_)
        api.job("deleteGuestNetworkIpv6Prefix", id=prefix["guestnetworkipv6prefix"]["id"])
        api.call("deleteVlanIpRange", id=pool["vlan"]["id"])
        api.call("deleteNetworkOffering", id=offered)


def _row(demo: World, id_: str) -> dict[str, Any]:
    (row,) = demo.client.rows("listNetworks", "network", id=id_)
    return dict(row)


@pytest.fixture(scope="module")
def router(demo: World, network: dict[str, Any]) -> dict[str, Any]:
    """The network's."""
    (row,) = demo.client.rows("listRouters", "router", networkid=network["id"], listall="true")
    return dict(row)


@pytest.fixture(scope="module")
def visitor(demo: World, network: dict[str, Any], router: dict[str, Any]) -> Iterator[Visitor]:
    """A guest of the network, as its host sees one: held to one address of each family."""
    made = Visitor(demo, "10.1.1.250", router["name"], network["ip6cidr"])
    try:
        made.plug()
        yield made
    finally:
        made.unplug()


@pytest.fixture(scope="module")
def upstream(demo: World, network: dict[str, Any]) -> Iterator[str]:
    """The operator's router on the public network, with the route that listNetworks asks for; its namespace."""
    with place_outside(demo) as place:
        (route,) = network["ip6routes"]
        for words in (("address", "add", f"{GATEWAY}/64", "dev", "eth0", "nodad"),
                      ("route", "add", route["subnet"], "via", route["gateway"])):  # fmt: skip
            subprocess.run(("ip", "-n", place.outside, *words), check=True)
        yield place.outside


def _pinged(place: str, to: str, *words: str) -> bool:
    told = ("ip", "netns", "exec", place, "ping", "-c1", "-W2", *words, to)
    return subprocess.run(told, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def address(demo: World, visitor: Visitor, network: dict[str, Any], upstream: str) -> str:
    """What the visitor's kernel has made of the advertisement; it reaches the outside from there."""
    wanted = eui64(network["ip6cidr"], visitor.mac)
    show = ("ip", "-n", visitor.name, "-6", "address", "show", "dev", "eth0", "scope", "global", "-tentative")
    demo.until(lambda: wanted in subprocess.check_output(show, text=True), f"the visitor makes itself {wanted}")
    demo.until(lambda: _pinged(visitor.name, GATEWAY), "the way out")
    return wanted


def _call(caller: str, called: str, address: str) -> Pair:
    """A connection over IPv6, both ends."""
    door = within(called, lambda: socket.create_server(("::", 0 if address == GATEWAY else PORT), family=socket.AF_INET6))
    with door:
        here = within(caller, lambda: socket.create_connection((address, door.getsockname()[1]), 20.0))
        there = door.accept()[0]
    there.settimeout(20.0)
    return here, there


def _speaks(pair: Pair) -> bool:
    """Both ways, beginning with the one that was called."""
    here, there = pair
    there.sendall(b"are you there?")
    heard = here.recv(100)
    here.sendall(b"yes")
    return (heard, there.recv(100)) == (b"are you there?", b"yes")


def test_nothing_comes_in_without_a_rule(demo: World, visitor: Visitor, address: str, upstream: str):
    assert not _pinged(upstream, address)
    with pytest.raises(TimeoutError):
        within(upstream, lambda: socket.create_connection((address, PORT), 2.0))


def test_nobody_speaks_for_another_guest(visitor: Visitor, address: str):
    """An address that the visitor was not given gets no answer; its own does."""
    other = address.rpartition(":")[0] + ":77"
    add = ("ip", "-n", visitor.name, "address", "add", f"{other}/64", "dev", "eth0", "nodad")
    subprocess.run(add, check=True)
    assert not _pinged(visitor.name, GATEWAY, "-I", other)
    assert _pinged(visitor.name, GATEWAY, "-I", address)
    subprocess.run([*add[:4], "del", *add[5:-1]], check=True)


def test_streams_go_on_while_the_router_is_replaced(
    demo: World, network: dict[str, Any], router: dict[str, Any], visitor: Visitor, address: str, upstream: str
):
    """Begun inside, and begun outside by leave of a rule; at most one ping of ten a second is lost, and the route stays right."""
    rule = demo.client.job("createIpv6FirewallRule", networkid=network["id"], protocol="tcp", startport=PORT, endport=PORT)
    streams = [_call(visitor.name, upstream, GATEWAY), _call(upstream, visitor.name, address)]
    words = ("ip", "netns", "exec", visitor.name, "ping", "-i", "0.1", "-W", "1", "-q", GATEWAY)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as pinging:
        before = demo.incarnation(router["id"])
        demo.client.job("rebootRouter", id=router["id"])
        pinging.send_signal(2)
        told = pinging.communicate()[0]
    assert before + 1 == demo.incarnation(router["id"])
    assert [True, True] == [_speaks(pair) for pair in streams]
    sent, came = (int(number) for number in re.findall(r"(\d+) (?:packets transmitted|received)", told))
    assert sent - came <= 1 < sent
    assert network["ip6routes"] == _row(demo, network["id"])["ip6routes"]
    demo.client.job("deleteIpv6FirewallRule", id=rule["firewallrule"]["id"])
    with pytest.raises(TimeoutError):
        within(upstream, lambda: socket.create_connection((address, PORT), 2.0))
    for end in (end for pair in streams for end in pair):
        end.close()
