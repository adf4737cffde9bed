"""The demo's router lets a WireGuard peer in with the file that the API gave out; so does the router that replaces it."""

import time

import pytest

from tests.boot.outside import place_outside
from tests.boot.vpn import greets
from tests.boot.wireguard import phone_is_in
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_a_peer_goes_on_when_the_router_is_replaced(demo: World):
    """Nothing is done to the client, and it is silent: where no kernel keeps its session, the new router greets it."""
    (network,) = demo.client.rows("listNetworks", "network")
    with place_outside(demo) as place, phone_is_in(demo, place) as phone:
        said = str(demo.machine("router")["servicenotes"])
        assert said.startswith("WireGuard by ")
        router, first = demo.uuid("router"), phone.handshakes()
        demo.until(lambda: time.time() > first + 1, "another second, so that handshakes can be told from each other")
        before = demo.incarnation(router)
        demo.client.job("restartNetwork", id=network["id"], cleanup="true")
        assert demo.incarnation(router) > before
        if said == "WireGuard by wireguard-go":
            demo.until(lambda: phone.handshakes() > first, "the new router to shake hands with the client")
        demo.until(lambda: greets(demo, place), "guest one to answer")
