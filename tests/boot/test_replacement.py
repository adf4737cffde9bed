"""A router is replaced under traffic, and nobody behind it notices."""

import functools
import threading
from collections.abc import Iterator

import pytest

from sysvm.cli.client import ApiError
from tests.boot.traffic import BORN, Seen, Visitor, balance, forward, replaced, visiting
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]
Doors = dict[str, tuple[str, int]]


@pytest.fixture(scope="module")
def doors(demo: World) -> Doors:
    """To guest one's page: through a port forward that rewrites the port, and through the load balancer."""
    demo.until(demo.all_run, "everything runs")
    found = {"forwarded": forward(demo, 8181, 80), "balanced": balance(demo, 8182, 80)}
    for address, port in found.values():
        demo.until(functools.partial(_leads_to_one, address, port), f"port {port} leads to guest one")
    return found


def _leads_to_one(address: str, port: int) -> bool:
    return "tiny guest one" in answers(address, port)


@pytest.fixture
def visitor(demo: World) -> Iterator[Visitor]:
    """Somebody on the guest network."""
    with visiting(demo) as made:
        yield made


def nothing_is_lost(seen: Seen) -> None:
    """At most one ping of ten a second, and no stream at all."""
    assert seen.lost == []
    assert seen.pings_lost <= 1 < seen.pings
    assert seen.streams > 2


@pytest.mark.parametrize("how", ["rebootRouter", "restartNetwork"])
def test_a_router_is_replaced_without_losing_a_connection(demo: World, visitor: Visitor, doors: Doors, how: str):
    """Also of those that are born meanwhile; the old incarnation is gone afterwards, and the API tells of one router."""
    router = demo.uuid("router")
    before = demo.incarnation(router)
    network = demo.machine("router")["guestnetworkid"]
    words = {"id": router} if how == "rebootRouter" else {"id": network, "cleanup": "true"}
    seen = replaced(demo, visitor, doors, lambda: demo.client.job(how, **words))
    nothing_is_lost(seen)
    assert seen.streams > BORN / 4
    assert before + 1 == demo.incarnation(router)
    demo.until(demo.all_run, "everything runs")
    demo.until(lambda: [str(before + 1)] == _incarnations(demo, router), "the old one has carried its last connection")


def test_a_host_agent_that_is_killed_during_a_replacement_costs_no_connection(demo: World, visitor: Visitor, doors: Doors):
    """Its next life goes on with it; whichever incarnation serves then, it is one."""
    router = demo.uuid("router")
    before = demo.incarnation(router)

    def replace() -> None:
        job = threading.Thread(target=_reboot, args=(demo, router))
        job.start()
        demo.until(lambda: demo.incarnation(router) > before, "the next incarnation is made")
        successor = demo.kill(lambda: demo.service("host"))
        demo.until(successor, "the host agent is back")
        job.join()

    seen = replaced(demo, visitor, doors, replace)
    nothing_is_lost(seen)
    demo.until(demo.all_run, "everything runs")
    demo.until(lambda: len(_incarnations(demo, router)) == 1, "one incarnation is left")


def _reboot(demo: World, router: str) -> None:
    try:
        demo.client.job("rebootRouter", id=router)
    except ApiError as error:
        assert "was not replaced" in str(error)


def _incarnations(demo: World, router: str) -> list[str]:
    return [folder.name for folder in demo.layout.machine(router).iterdir() if folder.name.isdigit()]
