"""A router's checks of itself with real daemons: all is well, then something of each kind is not."""

import msgspec
import pytest

from sysvm.wire.channel import HealthReport
from sysvm.wire.documents import DnsRecord
from sysvm.wire.health import Checked, CheckHealth, Health
from tests.agent.documents import OUTSIDE, ROUTER, dhcp, dns, egress, metadata, router, source_nat
from tests.agent.lab import Lab, until
from tests.agent.questions import asked

pytestmark = pytest.mark.root
OFTEN = Health(basic_s=1, advanced_s=1, tell_s=3600, excluded=("cpu_usage_check.py",))
SERVICES = {
    "source_nat": source_nat(), "egress": egress(True), "dhcp": dhcp(), "metadata": metadata(),
    "dns": dns(DnsRecord(name="data-server", addresses=(ROUTER,)), DnsRecord(name="db", addresses=("10.1.1.9",))),
}  # fmt: skip
ALL = {
    "connectivity.test", "filesystem.writable.test", "disk_space_check.py", "memory_usage_check.py",
    "gateways_check.py", "dhcp.service", "webserver.service", "passwords.service", "iptables_check.py",
    "dhcp_check.py", "dns_check.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    """A router with DHCP, DNS, metadata and a way out."""
    report = lab.apply(router(**SERVICES, health=OFTEN))
    assert report.faults == ()
    return lab


def fresh(lab: Lab) -> dict[str, Checked]:
    """All checks, made now."""
    found = asked(lab, CheckHealth(), HealthReport)
    assert isinstance(found, HealthReport)
    return {one.name: one for one in found.checks}


def test_a_router_that_serves_is_well_and_says_so_once(world: Lab) -> None:
    """Every check of what its document wants, none of what it does not, and no word more while nothing changes."""
    assert dict.fromkeys(ALL, True) == {name: one.good for name, one in fresh(world).items()}
    assert world.host is not None
    world.host.heard(HealthReport)
    told = len([one for one in world.host.notices if isinstance(one, HealthReport)])
    for _ in range(3):
        fresh(world)
    assert told == len([one for one in world.host.notices if isinstance(one, HealthReport)])


def test_a_gateway_that_is_away_is_told_and_its_return_too(world: Lab) -> None:
    """By the router itself, with the evidence; an empty network alarms nobody."""
    assert world.host is not None
    since = len(world.host.notices)
    world.out(world.outside, "ip", "link", "set", "eth0", "down")
    try:
        report = until(lambda: told(world, since, "gateways_check.py", False), "the lost gateway")
        assert f"no answer from {OUTSIDE} on eth2" in report.details
    finally:
        world.out(world.outside, "ip", "link", "set", "eth0", "up")
    since = len(world.host.notices)
    until(lambda: told(world, since, "gateways_check.py", True), "the gateway's return")


def told(world: Lab, since: int, name: str, good: bool) -> Checked | None:
    """The first word of the agent that this check has come out so."""
    assert world.host is not None
    for notice in world.host.notices[since:]:
        if isinstance(notice, HealthReport):
            for one in notice.checks:
                if one.name == name and one.good is good:
                    return one
    return None


def test_names_are_asked_of_the_daemon(world: Lab) -> None:
    """Not of the document: a stopped dnsmasq answers nothing, whatever its files say."""
    (pid,) = world.daemons()["dnsmasq"]
    world.out(world.router, "kill", "-STOP", str(pid))
    try:
        found = fresh(world)["dns_check.py"]
        assert (found.good, "no answer" in found.details) == (False, True)
    finally:
        world.out(world.router, "kill", "-CONT", str(pid))
    assert fresh(world)["dns_check.py"].good is True


def test_what_the_watch_mends_alarms_nobody(world: Lab) -> None:
    """A rule that somebody takes away is back before the check is made again."""
    world.out(world.router, "nft", "flush", "chain", "inet", "sysvm", "outward")
    assert fresh(world)["iptables_check.py"].good is True
    assert "masquerade" in world.out(world.router, "nft", "list", "chain", "inet", "sysvm", "outward")


def test_thresholds_and_exclusions_are_the_documents(world: Lab) -> None:
    """More free disk than there is, less memory than is used; what is excluded is not made."""
    strict = msgspec.structs.replace(
        OFTEN, free_disk_mb=10**9, max_memory=0.0, excluded=("dns_check.py", "cpu_usage_check.py"), basic_s=0, advanced_s=0
    )
    world.apply(router(**SERVICES, health=strict))
    found = fresh(world)
    assert (False, False) == (found["disk_space_check.py"].good, found["memory_usage_check.py"].good)
    assert "dns_check.py" not in found
    world.apply(router(**SERVICES))
    assert {} == fresh(world)
