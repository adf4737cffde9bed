"""The demo's router lets a WireGuard peer in with the file that the API gave out; so does the router that replaces it."""

import pytest

from tests.boot.outside import place_outside
from tests.boot.vpn import greets
from tests.boot.wireguard import Pinging, phone_is_in
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_a_peer_goes_on_by_itself_when_the_router_is_replaced(demo: World):
    """The client is not touched: the keys are the same."""
    (network,) = demo.client.rows("listNetworks", "network")
    with place_outside(demo) as place, phone_is_in(demo, place):
        assert "WireGuard by " in str(demo.machine("router")["servicenotes"])
        router = demo.uuid("router")
        before = demo.incarnation(router)
        pinging = Pinging(place, str(demo.machine("one")["ipaddress"]))
        demo.client.job("restartNetwork", id=network["id"], cleanup="true")
        assert demo.incarnation(router) > before
        demo.until(lambda: greets(demo, place), "the client to shake hands with the new router")
        sent, answered = pinging.counted()
        print(f"{sent - answered} of {sent} pings were lost")
        assert answered > 0
