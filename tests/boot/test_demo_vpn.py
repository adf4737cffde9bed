"""The demo's router lets a client of the VPN in, from the API to a guest's page. It has no rights beyond its container's own."""

import pytest

from tests.boot.outside import place_outside
from tests.boot.vpn import alice_comes_and_goes
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_a_user_of_the_api_logs_in_and_is_cut_off(demo: World):
    """Also by the router that replaces the first one. ESP is its own where the kernel has none, and it says so."""
    (network,) = demo.client.rows("listNetworks", "network")

    def replace() -> None:
        demo.client.job("restartNetwork", id=network["id"], cleanup="true")

    with place_outside(demo) as place:
        assert alice_comes_and_goes(demo, place, replace).startswith("ESP by ")
