"""The demo with all three system VMs as QEMU machines: three full boots, then everything that containers give."""

import pytest

from tests.boot.conftest import world
from tests.boot.outside import place_outside
from tests.boot.screen import picture
from tests.boot.test_self_care import page
from tests.boot.vpn import alice_comes_and_goes

pytestmark = [pytest.mark.root, pytest.mark.template]


async def test_the_demo_with_all_system_vms_as_machines():
    """Template downloaded, router serves, the world comes in, a screen is seen, a VPN's client is let in."""
    with world("--runtime", "vm") as demo:
        demo.until(demo.all_run, "everything runs")
        rows = demo.machines()
        assert {row["kind"]: row["runtime"] for row in rows if row["kind"] != "guest"} == {
            "consoleproxy": "vm", "secondarystoragevm": "vm", "router": "vm",
        }  # fmt: skip
        assert (demo.census()["domains"], demo.census()["containers"]) == (5, 0)
        demo.until(lambda: page(demo), "guest one answers")
        answer = demo.client.call("createConsoleEndpoint", virtualmachineid=demo.uuid("one"))["consoleendpoint"]
        _, pixels = await picture(answer["url"])
        assert len(set(pixels[::4])) > 1
        with place_outside(demo) as place:
            assert "ESP by the kernel" == alice_comes_and_goes(demo, place)
