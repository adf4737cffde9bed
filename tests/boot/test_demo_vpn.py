"""The demo's router lets a client of the VPN in, from the API to a guest's page. It has no rights beyond its container's own."""

import pytest

from tests.boot.outside import place_outside
from tests.boot.vpn import alice_comes_and_goes
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_a_user_of_the_api_logs_in_and_is_cut_off(demo: World):
    """ESP is the router's own where the kernel has none; the router says so."""
    with place_outside(demo) as place:
        assert alice_comes_and_goes(demo, place).startswith("ESP by ")
