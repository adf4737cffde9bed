"""Whatever is killed comes back by itself, with the same addresses, without a second copy, and the API tells of it."""

from collections.abc import Callable, Iterator

import pytest

from tests.boot.outside import page
from tests.boot.patience import NotYet, same
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]

Find = Callable[[], int | None]


def victims(demo: World) -> dict[str, Find]:
    """What can be killed, by name: how it is found, now and later."""
    router, proxy = demo.uuid("router"), demo.uuid("consoleproxy")
    store, guest = demo.uuid("secondarystoragevm"), demo.uuid("one")
    agent = "/usr/lib/sysvm/start.pyc"
    return {
        "router": lambda: demo.init(router),
        "router's agent": lambda: demo.inside(router, agent),
        "router's dnsmasq": lambda: demo.inside(router, "dnsmasq"),
        "console proxy": lambda: demo.init(proxy),
        "secondary storage VM": lambda: demo.init(store),
        "secondary storage VM's agent": lambda: demo.inside(store, agent),
        "guest": lambda: demo.qemu(guest),
        "host agent": lambda: demo.service("host"),
        "server": lambda: demo.service("server"),
        "libvirtd": demo.libvirtd,
    }


@pytest.fixture
def whole(demo: World) -> Iterator[World]:
    """The demo, and proof that it is afterwards what it was before."""
    demo.until(demo.all_run, "everything runs")
    addresses, census = demo.addresses(), demo.census()
    yield demo
    demo.until(demo.all_run, "everything runs again")
    demo.until(lambda: page(demo), "guest one answers")
    assert demo.addresses() == addresses
    demo.until(lambda: same(demo.census(), census), "nothing is there twice")


def kill(demo: World, *names: str) -> None:
    """SIGKILL to each at once; waits until each has a successor."""
    known = victims(demo)
    successors = {name: demo.kill(known[name]) for name in names}
    for name, successor in successors.items():
        demo.until(successor, f"the {name} lives again")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("router", "ROUTER.HA"),
        ("router's agent", "ROUTER.HA"),
        ("router's dnsmasq", "ROUTER.HEALTH.CHECKS"),
        ("console proxy", "PROXY.HA"),
        ("secondary storage VM's agent", "SSVM.HA"),
        ("guest", "VM.HA"),
    ],
)
def test_what_is_killed_lives_again_and_an_event_tells(whole: World, name: str, told: str):
    """One at a time; servers are there to see it."""
    before = whole.events()
    kill(whole, name)

    def event() -> bool:
        fresh = fresh_of(whole.events(), before)
        if not any(one.startswith(f"{told}:") for one in fresh):
            raise NotYet(f"only these events are new: {sorted(fresh)}")
        return True

    whole.until(event, f"an event {told}")


@pytest.mark.parametrize(
    "names",
    [
        ("host agent",),
        ("server",),
        ("libvirtd",),
        ("server", "host agent"),
        ("host agent", "router", "console proxy"),
        ("server", "secondary storage VM", "router's agent"),
        ("libvirtd", "host agent", "guest"),
    ],
    ids=", ".join,
)
def test_whatever_is_killed_together_is_whole_again(whole: World, names: tuple[str, ...]):
    """Also when those die who would have seen it."""
    kill(whole, *names)


def test_deaths_raise_alerts(whole: World):
    """Told to the operator, not only to the log."""
    before = whole.alerts()
    kill(whole, "router")

    def alert() -> bool:
        return any("Router r-" in text and "died" in text for text in fresh_of(whole.alerts(), before))

    whole.until(alert, "an alert")


def fresh_of(now: dict[str, str], before: dict[str, str]) -> set[str]:
    """What was not there before, or has been told again since (its time has moved)."""
    return {text for id_, text in now.items() if before.get(id_) != text}
