"""Peers of a demo's network by WireGuard: made by the API, come in from outside with the file that it gives, cut off."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.agent.wireguard_client import WireguardClient
from tests.boot.outside import Outside
from tests.boot.vpn import greets
from tests.boot.world import World


@contextlib.contextmanager
def phone_is_in(demo: World, place: Outside) -> Iterator[dict[str, Any]]:
    """A peer whose key the server has made reaches guest one; the answer that it was given. Nothing of it is left."""
    client, public = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=public)
    peer: dict[str, Any] = client.job("addWireGuardPeer", publicipid=ip["id"], name="phone")["wireguardpeer"]
    visitor = WireguardClient(place)
    try:
        visitor.configure(peer["configuration"])
        demo.until(lambda: greets(demo, place), "guest one to answer")
        yield peer
        client.job("removeWireGuardPeer", id=peer["id"])
        assert not answers(place, demo.machine("one")["ipaddress"])
    finally:
        visitor.close()
    assert [] == [row for row in client.rows("listFirewallRules", "firewallrule") if row["protocol"] == "udp"]
    assert "WireGuard" not in str(demo.machine("router").get("servicenotes"))


def answers(place: Outside, address: str) -> bool:
    """Whether one of three pings is answered."""
    return place.run(place.outside, "ping", "-c", "3", "-i", "0.2", "-W", "1", address).returncode == 0


class Pinging:
    """Ten pings a second through the tunnel, until they are counted."""

    def __init__(self, place: Outside, address: str) -> None:
        self._process = place.spawn(
            place.outside, "ping", "-i", "0.1", "-q", address, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def counted(self) -> tuple[int, int]:
        """How many were sent, and how many answered."""
        self._process.send_signal(2)
        said, _ = self._process.communicate()
        line = next(line for line in said.splitlines() if "packets transmitted" in line)
        words = line.split()
        return int(words[0]), int(words[3])
