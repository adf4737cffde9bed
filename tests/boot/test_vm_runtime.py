"""The demo with all three system VMs as QEMU machines: three full boots, then everything that containers give."""

import asyncio

import pytest

from tests.boot.conftest import world
from tests.boot.l2tp import bob_is_in
from tests.boot.outside import page, place_outside
from tests.boot.screen import picture
from tests.boot.traffic import Seen, forward, replaced, visiting
from tests.boot.vpn import alice_comes_and_goes
from tests.boot.wireguard import phone_is_in
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


async def test_the_demo_with_all_system_vms_as_machines():
    """Template downloaded, router serves, the world comes in, a screen is seen, clients of a VPN are let in by WireGuard,
    IKEv2 and L2TP, the router is replaced, and they come in again."""
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
            with phone_is_in(demo, place):
                assert "WireGuard by the kernel" == demo.machine("router")["servicenotes"]
            assert "ESP by the kernel; users by L2TP and IKEv2" == alice_comes_and_goes(demo, place)
            with bob_is_in(demo, place) as log_in:
                seen = await asyncio.to_thread(router_replaced, demo)  # it has loops of its own
                log_in()
        assert seen.lost == []
        assert seen.streams > 2
        # Who stopped the old one first would be dark for most of it: an emulated machine boots.
        assert seen.pings_lost * 4 < seen.pings
        assert (demo.census()["domains"], demo.census()["containers"]) == (5, 0)


def router_replaced(demo: World) -> Seen:
    """Under traffic, by rebootRouter; what was noticed. The new one serves alone afterwards."""
    router = demo.uuid("router")
    before = demo.incarnation(router)
    doors = {"forwarded": forward(demo, 8181, 80)}
    demo.until(lambda: "tiny guest one" in answers(*doors["forwarded"]), "the forwarded port leads to guest one")
    with visiting(demo) as visitor:
        seen = replaced(demo, visitor, doors, lambda: demo.client.job("rebootRouter", id=router))
    demo.until(demo.all_run, "everything runs")
    alone = [str(before + 1)]
    demo.until(lambda: alone == [path.name for path in demo.layout.machine(router).iterdir()], "the old one is gone")
    return seen
