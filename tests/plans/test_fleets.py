"""How many console proxies and secondary storage VMs a zone needs, and who of them serves."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import consoleproxy, secstorage
from sysvm.systemvms.consoleproxy import Proxy
from sysvm.systemvms.secstorage import Worker


def proxy(id_: int, *, sessions: int = 0, **more: Any) -> Proxy:
    """A proxy that serves."""
    facts: dict[str, Any] = {"wanted": "running", "running": True, "draining": False, **more}
    return Proxy(id=id_, sessions=sessions, **facts)


def worker(id_: int, *, load: int = 0, **more: Any) -> Worker:
    """A secondary storage VM that serves."""
    facts: dict[str, Any] = {"wanted": "running", "running": True, "draining": False, **more}
    return Worker(id=id_, load=load, **facts)


RULES = consoleproxy.Rules(session_max=50, standby=10, launch_max=3)
PROXIES = [
    ((), RULES, consoleproxy.Grow()),
    ((proxy(1),), RULES, consoleproxy.Enough("there is room")),
    ((proxy(1, sessions=39),), RULES, consoleproxy.Enough("there is room")),
    ((proxy(1, sessions=40),), RULES, consoleproxy.Grow()),
    ((proxy(1, sessions=50), proxy(2, running=False)), RULES, consoleproxy.Enough("one is on its way")),
    ((proxy(1, draining=True),), RULES, consoleproxy.Grow()),
    ((proxy(1, wanted="stopped", running=False),), RULES, consoleproxy.Restart(1)),
    ((proxy(1, wanted="stopped", running=False),), replace(RULES, restart=False), consoleproxy.Grow()),
    (tuple(proxy(n, sessions=50) for n in (1, 2, 3)), RULES, consoleproxy.Enough("3 is the most that may be launched")),
]


@pytest.mark.parametrize(("fleet", "rules", "step"), PROXIES)
def test_the_next_step_towards_enough_proxies(fleet, rules, step):
    """One line of the table."""
    assert step == consoleproxy.plan_fleet(fleet, rules)


STORAGE = secstorage.Rules(session_max=50, standby=10, count_max=2)
WORKERS = [
    ((), STORAGE, secstorage.Grow("templateProcessor")),
    ((worker(1),), STORAGE, secstorage.Enough("there is room")),
    ((worker(1, load=40),), STORAGE, secstorage.Enough("there is room")),
    ((worker(1, load=41),), STORAGE, secstorage.Grow("commandExecutor")),
    ((worker(1, load=41),), replace(STORAGE, reserve=False), secstorage.Enough("there is room")),
    ((worker(1, running=False),), STORAGE, secstorage.Enough("one is on its way")),
    ((worker(1, wanted="stopped", running=False),), STORAGE, secstorage.Restart(1)),
    ((worker(1, load=50), worker(2, load=50)), STORAGE, secstorage.Enough("2 is the most that may be launched")),
]


@pytest.mark.parametrize(("fleet", "rules", "step"), WORKERS)
def test_the_next_step_towards_enough_workers(fleet, rules, step):
    """One line of the table."""
    assert step == secstorage.plan_fleet(fleet, rules)


@given(st.integers(0, 400), st.integers(1, 6))
def test_a_fleet_of_proxies_stops_growing(sessions: int, most: int):
    """With every new one serving at once, growth ends within the limit, with room unless the limit forbids it."""
    rules = consoleproxy.Rules(session_max=50, standby=10, launch_max=most)
    fleet: list[Proxy] = []
    for number in range(most + 2):
        if not isinstance(consoleproxy.plan_fleet(tuple(fleet), rules), consoleproxy.Grow):
            break
        fleet = [proxy(n, sessions=sessions // (number + 1)) for n in range(number + 1)]
    assert 1 <= len(fleet) <= most
    room = 50 * len(fleet) - sum(one.sessions for one in fleet)
    assert room > rules.standby or len(fleet) == most


ASSIGNED = [
    (None, (), None),
    (None, (proxy(1, sessions=3), proxy(2, sessions=1)), 2),
    (None, (proxy(1), proxy(2)), 1),
    (1, (proxy(1, sessions=50), proxy(2)), 1),
    (1, (proxy(1, running=False), proxy(2)), 2),
    (1, (proxy(1, draining=True), proxy(2)), 2),
    (None, (proxy(1, sessions=50),), None),
]


@pytest.mark.parametrize(("previous", "fleet", "chosen"), ASSIGNED)
def test_who_serves_a_guests_console(previous, fleet, chosen):
    """The previous one whatever its load, else the least loaded one with room."""
    assert chosen == consoleproxy.assign(previous, fleet, RULES)


def test_work_goes_to_the_least_loaded_worker_that_serves():
    """Not to one that drains or does not run."""
    fleet = (worker(1, load=5), worker(2, load=1, draining=True), worker(3, load=0, running=False), worker(4, load=2))
    assert 4 == secstorage.choose(fleet)
    assert None is secstorage.choose(fleet[1:3])


URLS = [
    ({"secure": False}, "", "http://203.0.113.9/resource/noVNC/vnc.html?autoconnect=true&show_dot=true&port=8080&token=t"),
    ({"secure": True}, "*.example.org",
     "https://203-0-113-9.example.org/resource/noVNC/vnc.html?autoconnect=true&show_dot=true&port=8443&token=t"),
    ({"secure": True, "language": "en", "extra": "e"}, "console.example.org",
     "https://console.example.org/resource/noVNC/vnc.html?autoconnect=true&show_dot=true&port=8443&token=t&language=en&extra=e"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "domain", "url"), URLS)
def test_where_a_console_opens(more, domain, url):
    """By address, by the dashed name under a wildcard, by the one name of a balancer."""
    assert url == consoleproxy.page_url("203.0.113.9", domain, token="t", **more)
