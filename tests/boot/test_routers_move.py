"""A router goes to a second host and back under traffic, and nobody behind it notices: real host agents, containers, VXLAN."""

import functools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from sysvm.cli.client import Json
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import guard
from tests.boot.conftest import world
from tests.boot.patience import NotYet
from tests.boot.second_host import a_guest_on_a_wide_network, two_hosts
from tests.boot.traffic import Seen, forward, replaced, visiting
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


@dataclass(frozen=True)
class Wide(World):
    """The demo, where "one" and "router" are those of the network that both hosts can have."""

    guest: str = ""
    network: str = ""

    def machine(self, name: str) -> Json:
        """See World."""
        found = [row for row in self.machines() if self._is_meant(name, row)]
        return found[0] if found else super().machine(name)

    def _is_meant(self, name: str, row: Json) -> bool:
        if name == "one":
            return bool(row["id"] == self.guest)
        return name == row["kind"] == "router" and row.get("guestnetworkid") == self.network


@contextmanager
def a_way_out(demo: World, second: Layout) -> Iterator[str]:
    """What the second host's public network is plugged into: the first one's, and so the world; yields the interface."""
    ends = [f"u{place.hash8}" for place in (demo.layout, second)]
    subprocess.run(["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]], check=True)
    try:
        inside = ["ip", "-n", demo.layout.namespace, "link", "set", ends[0]]
        subprocess.run(["ip", "link", "set", ends[0], "netns", demo.layout.namespace], check=True)
        subprocess.run([*inside, "master", demo.layout.bridge("public-untagged"), "up"], check=True)
        words = ["ip", "netns", "exec", demo.layout.namespace, "nft", "-f", "-"]
        subprocess.run(words, input=guard.trunk_ruleset(ends[0]), text=True, check=True)
        yield ends[1]
    finally:
        for end in ends:
            subprocess.run(["ip", "link", "del", end], check=False, capture_output=True)


@contextmanager
def two_hosts_with_a_router(*options: str) -> Iterator[tuple[Wide, Layout]]:
    """The demo with a second host that reaches the world, too, and a router between a wide network and the world."""
    with world(*options) as demo:
        second = Layout.of(demo.state.with_name("second"))
        guest, address = a_guest_on_a_wide_network(demo)
        demo.until(lambda: "tiny guest" in answers(address, 80), "the guest answers")
        (row,) = demo.client.rows("listVirtualMachines", "virtualmachine", id=guest)
        wide = Wide(demo.state, guest, row["nic"][0]["networkid"])
        with a_way_out(demo, second) as uplink, two_hosts(demo, "--uplink", uplink):
            yield wide, second


def the_other_host(wide: Wide) -> str:
    """The id of the host that the router is not on."""
    here = wide.machine("router")["hostid"]
    return next(str(row["id"]) for row in wide.client.rows("listHosts", "host", type="Routing") if row["id"] != here)


def moves(wide: Wide) -> None:
    """The router goes to the other host."""
    there = the_other_host(wide)
    wide.client.job("migrateSystemVm", virtualmachineid=wide.uuid("router"), hostid=there)
    assert there == wide.machine("router")["hostid"]


def leaves_for_maintenance(wide: Wide) -> None:
    """Its host goes into maintenance, and comes back when everything has left."""
    here, there = wide.machine("router")["hostid"], the_other_host(wide)
    wide.client.job("prepareHostForMaintenance", id=here)
    assert there == wide.machine("router")["hostid"]
    wide.client.job("cancelHostMaintenance", id=here)


def nothing_is_lost(seen: Seen) -> None:
    """At most a few pings of ten a second, and no stream at all."""
    print(f"{seen.pings_lost} of {seen.pings} pings, {len(seen.lost)} of {seen.streams} streams; {seen.silence_s:.2f} s")
    assert seen.lost == []
    assert seen.pings_lost <= 5 < seen.pings
    assert seen.streams > 2


def test_a_router_goes_to_another_host_and_back_without_losing_a_connection():
    """Also of those that are born meanwhile; nothing of it is left on the host that it has left."""
    with two_hosts_with_a_router("--runtime", "container") as (wide, second):
        doors = {"forwarded": forward(wide, 8181, 80)}
        for address, port in doors.values():
            wide.until(functools.partial(_leads_to_guest, address, port), "the guest is reached")
        router = wide.uuid("router")
        with visiting(wide) as visitor:
            for go, left in ((moves, wide.layout), (leaves_for_maintenance, second)):
                nothing_is_lost(replaced(wide, visitor, doors, functools.partial(go, wide)))
                wide.until(functools.partial(_is_gone, left, router), "nothing of it is where it was")
        assert (wide.layout.machine(router)).exists()


def _leads_to_guest(address: str, port: int) -> bool:
    return "tiny guest" in answers(address, port)


def _is_gone(left: Layout, router: str) -> bool:
    if left.machine(router).exists():
        raise NotYet("something of it is there")
    return not (left.host / "handovers" / router).exists()
