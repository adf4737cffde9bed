"""Peers of a demo's network by WireGuard: made by the API, come in from outside with the file that it gives, cut off."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.agent.wireguard_client import WireguardClient
from tests.boot.outside import Outside
from tests.boot.vpn import greets
from tests.boot.world import World


@contextlib.contextmanager
def phone_is_in(demo: World, place: Outside) -> Iterator[WireguardClient]:
    """A peer whose key the server has made reaches guest one, and says nothing by itself. Nothing of it is left."""
    client, public = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=public)
    peer: dict[str, Any] = client.call("addWireGuardPeer", publicipid=ip["id"], name="phone")["wireguardpeer"]
    visitor = WireguardClient(place)
    try:
        visitor.configure(str(peer["configuration"]).replace("PersistentKeepalive = 25", "PersistentKeepalive = off"))
        demo.until(lambda: greets(demo, place), "guest one to answer")
        demo.until(lambda: is_active(demo, peer), "the router to say that it knows the peer")
        yield visitor
        client.job("removeWireGuardPeer", id=peer["id"])
        assert not answers(place, demo.machine("one")["ipaddress"])
    finally:
        visitor.close()
    assert [] == [row for row in client.rows("listFirewallRules", "firewallrule") if row["protocol"] == "udp"]
    assert "WireGuard" not in str(demo.machine("router").get("servicenotes"))


def is_active(demo: World, peer: dict[str, Any]) -> bool:
    """Whether the router has been told."""
    (row,) = demo.client.rows("listWireGuardPeers", "wireguardpeer", id=peer["id"])
    return bool(row["state"] == "Active")


def answers(place: Outside, address: str) -> bool:
    """Whether one of three pings is answered."""
    return place.run(place.outside, "ping", "-c", "3", "-i", "0.2", "-W", "1", address).returncode == 0
